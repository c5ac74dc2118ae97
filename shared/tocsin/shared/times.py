"""Times and durations as text. Inside everything is integer epoch milliseconds; on the wire RFC 3339 in UTC."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from functools import lru_cache

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_RFC3339 = re.compile(
    r"(\d{4})-(\d{2})-(\d{2})[Tt ](\d{2}):(\d{2}):(\d{2})(?:\.(\d+))?(?:([Zz])|([+-])(\d{2}):(\d{2}))", re.ASCII
)
_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)", re.ASCII)
_UNIT_MS = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}

MAX_EPOCH_MS = 253_402_300_799_999
"""9999-12-31T23:59:59.999Z, the last instant RFC 3339 can write."""


def parse_rfc3339(text: str) -> int:
    """Epoch milliseconds of an RFC 3339 time with zone; digits after the milliseconds are cut.

    Raises ValueError when it is not one. Source: RFC 3339 section 5.6.
    """
    if len(text) == 24 and text[19] == "." and text[23] == "Z" and text[20:23].isdecimal() and text.isascii():
        # As `format_rfc3339` writes it: what is read together is mostly of the same seconds.
        return _second_of(text[:19]) * 1000 + int(text[20:23])
    return _parse(text)


@lru_cache(maxsize=4096)
def _second_of(text: str) -> int:
    return _parse(f"{text}Z") // 1000


def _parse(text: str) -> int:
    match = _RFC3339.fullmatch(text)
    if match is None:
        raise ValueError(f"{text[:64]!r} is not an RFC 3339 time with zone, such as 2026-11-23T10:00:00Z")
    year, month, day, hour, minute, second, fraction, zulu, sign, zone_hour, zone_minute = match.groups()
    leap = second == "60"
    when = datetime(int(year), int(month), int(day), int(hour), int(minute), 59 if leap else int(second), tzinfo=UTC)
    milliseconds = (when - _EPOCH) // timedelta(milliseconds=1) + (1000 if leap else 0)
    if fraction and not leap:
        milliseconds += int((fraction + "00")[:3])
    if zulu is None:
        if int(zone_hour) > 23 or int(zone_minute) > 59:
            raise ValueError(f"{text[:64]!r} has a zone that does not exist")
        offset = (int(zone_hour) * 60 + int(zone_minute)) * 60_000
        milliseconds += -offset if sign == "+" else offset
    if not 0 <= milliseconds <= MAX_EPOCH_MS:
        raise ValueError(f"{text[:64]!r} is outside the years 1970 to 9999")
    return milliseconds


def format_rfc3339(epoch_ms: int) -> str:
    """`2026-11-23T10:00:00.123Z`, always with milliseconds, so that texts sort as times do."""
    seconds, milliseconds = divmod(epoch_ms, 1000)
    return f"{_format_second(seconds)}.{milliseconds:03d}Z"


@lru_cache(maxsize=4096)
def _format_second(seconds: int) -> str:
    # What is written together is mostly of the same second, and strftime is the dear part.
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}"


def parse_duration(text: str) -> int:
    """Milliseconds of `90s`, `1h30m`, `250ms`, `2d`. Raises ValueError."""
    text = text.strip()
    parts = list(_PART.finditer(text))
    if not parts or "".join(part.group(0) for part in parts) != text:
        raise ValueError(f"{text[:64]!r} is not a duration, such as 30s, 5m, 1h30m or 2d")
    total = sum(float(part.group(1)) * _UNIT_MS[part.group(2)] for part in parts)
    if total > MAX_EPOCH_MS:
        raise ValueError(f"{text[:64]!r} is longer than any duration can be")
    return round(total)


def format_duration(milliseconds: int) -> str:
    """The shortest text that `parse_duration` reads back: 5400000 → `1h30m`."""
    if milliseconds == 0:
        return "0s"
    parts = []
    for unit in ("d", "h", "m", "s", "ms"):
        count, milliseconds = divmod(milliseconds, _UNIT_MS[unit])
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts)
