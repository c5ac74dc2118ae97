"""Sliding and count windows of many series as columns: a whole batch moves through them at once.

Each series has a ring of readings in one large arena, and what is known of them all (`window_sums.py`). As long as the
value of the window is certainly between the bounds in which its sensor stays as it is, nothing more is asked. When it
is not, or not certainly, the readings of the series in this batch are undone, and the pure core judges them one by one.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tocsin.evaluator.core.rule import WindowRule
from tocsin.evaluator.core.windows import MOST_READINGS, Moving, Readings
from tocsin.evaluator.detector.columns import Bools, Floats, Ints
from tocsin.evaluator.detector.window_sums import EPS, PERCENT, Moved, WindowSums

SMALLEST = 8
"""Readings of a new ring."""

FUNCTIONS = ("avg", "sum", "count", "delta", "rate", "stddev", *PERCENT)
_AVG, _SUM, _COUNT, _DELTA, _RATE, _STDDEV = range(len(FUNCTIONS) - len(PERCENT))
_PERCENT = np.array([PERCENT.get(function, -1) for function in FUNCTIONS])


_ENDLESS = 1 << 61


class Rings:
    """By series number; `there` says which have one."""

    def __init__(self) -> None:
        self._size = 0
        self.base = np.full(0, -1, np.int64)  # in the arena; -1: no ring
        self._mask = np.zeros(0, np.int64)  # capacity, a power of two, less one
        self._head = np.zeros(0, np.int64)  # these only grow
        self._tail = np.zeros(0, np.int64)
        self._floor = np.zeros(0, np.int64)  # the head when the batch began: what is after it can be undone
        self._sums = WindowSums()
        self._last = np.zeros(0)  # of a rate, the last that could be judged; NaN: none
        self.low = np.zeros(0)  # bounds, both ends in, between which the sensor stays as it is
        self.high = np.zeros(0)
        self._length = np.zeros(0, np.int64)  # ms
        self._most = np.zeros(0, np.int64)  # readings
        self._counted = False  # whether any window has a most
        self._function = np.zeros(0, np.int8)
        self.place = np.zeros(0, np.int64)  # of the sensor among the metric's
        self._times = np.zeros(0, np.int64)  # the arena
        self._values = np.zeros(0)
        self._used = 0
        self._free: dict[int, list[int]] = {}  # blocks by capacity

    def extend(self, size: int) -> None:
        """There are this many series."""
        if size <= self._size:
            return
        room = max(size, 2 * self._size)
        for name, fill in (
            ("base", -1), ("_mask", 0), ("_head", 0), ("_tail", 0), ("_floor", 0),
            ("_last", math.nan), ("low", math.inf), ("high", -math.inf), ("_length", 0), ("_most", 0),
            ("_function", 0), ("place", 0),
        ):  # fmt: skip
            old = getattr(self, name)
            grown = np.full(room, fill, old.dtype)
            grown[: len(old)] = old
            setattr(self, name, grown)
        self._size = room
        self._sums.extend(room)

    def begin(self, series: Ints) -> tuple[NDArray[Any], ...]:
        """A batch begins for these series; what `undo` needs."""
        self._floor[series] = self._head[series]
        return tuple(column[series] for column in self._undone())

    def undo(self, series: Ints, before: tuple[NDArray[Any], ...]) -> None:
        for column, values in zip(self._undone(), before, strict=True):
            column[series] = values

    def _undone(self) -> tuple[NDArray[Any], ...]:
        return self._head, self._tail, self._last, *self._sums.undone()

    def draw_all(self, low: float, high: float) -> None:
        """The same bounds for every series: all, or none."""
        self.low[:], self.high[:] = low, high
        self._sums.forget_order()

    def take(self, series: Ints, time: Ints, value: Floats) -> Bools:
        """One newer reading for each of these, none twice; True where the sensor may not stay as it is."""
        full = self._tail[series] - self._floor[series] > self._mask[series]
        if full.any():
            self._grow(series[full])
        with np.errstate(over="ignore", invalid="ignore"):
            return self._take(series, time, value)

    def _take(self, series: Ints, time: Ints, value: Floats) -> Bools:
        base, mask, tail = self.base[series], self._mask[series], self._tail[series]
        at = base + (tail & mask)
        self._times[at], self._values[at] = time, value
        tail = tail + 1
        self._tail[series] = tail
        moved = self._sums.of(series, self.low[series], self.high[series])
        moved.enter(value)
        head = self._head[series]
        limit, most = time - self._length[series], self._most[series]
        some = np.arange(len(series))
        while len(some):
            at = base[some] + (head[some] & mask[some])
            gone = self._times[at] < limit[some]
            if self._counted:
                gone |= tail[some] - head[some] > most[some]
            some, at = some[gone], at[gone]
            head[some] += 1
            moved.leave(some, self._values[at])
        self._head[series] = head
        self._sums.keep(series, moved)
        first = base + (head & mask)
        worth, doubt = self._worth(series, (tail - head, moved), (time, value), first)
        certain = (worth - doubt >= moved.low) & (worth + doubt <= moved.high)
        return ~certain | (tail - head > MOST_READINGS)

    def _worth(
        self, series: Ints, sums: tuple[Ints, Moved], newest: tuple[Ints, Floats], first: Ints
    ) -> tuple[Floats, Floats]:
        """Values of the windows, and how wrong they may be. What is not judged is put where it is certainly inside."""
        count, moved = sums
        function = self._function[series]
        worth, doubt = moved.total.copy(), moved.error.copy()
        for code in np.flatnonzero(np.bincount(function, minlength=len(FUNCTIONS))).tolist():
            rows = np.flatnonzero(function == code)
            if code == _AVG:
                worth[rows] = moved.total[rows] / count[rows]
                doubt[rows] = moved.error[rows] / count[rows]
            elif code == _COUNT:
                worth[rows], doubt[rows] = count[rows], 0
            elif code in (_DELTA, _RATE):
                worth[rows] = newest[1][rows] - self._values[first[rows]]
                doubt[rows] = 0
                if code == _RATE:
                    self._rate(series, rows, worth, (newest[0], self._times[first]))
            elif code == _STDDEV:
                worth[rows], doubt[rows] = moved.deviation(rows, count[rows])
            elif _PERCENT[code] >= 0:
                inside = moved.inside(rows, count[rows], int(_PERCENT[code]))
                worth[rows], doubt[rows] = np.where(inside, moved.low[rows], np.nan), 0
        doubt += np.where(doubt > 0, EPS * np.abs(worth), 0)
        return worth, doubt

    def _rate(self, series: Ints, rows: Ints, worth: Floats, times: tuple[Ints, Ints]) -> None:
        apart = times[0][rows] - times[1][rows]
        judged = rows[apart > 0]
        worth[judged] = worth[judged] / apart[apart > 0] * 1000
        self._last[series[judged]] = worth[judged]
        # Bounds that nothing is between must still be seen.
        idle = rows[apart == 0]
        worth[idle] = self.low[series[idle]]

    # --- one by one ---

    def has(self, number: int) -> bool:
        return number < self._size and self.base[number] >= 0

    def window(self, number: int) -> Moving:
        """As the core knows it."""
        at = self._places(number)
        last = float(self._last[number])
        readings = Readings(self._times[at].tolist(), self._values[at].tolist())
        return Moving(readings, None if math.isnan(last) else last)

    def contents(self, number: int) -> tuple[Ints, Floats, float | None]:
        """Times, values, and the last rate."""
        at = self._places(number)
        last = float(self._last[number])
        return self._times[at], self._values[at], None if math.isnan(last) else last

    def _places(self, number: int) -> Ints:
        head, tail = int(self._head[number]), int(self._tail[number])
        return int(self.base[number]) + (np.arange(head, tail) & int(self._mask[number]))

    def put(self, number: int, place: int, rule: WindowRule, window: Moving, bounds: tuple[float, float]) -> None:
        """Bring a window into its ring, with the bounds of its value."""
        times, values = window.readings.times, window.readings.values
        count = len(times)
        if self.base[number] < 0 or count > int(self._mask[number]) + 1:
            self.drop(number)
            self._allot(number, max(SMALLEST, 1 << (count - 1).bit_length() if count else SMALLEST))
        start = int(self.base[number])
        self._times[start : start + count], self._values[start : start + count] = times, values
        self._head[number] = self._floor[number] = 0
        self._tail[number] = count
        self._sums.need(rule.function)
        self._sums.begin(number, rule.function, values, bounds)
        self._last[number] = math.nan if window.last is None else window.last
        self.low[number], self.high[number] = bounds
        counted = rule.kind == "count"
        self._counted = self._counted or counted
        self._length[number], self._most[number] = (_ENDLESS, rule.size) if counted else (rule.size, _ENDLESS)
        self._function[number] = FUNCTIONS.index(rule.function)
        self.place[number] = place

    def drop_if_there(self, number: int) -> None:
        if self.has(number):
            self.drop(number)

    def drop(self, number: int) -> None:
        if self.base[number] >= 0:
            self._free.setdefault(int(self._mask[number]) + 1, []).append(int(self.base[number]))
            self.base[number] = -1

    def numbers(self) -> list[int]:
        """Series with a ring."""
        found: list[int] = np.flatnonzero(self.base >= 0).tolist()
        return found

    # --- the arena ---

    def _allot(self, number: int, capacity: int) -> None:
        self.base[number] = int(self._bases(1, capacity)[0])
        self._mask[number] = capacity - 1

    def _grow(self, series: Ints) -> None:
        """Twice the room for each of these; what can be undone comes along."""
        masks = self._mask[series]
        for mask in np.unique(masks).tolist():
            mine, capacity = series[masks == mask], mask + 1
            base = self._bases(len(mine), 2 * capacity)
            # Heads and tails are counted on, so what undo has kept still fits. The rings are full: from floor to tail.
            counts = self._floor[mine][:, None] + np.arange(capacity)
            old = self.base[mine][:, None] + (counts & mask)
            new = base[:, None] + (counts & (2 * capacity - 1))
            self._times[new], self._values[new] = self._times[old], self._values[old]
            self._free.setdefault(capacity, []).extend(self.base[mine].tolist())
            self.base[mine], self._mask[mine] = base, 2 * capacity - 1

    def _bases(self, count: int, capacity: int) -> Ints:
        free = self._free.get(capacity, [])
        reused = [free.pop() for _ in range(min(count, len(free)))]
        new = count - len(reused)
        self._make_room(new * capacity)
        made = self._used + capacity * np.arange(new)
        self._used += new * capacity
        return np.concatenate([np.array(reused, np.int64), made])

    def _make_room(self, places: int) -> None:
        if self._used + places > len(self._times):
            room = max(2 * len(self._times), self._used + places, 1 << 16)
            self._times = np.concatenate([self._times, np.zeros(room - len(self._times), np.int64)])
            self._values = np.concatenate([self._values, np.zeros(room - len(self._values))])
