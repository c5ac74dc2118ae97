"""What is known of sliding windows without looking into them, as columns: each reading that enters or leaves moves it.

1. Sums, each with a bound of its rounding error. A deviation needs the sum of squares, too: both are of the distances
   from a value near the mean, or what they differ by would drown in their errors.
2. Order: how many readings lie above and how many below the bounds between which the sensor stays as it is. The value
   of rank r lies between them exactly when fewer than r lie below, and at least r do not lie above. A percentile is
   such a value, and so are the lowest and the highest.
"""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tocsin.evaluator.core.functions import exact_sum, mean
from tocsin.evaluator.detector.columns import Bools, Floats, Ints

EPS = 4 * np.finfo(np.float64).eps
"""A generous bound of the relative error of one rounding, or of the few that one reading takes."""

PERCENT = {"min": 0, "p50": 50, "p90": 90, "p95": 95, "p99": 99, "max": 100}
"""Of the readings, that the value judged is not exceeded by."""

_PLAIN = ("total", "error")
_SQUARED = ("shift", "squares", "square_error")
_ORDERED = ("above", "below")


@dataclass
class Moved:
    """Of some series, while one reading enters each window and others leave it. What nobody needs is empty."""

    low: Floats
    high: Floats
    total: Floats
    error: Floats
    shift: Floats
    squares: Floats
    square_error: Floats
    above: Ints
    below: Ints

    def enter(self, value: Floats) -> None:
        self._move(slice(None), value, 1)

    def leave(self, some: Ints, value: Floats) -> None:
        self._move(some, value, -1)

    def _move(self, some: Any, value: Floats, sign: int) -> None:
        apart = value
        if len(self.squares):
            apart = value - self.shift[some]
            square = apart * apart
            self.squares[some] += sign * square
            self.square_error[some] += EPS * (np.abs(self.squares[some]) + square)
        self.total[some] += sign * apart
        self.error[some] += EPS * (np.abs(self.total[some]) + np.abs(apart))
        if len(self.above):
            self.above[some] += np.where(value > self.high[some], sign, 0)
            self.below[some] += np.where(value < self.low[some], sign, 0)

    def deviation(self, rows: Ints, count: Ints) -> tuple[Floats, Floats]:
        """Of the population, and how far from it what the core finds may be."""
        middle, wrong = self.total[rows] / count, self.error[rows] / count
        squares = self.squares[rows] / count
        variance = np.maximum(squares - middle * middle, 0)
        doubt = self.square_error[rows] / count + (2 * np.abs(middle) + wrong) * wrong
        doubt += EPS * (squares + middle * middle)
        worth = np.sqrt(variance)
        far = np.maximum(np.sqrt(variance + doubt) - worth, worth - np.sqrt(np.maximum(variance - doubt, 0)))
        # The core's own mean is rounded, and so is each distance from it.
        shift = self.shift[rows]
        return worth, far + EPS * (np.abs(middle + shift) + np.abs(shift) + worth + far)

    def inside(self, rows: Ints, count: Ints, percent: int) -> Bools:
        """Whether the value of this rank lies between the bounds. Exact."""
        rank = np.maximum(-(-percent * count // 100), 1)
        ordered = self.low[rows] <= self.high[rows]
        found: Bools = ordered & (self.below[rows] < rank) & (count - self.above[rows] >= rank)
        return found


class WindowSums:
    """By series number."""

    def __init__(self) -> None:
        self._columns: dict[str, NDArray[Any]] = {name: np.zeros(0) for name in (*_PLAIN, *_SQUARED)}
        self._columns |= {name: np.zeros(0, np.int64) for name in _ORDERED}
        self._size = 0
        self._needed = list(_PLAIN)

    def extend(self, size: int) -> None:
        """There are this many series."""
        self._size = size
        for name in self._needed:
            self._grow(name)

    def _grow(self, name: str) -> None:
        column = self._columns[name]
        self._columns[name] = np.concatenate([column, np.zeros(self._size - len(column), column.dtype)])

    def need(self, function: str) -> None:
        """A window of this function is kept from now on."""
        more = _SQUARED if function == "stddev" else _ORDERED if function in PERCENT else ()
        for name in more:
            if name not in self._needed:
                self._grow(name)
                self._needed.append(name)

    def undone(self) -> list[NDArray[Any]]:
        """What a reading moves."""
        return [self._columns[name] for name in self._needed]

    def forget_order(self) -> None:
        """Bounds have changed for all: no reading is outside them."""
        for name in _ORDERED:
            self._columns[name][:] = 0

    def of(self, series: Ints, low: Floats, high: Floats) -> Moved:
        nobody = np.zeros(0, np.int64)
        taken = {name: column[series if name in self._needed else nobody] for name, column in self._columns.items()}
        return Moved(low, high, **taken)

    def keep(self, series: Ints, moved: Moved) -> None:
        for name in self._needed:
            if name != "shift":
                self._columns[name][series] = getattr(moved, name)

    def begin(self, number: int, function: str, values: list[float], bounds: tuple[float, float]) -> None:
        """Of one series, from all that is in its window."""
        columns, needed = self._columns, self._needed
        if "squares" in needed:
            columns["shift"][number] = 0
        if function == "stddev":
            with np.errstate(over="ignore", invalid="ignore"):
                self._spread(number, values)
        else:
            columns["total"][number] = total = exact_sum(values)
            columns["error"][number] = abs(total) * EPS if abs(total) < sys.float_info.max else math.inf
        if function in PERCENT:
            low, high = bounds
            columns["above"][number] = sum(value > high for value in values)
            columns["below"][number] = sum(value < low for value in values)

    def _spread(self, number: int, values: list[float]) -> None:
        columns = self._columns
        columns["shift"][number] = shift = mean(values) if values else 0.0
        apart = np.array(values) - shift
        square = apart * apart
        columns["total"][number], columns["squares"][number] = apart.sum(), square.sum()
        # Each sum has been rounded that often, at most.
        columns["error"][number] = EPS * len(values) * np.abs(apart).sum()
        columns["square_error"][number] = EPS * len(values) * square.sum()
