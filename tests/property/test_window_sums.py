"""What windows in columns say for certain of their readings is what the core finds in them."""

from __future__ import annotations

import math
from collections import deque

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tocsin.evaluator.core.functions import OF_VALUES
from tocsin.evaluator.detector.window_sums import PERCENT, WindowSums

ONE = np.array([0])
MOST = 1e12

readings = st.lists(
    st.floats(-MOST, MOST) | st.sampled_from([0.0, 0.1, 1.0, 1e9 + 0.1, 1e9 + 0.2, 1e-9]), min_size=2, max_size=60
)


def sums_of(function: str, values: list[float], bounds: tuple[float, float] = (-math.inf, math.inf)) -> WindowSums:
    found = WindowSums()
    found.extend(1)
    found.need(function)
    found.begin(0, function, values, bounds)
    return found


@given(readings, st.integers(1, 8))
@example([1e9, *[1e9 + 0.25, 1e9 - 0.25] * 20], 5)
@example([1e9, *[0.1] * 20], 3)  # far away from where it began
def test_a_deviation_is_as_near_to_what_the_core_finds_as_it_says(values: list[float], size: int) -> None:
    sums = sums_of("stddev", values[:1])
    window = deque(values[:1])
    for value in values[1:]:
        moved = sums.of(ONE, np.array([-np.inf]), np.array([np.inf]))
        window.append(value)
        moved.enter(np.array([value]))
        if len(window) > size:
            moved.leave(ONE, np.array([window.popleft()]))
        sums.keep(ONE, moved)
        (worth,), (doubt,) = moved.deviation(ONE, np.array([len(window)]))
        assert abs(worth - OF_VALUES["stddev"](window)) <= doubt


def test_the_doubt_about_a_deviation_is_small() -> None:
    """Or the core would be asked at every reading: of values about 1,000 apart by 1, over an hour of seconds."""
    source = np.random.default_rng(7)
    values = source.normal(1_000, 1, 3_600 * 3)
    sums = sums_of("stddev", values[:3_600].tolist())
    for at in range(3_600, len(values)):
        moved = sums.of(ONE, np.array([-np.inf]), np.array([np.inf]))
        moved.enter(values[at : at + 1])
        moved.leave(ONE, values[at - 3_600 : at - 3_599])
        sums.keep(ONE, moved)
    (worth,), (doubt,) = moved.deviation(ONE, np.array([3_600]))
    assert worth == pytest.approx(values[-3_600:].std())
    assert doubt < 1e-6


@given(st.sampled_from(list(PERCENT)), readings, st.integers(1, 8), st.tuples(st.integers(0, 59), st.integers(0, 59)))
def test_a_rank_is_between_the_bounds_exactly_when_the_core_finds_it_there(
    function: str, values: list[float], size: int, places: tuple[int, int]
) -> None:
    low, high = sorted(values[place % len(values)] for place in places)
    sums = sums_of(function, values[:1], (low, high))
    window = deque(values[:1])
    for value in values[1:]:
        moved = sums.of(ONE, np.array([low]), np.array([high]))
        window.append(value)
        moved.enter(np.array([value]))
        if len(window) > size:
            moved.leave(ONE, np.array([window.popleft()]))
        sums.keep(ONE, moved)
        inside = bool(moved.inside(ONE, np.array([len(window)]), PERCENT[function])[0])
        assert inside is (low <= OF_VALUES[function](window) <= high)


def test_bounds_that_nothing_is_between_hold_nothing() -> None:
    sums = sums_of("p50", [1.0, 2.0, 3.0], (math.inf, -math.inf))
    moved = sums.of(ONE, np.array([np.inf]), np.array([-np.inf]))
    assert not moved.inside(ONE, np.array([3]), 50).any()
