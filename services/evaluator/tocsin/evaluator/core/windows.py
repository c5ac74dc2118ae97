"""The readings of a window, of one sensor on one series. What enters, what leaves, what it is worth. Not frozen.

A reading of a time that is there takes the earlier one's place.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass, field
from enum import Enum

from tocsin.evaluator.core.functions import aggregate
from tocsin.evaluator.core.rule import WindowRule

MOST_READINGS = 100_000
"""Of one window on one series: more would take the memory of all others."""


class WindowOverflowError(Exception):
    """A window holds more readings than it may; its sensor is switched off."""


class Entry(Enum):
    """What became of a reading."""

    ENTERED = "entered"
    REPEATED = "repeated"  # its time and value are there
    OUTSIDE = "outside"  # too late


@dataclass(slots=True)
class Readings:
    """In order of time, ms; no time twice."""

    times: list[int] = field(default_factory=list)
    values: list[float] = field(default_factory=list)

    def put(self, time: int, value: float) -> Entry:
        """Raises WindowOverflowError."""
        if not self.times or time > self.times[-1]:
            at = len(self.times)
        else:
            at = bisect_left(self.times, time)
            if self.times[at] == time:
                if self.values[at] == value:
                    return Entry.REPEATED
                self.values[at] = value
                return Entry.ENTERED
        if len(self.times) >= MOST_READINGS:
            raise WindowOverflowError(f"more than {MOST_READINGS} readings in one window")
        self.times.insert(at, time)
        self.values.insert(at, value)
        return Entry.ENTERED

    def drop(self, count: int) -> None:
        """The oldest."""
        del self.times[:count]
        del self.values[:count]


@dataclass(slots=True)
class Moving:
    """A sliding window, or the last so many readings."""

    readings: Readings = field(default_factory=Readings)
    last: float | None = None  # of a rate: the last one that could be judged

    def put(self, rule: WindowRule, time: int, value: float, newest: int) -> Entry:
        """`newest`: of the series, this reading included."""
        readings = self.readings
        if rule.kind == "count":
            if time < newest:
                return Entry.OUTSIDE
            entry = readings.put(time, value)
            readings.drop(max(0, len(readings.times) - rule.size))
        else:
            oldest = newest - rule.size
            if time < newest - rule.lateness or time < oldest:
                return Entry.OUTSIDE
            readings.drop(bisect_left(readings.times, oldest))
            entry = readings.put(time, value)
        if rule.function == "rate":
            self._remember(rule)
        return entry

    def _remember(self, rule: WindowRule) -> None:
        value = self.worth(rule)
        if value is not None:
            self.last = value

    def worth(self, rule: WindowRule) -> float | None:
        """None: not judged."""
        if rule.kind == "count" and len(self.readings.times) < rule.size:
            return None
        return aggregate(rule.function, self.readings.times, self.readings.values)

    def last_judged(self, rule: WindowRule) -> float | None:
        return self.last if rule.function == "rate" else self.worth(rule)


@dataclass(slots=True)
class Tumbling:
    """Windows aligned to the epoch that have not been judged, by their end."""

    open: dict[int, Readings] = field(default_factory=dict)
    closed: int = -1  # the end up to which all have been judged

    def put(self, rule: WindowRule, time: int, value: float, newest: int) -> Entry:
        end = (time // rule.size + 1) * rule.size
        if end <= self.closed or (time < newest and end + rule.lateness < newest):
            return Entry.OUTSIDE
        return self.open.setdefault(end, Readings()).put(time, value)

    def close(self, rule: WindowRule, end: int) -> float | None:
        """What it is worth, once; None: not judged."""
        readings = self.open.pop(end)
        self.closed = max(self.closed, end)
        return aggregate(rule.function, readings.times, readings.values)

    def close_before(self, time: int) -> None:
        """What ended before this has been judged."""
        for end in [end for end in self.open if end < time]:
            del self.open[end]
            self.closed = max(self.closed, end)

    def close_until(self, end: int) -> None:
        """What ended up to this has been judged."""
        self.close_before(end + 1)
        self.closed = max(self.closed, end)


Window = Moving | Tumbling


def make_window(rule: WindowRule) -> Window:
    return Tumbling() if rule.kind == "tumbling" else Moving()
