"""May anything be sent at an instant? Schedules in their time zone, and silences. Pure.

An instant is open when its half-hour slot in the schedule's zone is on, and no silence covers it (from its start,
without its end). What local time an instant has is always certain, so a clock that is put forward or back loses and
doubles nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

from tocsin.shared.configuration.schedules import SLOTS, Week
from tocsin.shared.times import MAX_EPOCH_MS

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SLOT_S = 1800
_LONGEST_S = 9 * 86_400
"""A week that is not constant opens within eight days, one of which a change of the clock may make longer."""


@dataclass(frozen=True, slots=True)
class Calendar:
    """A week in a time zone. All times are epoch ms."""

    week: Week
    zone: str

    def allows(self, at: int) -> bool:
        return _allows(self.week, self.zone, at // 1000)

    def next_allowed(self, at: int) -> int | None:
        """The first instant from `at` on that is allowed; None: never."""
        if self.allows(at):
            return at
        if self.week.constant is False:
            return None
        opening = _next_opening(self.week, self.zone, at // 1000)
        return None if opening is None else opening * 1000


@dataclass(frozen=True, slots=True)
class Gate:
    """All that keeps a notification quiet but for its own cooldown."""

    calendar: Calendar | None = None  # none: any time
    silences: tuple[tuple[int, int], ...] = field(default=())  # from, until

    def is_open(self, at: int) -> bool:
        return self.silenced_until(at) is None and (self.calendar is None or self.calendar.allows(at))

    def silenced_until(self, at: int) -> int | None:
        """The latest end of the silences that cover this instant."""
        return max((until for start, until in self.silences if start <= at < until), default=None)

    def next_open(self, at: int) -> int | None:
        """The first open instant from `at` on; None: never, as things are."""
        found: int | None = at
        while found is not None and found <= MAX_EPOCH_MS:
            silent = self.silenced_until(found)
            if silent is not None:
                found = silent
                continue
            allowed = found if self.calendar is None else self.calendar.next_allowed(found)
            if allowed == found:
                return found
            found = allowed
        return None


ALWAYS = Gate()


def gate_of(calendar: Calendar | None, silences: Iterable[tuple[int, int]]) -> Gate:
    """A schedule that is always on is none."""
    if calendar is not None and calendar.week.constant is True:
        calendar = None
    return Gate(calendar, tuple(sorted(silences))) if silences or calendar else ALWAYS


@lru_cache(maxsize=256)
def _zone(name: str) -> ZoneInfo:
    return ZoneInfo(name)


def _offset(zone: ZoneInfo, second: int) -> int:
    """Seconds of local time ahead of UTC."""
    second = min(second, MAX_EPOCH_MS // 1000 - 2 * 86_400)  # local time may be in the year 10000
    local = (_EPOCH + timedelta(seconds=second)).astimezone(zone)
    offset = local.utcoffset()
    assert offset is not None
    return offset // timedelta(seconds=1)


def _allows(week: Week, zone: str, second: int) -> bool:
    local = second + _offset(_zone(zone), second)
    day, within = divmod(local, 86_400)
    return week.allows((day + 3) % 7, within // _SLOT_S % SLOTS)  # 1970-01-01 was a Thursday


@lru_cache(maxsize=4096)
def _next_opening(week: Week, zone: str, second: int) -> int | None:
    """The first second after this one, which is not allowed, that is."""
    info = _zone(zone)
    latest = second + _LONGEST_S
    while second < latest:
        offset = _offset(info, second)
        following = second + _SLOT_S - (second + offset) % _SLOT_S
        if _offset(info, following) != offset:
            following = _change_of_clock(info, second, following)
        second = following
        if _allows(week, zone, second):
            return second
    return None


def _change_of_clock(zone: ZoneInfo, before: int, after: int) -> int:
    """The first second with another offset than `before` has."""
    offset = _offset(zone, before)
    while after - before > 1:
        middle = (before + after) // 2
        if _offset(zone, middle) == offset:
            before = middle
        else:
            after = middle
    return after
