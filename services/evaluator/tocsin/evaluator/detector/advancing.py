"""Compiled: readings that change no sensor move their series on; the first of a series that may, stops it."""

from __future__ import annotations

import numpy as np

from tocsin.evaluator.detector.columns import Bools, Floats, Ints
from tocsin.evaluator.detector.compiling import compiled, double_at, long_at

TAKEN, LATE, REPEATED, LEFT = range(4)
"""What became of a reading. LEFT: it has to be judged, and so has every later one of its series."""

_LONG = 8


@compiled
def advance(
    readings: tuple[Ints, Ints, Floats],
    order: tuple[Ints, Floats, Bools],
    bounds: tuple[Floats, Floats],
    ends: tuple[Ints, Ints, Ints],
    stopped: Bools,
    became: Ints,
) -> None:
    """One pass in order of arrival; `became` is filled by reading.

    `readings`: series, time and value of each. By series: `order` is the newest time, the value at it, and whether
    there are more; `bounds` are the lowest and highest value (the lowest above the highest: every reading counts);
    `ends` are deadline, due and silence as in core.series; `stopped` says which have a reading left.
    """
    series, times, values = readings
    newest, last, tied = order
    low, high = bounds
    deadline, due, silence = ends
    for at in range(len(series)):
        one, time, value = series[at], times[at], values[at]
        before = newest[one]
        if stopped[one] or low[one] > high[one]:
            became[at] = LEFT
        elif time < before:
            became[at] = LATE
        elif (
            value < low[one]
            or value > high[one]
            or time >= deadline[one]
            or time > due[one]
            or time > before + silence[one]
        ):
            became[at] = LEFT
            stopped[one] = True
        elif time > before:
            became[at] = TAKEN
            newest[one], last[one], tied[one] = time, value, False
        elif value == last[one]:
            became[at] = REPEATED
        else:
            became[at] = LEFT
            stopped[one] = True


@compiled
def passed_over(
    columns: tuple[int, int],
    places: tuple[int, int],
    newest: int,
    bounds: tuple[float, float],
    ends: tuple[int, int],
) -> int:
    """Of one series' readings, by the addresses of their columns: where the first lies that has to be judged.

    `columns`: of times and of values, `places`: the first and the end, `ends`: the first time that may be too late, and
    the silence. Whatever does not ascend has to be judged, too.
    """
    times, values = columns
    at, end = places
    low, high = bounds
    until, silence = ends
    while at < end:
        time, value = long_at(times + at * _LONG), double_at(values + at * _LONG)
        if time <= newest or time >= until or time > newest + silence or value < low or value > high:
            return at
        newest = time
        at += 1
    return at


def warm_advancing() -> None:
    """Compile both, or load them."""
    whole, real, flag = np.zeros(1, np.int64), np.zeros(1), np.zeros(1, np.bool_)
    order = np.zeros(1, np.int64), np.zeros(1), np.zeros(1, np.bool_)
    advance((whole, whole, real), order, (real, real), (whole, whole, whole), flag, np.zeros(1, np.int64))
    passed_over((0, 0), (0, 0), 0, (0.0, 0.0), (0, 0))
