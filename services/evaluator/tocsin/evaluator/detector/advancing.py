"""Compiled: readings move their series on, in order of arrival; the first of a series that has to be judged, stops it.

A reading that may change something is not judged where the series' step is known (core.steps): it is taken by it.
"""

from __future__ import annotations

import numpy as np

from tocsin.evaluator.core.steps import NO_STANCE, UNKNOWN, Steps
from tocsin.evaluator.detector.columns import Bools, Floats, Ints, Stances
from tocsin.evaluator.detector.compiling import compiled, double_at, long_at, part

TAKEN, LATE, REPEATED, LEFT, UNLEARNED, STEPPED = range(6)
"""What became of a reading. LEFT: it has to be judged, and so has every later one of its series. UNLEARNED: the same,
but if its step were known it would be taken. STEPPED and above: taken, and a sensor has changed by the step of that
number."""

_FIRST, _CUTS_AT, _CUTS = range(3)
_STANCE, _MOVES = range(2)
_UNKNOWN = UNKNOWN  # the compiler wants it from here

_LONG = 8


@part
def _cell(cuts: Floats, first: int, count: int, value: float) -> int:
    """As core.intervals numbers them."""
    low, high = first, first + count
    while low < high:
        middle = (low + high) // 2
        if cuts[middle] < value:
            low = middle + 1
        else:
            high = middle
    return 2 * (low - first) + (low < first + count and cuts[low] == value)


@compiled
def advance(
    readings: tuple[Ints, Ints, Floats],
    order: tuple[Ints, Floats, Bools],
    bounds: tuple[Floats, Floats],
    ends: tuple[Ints, Ints, Ints],
    steps: tuple[Stances, Ints, Floats, Ints, Ints, Floats],
    found: tuple[Bools, Ints],
) -> None:
    """One pass in order of arrival.

    `readings`: series, time and value of each. By series: `order` is the newest time, the value at it, and whether
    there are more; `bounds` are the lowest and highest value (the lowest above the highest: every reading counts);
    `ends` are deadline, due and silence as in core.series; `steps` begins with their stances, the rest is as
    core.steps has it. `found`: which series have a reading left, and what became of each reading.
    """
    series, times, values = readings
    stopped, became = found
    newest, last, tied = order
    low, high = bounds
    deadline, due, silence = ends
    stance, cells, cuts, to, after, drawn = steps
    for at in range(len(series)):
        one, time, value = series[at], times[at], values[at]
        before = newest[one]
        stands = stance[one]
        if stopped[one] or (low[one] > high[one] and stands < 0):
            became[at] = LEFT
        elif time < before:
            became[at] = LATE
        elif time == before:
            became[at] = REPEATED if value == last[one] else LEFT
            stopped[one] = stopped[one] or became[at] == LEFT
        elif time >= deadline[one] or time > due[one] or time > before + silence[one]:
            became[at] = LEFT
            stopped[one] = True
        elif value >= low[one] and value <= high[one]:
            became[at] = TAKEN
            newest[one], last[one], tied[one] = time, value, False
        elif stands < 0:
            became[at] = LEFT
            stopped[one] = True
        else:
            cell = cells[_FIRST, stands] + _cell(cuts, cells[_CUTS_AT, stands], cells[_CUTS, stands], value)
            step = to[cell]
            if step < 0:
                became[at] = UNLEARNED if step == _UNKNOWN else LEFT
                stopped[one] = True
            else:
                became[at] = STEPPED + step if after[_MOVES, step] else TAKEN
                newest[one], last[one], tied[one] = time, value, False
                stance[one] = after[_STANCE, step]
                low[one], high[one] = drawn[0, step], drawn[1, step]


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
    steps = np.full(1, NO_STANCE, np.int32), *Steps().arrays()
    advance((whole, whole, real), order, (real, real), (whole, whole, whole), steps, (flag, np.zeros(1, np.int64)))
    passed_over((0, 0), (0, 0), 0, (0.0, 0.0), (0, 0))
