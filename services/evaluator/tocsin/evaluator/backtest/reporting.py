"""When systems begin and cease to report, as columns.

A system reports while its newest reading is younger than `within`: up to, and not at, newest + `within`. That horizon
is a timer: due at an instant, it fires after the readings of that instant, unless one of them has moved it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tocsin.evaluator.detector.columns import Bools, Ints

NEVER_HEARD = -1


@dataclass(frozen=True)
class Rows:
    """The readings of a chunk sorted by system, in order of arrival within each. Made once, used for every horizon."""

    system: Ints
    newest: Ints  # of the system's readings up to this one, those before the chunk included
    before: Ints  # the same, without this one
    clock: Ints
    first: Bools  # of its system in this chunk

    @classmethod
    def of(cls, system: Ints, time: Ints, clock: Ints, heard: Ints) -> Rows:
        """`heard`: the newest time of each system before the chunk."""
        order = np.argsort(_narrow(system), kind="stable")
        system, time, clock = system[order], time[order], clock[order]
        first = np.diff(system, prepend=-1) != 0
        newest = _running_max(system, np.maximum(time, heard[system]), first)
        before = np.concatenate([np.zeros(1, np.int64), newest])[:-1]
        before[first] = heard[system[first]]
        return cls(system, newest, before, clock, first)

    def last(self) -> Bools:
        """The last of each system."""
        return np.append(self.first, True)[1:]


@dataclass(frozen=True)
class Toggles:
    """Systems that begin or cease to be something, in order of time."""

    time: Ints
    system: Ints
    on: Bools

    def where(self, rows: Bools) -> Toggles:
        return Toggles(self.time[rows], self.system[rows], self.on[rows])

    def merged(self, other: Toggles) -> Toggles:
        return _in_order(
            np.concatenate([self.time, other.time]),
            np.concatenate([self.system, other.system]),
            np.concatenate([self.on, other.on]),
        )


class Reporting:
    """Who reports, for one `reporting_within` (ms)."""

    def __init__(self, within: int) -> None:
        self.within = within
        self.on: Bools = np.zeros(0, np.bool_)  # by system

    def advance(self, rows: Rows, heard: Ints, until: int) -> Toggles:
        """Take a chunk in. `heard`: the newest times after it; `until`: the instant it ends with."""
        self._grow(len(heard))
        due = rows.before + self.within
        was = np.empty(len(due), np.bool_)
        was[1:] = rows.newest[:-1] + self.within > rows.clock[:-1]
        was[rows.first] = self.on[rows.system[rows.first]]
        off = was & ((due < rows.clock) | ((due == rows.clock) & (rows.newest == rows.before)))
        now = rows.newest + self.within > rows.clock
        on = now & ~(was & ~off)
        last = rows.last()
        self.on[rows.system[last]] = now[last]
        silent = np.flatnonzero(self.on & (heard + self.within <= until))
        self.on[silent] = False
        return _in_order(
            np.concatenate([due[off], rows.clock[on], heard[silent] + self.within]),
            np.concatenate([rows.system[off], rows.system[on], silent]),
            np.repeat([False, True, False], [int(off.sum()), int(on.sum()), len(silent)]),
        )

    def _grow(self, systems: int) -> None:
        if systems > len(self.on):
            self.on = np.concatenate([self.on, np.zeros(systems - len(self.on), np.bool_)])


def _in_order(time: Ints, system: Ints, on: Bools) -> Toggles:
    order = np.argsort(time, kind="stable")
    return Toggles(time[order], system[order], on[order])


def _running_max(system: Ints, time: Ints, first: Bools) -> Ints:
    if len(time) < 2 or not bool(((np.diff(time) < 0) & ~first[1:]).any()):
        return time  # each system's times ascend
    base = int(time.min())
    spread = int(time.max()) - base + 1
    group = np.cumsum(first) - 1  # each group's numbers lie above all of the one before
    highest: Ints = np.maximum.accumulate(time - base + group * spread)
    return highest - group * spread + base


def _narrow(numbers: Ints) -> Ints | NDArray[np.uint16]:
    """Sixteen bits are sorted several times faster."""
    if len(numbers) and int(numbers.max()) < 1 << 16:
        return numbers.astype(np.uint16)
    return numbers
