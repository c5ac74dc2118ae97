"""When people may be told: half-hour slots of a week, local time. Pure.

A week is seven bit sets, Monday first; bit n is the half hour that begins n half hours after local midnight.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_LONG = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
SLOTS = 48
WHOLE_DAY = (1 << SLOTS) - 1
_RANGE = re.compile(r"(\d{2}):(\d{2})\s*-\s*(\d{2}):(\d{2})", re.ASCII)


@dataclass(frozen=True, slots=True)
class Week:
    """The slots in which something may be told."""

    days: tuple[int, ...] = (0,) * 7

    def allows(self, weekday: int, slot: int) -> bool:
        """`weekday` from 0, Monday."""
        return bool(self.days[weekday] >> slot & 1)

    @property
    def constant(self) -> bool | None:
        """Always (True), never (False), or now and then (None)."""
        if all(day == WHOLE_DAY for day in self.days):
            return True
        return None if any(self.days) else False

    def as_ranges(self) -> dict[str, list[str]]:
        """By day, days without a slot left out: `{"mon": ["07:00-19:00"]}`."""
        return {name: ranges_of(bits) for name, bits in zip(DAYS, self.days, strict=True) if bits}


def _every(days: int, first: int, after: int) -> Week:
    """The slots from `first` up to and without `after`, on the first so many days."""
    bits = (1 << after) - (1 << first)
    return Week((bits,) * days + (0,) * (7 - days))


PRESETS: Mapping[str, Week] = MappingProxyType(
    {
        "12x5": _every(5, 14, 38),  # Monday to Friday, 07:00-19:00
        "18x6": _every(6, 12, 48),  # Monday to Saturday, 06:00-24:00
        "24x7": _every(7, 0, 48),
        "never": _every(0, 0, 0),
    }
)
"""SysTrack's, which says how many hours on how many days, but not which: these are ours. In UTC; to have one in
another zone, copy it."""


def ranges_of(bits: int) -> list[str]:
    """`["08:00-12:00", "13:30-24:00"]`."""
    found: list[str] = []
    start: int | None = None
    for slot in range(SLOTS + 1):
        on = bool(bits >> slot & 1)
        if on and start is None:
            start = slot
        elif not on and start is not None:
            found.append(f"{_clock(start)}-{_clock(slot)}")
            start = None
    return found


def _clock(slot: int) -> str:
    return f"{slot // 2:02d}:{slot % 2 * 30:02d}"


def parse_range(text: str) -> int:
    """The slots of `08:00-18:30`. Raises ValueError."""
    match = _RANGE.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"{text[:64]!r} is not a range of a day, such as 08:00-18:30")
    hour, minute, to_hour, to_minute = (int(part) for part in match.groups())
    if minute not in (0, 30) or to_minute not in (0, 30):
        raise ValueError(f"{text[:64]!r} does not begin and end at a full or half hour")
    first, after = hour * 2 + minute // 30, to_hour * 2 + to_minute // 30
    if first >= SLOTS or after > SLOTS:
        raise ValueError(f"{text[:64]!r} is outside the day, which ends at 24:00")
    if first >= after:
        raise ValueError(
            f"{text[:64]!r} ends before it begins; over midnight write 22:00-24:00, and 00:00-06:00 next day"
        )
    return (1 << after) - (1 << first)


def parse_days(text: str) -> tuple[int, ...]:
    """The weekdays of `mon`, `Saturday`, `mon-fri` or `fri-mon`, from 0, Monday. Raises ValueError."""
    first, dash, last = text.strip().lower().partition("-")
    start = _day(first, text)
    if not dash:
        return (start,)
    end = _day(last, text)
    return tuple((start + step) % 7 for step in range((end - start) % 7 + 1))


def _day(word: str, text: str) -> int:
    for names in (DAYS, _LONG):
        if word.strip() in names:
            return names.index(word.strip())
    raise ValueError(f"{text[:64]!r} is not a day or days of the week, such as mon, sat or mon-fri")


def parse_week(given: Mapping[str, Iterable[str]], base: Week | None = None) -> Week:
    """Days with their ranges; a day given replaces that of `base`. Raises ValueError."""
    days = list((base or Week()).days)
    for names, ranges in given.items():
        bits = 0
        for text in ranges:
            bits |= parse_range(text)
        for day in parse_days(names):
            days[day] = bits
    return Week(tuple(days))


def check_zone(name: str) -> str:
    """An IANA time zone. Raises ValueError."""
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(f"{name[:64]!r} is not an IANA time zone, such as Europe/Berlin or UTC") from None
    return name


def week_field(value: Any) -> Week:
    """As a record has it."""
    if isinstance(value, Week):
        return value
    if not isinstance(value, Mapping):
        raise ValueError("must be days with their ranges, such as {mon: ['08:00-18:00']}")
    return parse_week(value)
