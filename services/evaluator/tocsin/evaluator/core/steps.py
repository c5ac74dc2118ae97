"""What a reading does where time plays no part: the core is asked once for each case, and its answer looked up.

A sensor waits where it has a `for`, a `keep`, a silence or a window. Where none of a metric's sensors does, what a
reading changes depends on nothing but the cell its value is in (core.intervals) and the levels the sensors are at: the
stance of the series. A step leads from a stance and a cell to the next stance. Steps are learned from `take_reading`
itself, so they cannot differ from it; they are arrays, so that a compiled pass can follow them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from tocsin.evaluator.core.intervals import Intervals
from tocsin.evaluator.core.sensor import NONE, START, SensorState
from tocsin.evaluator.core.series import Moved, Series, take_reading

NO_STANCE = -1
"""The series' sensors wait for something, or it is not known how they stand."""

UNKNOWN, REFUSED = -1, -2
"""Of a step: not learned yet; never to be, for there are too many."""

MOST_CELLS = 1 << 20
"""Of all stances together: 8 MB. A series in a stance beyond is judged reading by reading."""

MOST_TURNS = 1 << 18
"""Of all steps together: 2 MB. With a thousand sensors, one step can be a thousand turns."""

_Ints = NDArray[np.int64]
_Floats = NDArray[np.float64]
N = TypeVar("N", bound=np.generic)

Levels = tuple[tuple[int, int], ...]
"""The sensors that are not clear: place and level."""


class Turn(Struct, eq=False, gc=False):
    """One sensor changes its level in a step."""

    place: int
    level: int  # the new one
    moved: Moved  # as the core has said it, for some reading


class Steps:
    """Of all plans there are. Arrays are replaced when they grow: ask for them anew after each `learn`."""

    def __init__(self) -> None:
        self._numbers: dict[tuple[Intervals, Levels], int] = {}
        self._stances: list[tuple[Intervals, Levels]] = []
        self._cuts_of: dict[Intervals, tuple[int, int]] = {}
        self._cells = 0
        # By stance: its first cell, and where the cuts of its intervals begin and how many they are.
        self._first = np.zeros((3, 64), np.int64)
        self._cuts = np.zeros(0)
        self._to = np.full(1024, UNKNOWN, np.int64)  # the step, by cell
        # By step: the stance after it, whether any sensor changes, and the bounds around its readings.
        self._after = np.zeros((2, 64), np.int64)
        self._bounds = np.zeros((2, 64))
        self.turns: list[tuple[Turn, ...]] = []  # by step
        self._turns: dict[tuple[Intervals, int, int, int], Turn] = {}
        self._room = MOST_TURNS

    def arrays(self) -> tuple[_Ints, _Floats, _Ints, _Ints, _Floats]:
        """As the compiled pass wants them."""
        return self._first, self._cuts, self._to, self._after, self._bounds

    def stance(self, intervals: Intervals, states: Mapping[int, SensorState]) -> int:
        """Its number; NO_STANCE where the sensors wait."""
        if not intervals.timeless:
            return NO_STANCE
        levels = tuple(sorted((place, state.level) for place, state in states.items())) if states else ()
        found = self._numbers.get((intervals, levels))
        return self._add(intervals, levels) if found is None else found

    def _add(self, intervals: Intervals, levels: Levels) -> int:
        cells = 2 * len(intervals.cuts) + 1
        if self._cells + cells > MOST_CELLS:
            return NO_STANCE
        number = self._numbers[intervals, levels] = len(self._stances)
        self._stances.append((intervals, levels))
        if intervals not in self._cuts_of:
            self._cuts_of[intervals] = len(self._cuts), len(intervals.cuts)
            self._cuts = np.concatenate([self._cuts, intervals.cuts])
        self._first = _longer(self._first, number)
        self._first[:, number] = self._cells, *self._cuts_of[intervals]
        self._cells += cells
        while self._cells > len(self._to):
            self._to = np.concatenate([self._to, np.full(len(self._to), UNKNOWN, np.int64)])
        return number

    def learn(self, stance: int, value: float) -> None:
        """The step that a reading of this value takes in this stance."""
        intervals, levels = self._stances[stance]
        place = int(self._first[0, stance]) + intervals.cell(value)
        if self._to[place] != UNKNOWN:
            return
        series = Series(None, {at: SensorState(level) for at, level in levels})
        _, moved = take_reading(intervals, series, 0, value)
        after = self.stance(intervals, series.states)
        self._room -= len(moved) + 1
        if after == NO_STANCE or self._room < 0:
            self._to[place] = REFUSED
            return
        number = self._to[place] = len(self.turns)
        self.turns.append(tuple(self._turn(intervals, one) for one in moved))
        self._after, self._bounds = _longer(self._after, number), _longer(self._bounds, number)
        self._after[:, number] = after, bool(moved)
        self._bounds[:, number] = series.low, series.high

    def _turn(self, intervals: Intervals, moved: Moved) -> Turn:
        key = intervals, moved.place, moved.before.level, moved.after.level
        return self._turns.setdefault(key, Turn(moved.place, moved.after.level, moved))


def turned(states: dict[int, SensorState], turn: Turn, time: int) -> int:
    """Take the turn in a series' states; since when the sensor was as it was before."""
    before = states.get(turn.place, START)
    if turn.level == NONE:
        del states[turn.place]
    else:
        states[turn.place] = SensorState(turn.level, time)
    return before.since


def _longer(rows: NDArray[N], number: int) -> NDArray[N]:
    return rows if number < rows.shape[1] else np.concatenate([rows, np.zeros_like(rows)], axis=1)
