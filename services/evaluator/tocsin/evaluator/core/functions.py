"""What an aggregate makes of the readings of a window. Pure.

Sums are `math.fsum`: exactly rounded, so they neither drift nor depend on the order. Source: Shewchuk, Adaptive
Precision Floating-Point Arithmetic, 1997. What would leave the range of a float is its largest number.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

_MOST = sys.float_info.max
_SCALE = 2.0**-64
"""Sums of up to as many of the largest floats stay in range when scaled by this."""

Values = Sequence[float]


def _bounded(value: float) -> float:
    return min(max(value, -_MOST), _MOST)


def exact_sum(values: Values) -> float:
    try:
        return math.fsum(values)
    except OverflowError:
        return _bounded(math.fsum([value * _SCALE for value in values]) / _SCALE)


def mean(values: Values) -> float:
    try:
        return math.fsum(values) / len(values)
    except OverflowError:
        return _bounded(math.fsum([value * _SCALE for value in values]) / len(values) / _SCALE)


def deviation(values: Values) -> float:
    """Of the population; 0 where all values are equal.

    The mean is rounded: what that adds to the squares is taken off again. Source: Chan, Golub and LeVeque, Algorithms
    for Computing the Sample Variance, 1983, (1.7).
    """
    middle = mean(values)
    apart = [_bounded(value - middle) for value in values]
    # By a power of two, which rounds nothing, so that no square is too large for a float.
    exponent = max(0, math.frexp(max(map(abs, apart)))[1])
    scaled = [math.ldexp(one, -exponent) for one in apart]
    squares = math.fsum([one * one for one in scaled]) - math.fsum(scaled) ** 2 / len(values)
    return math.ldexp(math.sqrt(max(0.0, squares) / len(values)), exponent)


def percentile(percent: int) -> Callable[[Values], float]:
    """By nearest rank: the smallest value that at least so many percent of the values do not exceed."""

    def nearest_rank(values: Values) -> float:
        return sorted(values)[-(-percent * len(values) // 100) - 1]

    return nearest_rank


OF_VALUES: Mapping[str, Callable[[Values], float]] = MappingProxyType(
    {
        "avg": mean,
        "min": min,
        "max": max,
        "sum": exact_sum,
        "count": lambda values: float(len(values)),
        "stddev": deviation,
        "p50": percentile(50),
        "p90": percentile(90),
        "p95": percentile(95),
        "p99": percentile(99),
        "delta": lambda values: _bounded(values[-1] - values[0]),
    }
)


def aggregate(function: str, times: Sequence[int], values: Values) -> float | None:
    """In order of time, ms; None when there is nothing to judge: no reading, or a rate within one instant."""
    if not values:
        return None
    if function != "rate":
        return OF_VALUES[function](values)
    if times[-1] == times[0]:
        return None
    return _bounded((values[-1] - values[0]) / (times[-1] - times[0]) * 1000)
