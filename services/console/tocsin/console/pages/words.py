"""How values read on a page."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tocsin.shared.times import format_duration, format_rfc3339

_UNITS = ((86_400_000, "d"), (3_600_000, "h"), (60_000, "min"), (1_000, "s"))


def moment(epoch_ms: int | None) -> str:
    """`2026-11-23 10:00:00`, UTC."""
    return "" if epoch_ms is None else format_rfc3339(epoch_ms)[:19].replace("T", " ")


def iso(epoch_ms: int | None) -> str:
    return "" if epoch_ms is None else format_rfc3339(epoch_ms)


def ago(epoch_ms: int | None, now_ms: int) -> str:
    """`3 min ago`, `in 20 s`."""
    if epoch_ms is None:
        return ""
    distance = now_ms - epoch_ms
    for size, unit in _UNITS:
        if abs(distance) >= size:
            text = f"{abs(distance) // size} {unit}"
            return f"{text} ago" if distance > 0 else f"in {text}"
    return "now"


def lasting(milliseconds: int | None) -> str:
    """`1 h 30 min`: the two largest units."""
    if milliseconds is None:
        return ""
    parts = []
    for size, unit in _UNITS:
        count, milliseconds = divmod(milliseconds, size)
        if count:
            parts.append(f"{count} {unit}")
    return " ".join(parts[:2]) or "0 s"


def number(value: float | None) -> str:
    """Thousands apart, at most three digits after the point."""
    if value is None:
        return ""
    if float(value).is_integer():
        return f"{int(value):,}".replace(",", "\u202f")
    return f"{value:,.3f}".rstrip("0").rstrip(".").replace(",", "\u202f")


def count(value: int, one: str, many: str | None = None) -> str:
    """`1 system`, `2 systems`."""
    return f"{number(value)} {one if value == 1 else many or one + 's'}"


def field_name(pointer: str) -> str:
    """Of a JSON pointer, for people: `/webhook/headers/0/name` is `Headers 1 name`."""
    parts = pointer.split("/")[1:]
    said = [part for part in parts if part not in ("webhook", "authentication")] or parts[-1:]
    words = " ".join(str(int(part) + 1) if part.isdecimal() else part.replace("_", " ") for part in said)
    return words[:1].upper() + words[1:]


FILTERS: dict[str, Callable[..., Any]] = {
    "moment": moment,
    "iso": iso,
    "ago": ago,
    "lasting": lasting,
    "number": number,
    "count": count,
    "duration": format_duration,
    "field_name": field_name,
}
