"""All sensors of one metric on one series: which of them a reading changes. Pure but for the series it is given."""

from __future__ import annotations

from dataclasses import dataclass, field

from tocsin.evaluator.core.intervals import INFINITY, Intervals
from tocsin.evaluator.core.sensor import START, Phase, SensorState, deadline, judge
from tocsin.evaluator.core.series_order import Order, Verdict, take

NEVER = (1 << 63) - 1
"""A deadline that does not come."""


@dataclass(slots=True)
class Series:
    """What is remembered of a series. The bounds are only a shortcut and can be lost; the rest cannot."""

    order: Order | None = None
    states: dict[int, SensorState] = field(default_factory=dict)  # of the sensors that are not clear, by place
    low: float = INFINITY  # bounds that nothing is inside of: every sensor is looked at
    high: float = -INFINITY
    deadline: int = NEVER  # from this event time on a reading inside the bounds may change a state, too


@dataclass(frozen=True, slots=True)
class Moved:
    """A sensor's state has changed."""

    place: int  # of the sensor among the metric's
    before: SensorState
    after: SensorState


def take_reading(intervals: Intervals, series: Series, time: int, value: float) -> tuple[Verdict, list[Moved]]:
    """Judge one reading, in order of arrival; the moves are in order of the sensors' places."""
    verdict, series.order = take(series.order, time, value)
    if verdict is not Verdict.JUDGED:
        return verdict, []
    inside = series.low <= value <= series.high
    if inside and time < series.deadline:
        return verdict, []
    moved = []
    for place in sorted(_candidates(intervals, series, value, inside)):
        before = series.states.get(place, START)
        after = judge(intervals.rules[place], before, time, value)
        if after is before:
            continue
        moved.append(Moved(place, before, after))
        if after.phase is Phase.CLEAR:
            del series.states[place]
        else:
            series.states[place] = after
    draw_bounds(intervals, series, value)
    return verdict, moved


def draw_bounds(intervals: Intervals, series: Series, value: float) -> None:
    """Between these bounds and before this deadline no reading changes anything."""
    series.low, series.high = intervals.run(series.states, value)
    series.deadline = NEVER
    if not intervals.waiting:
        return
    for place, state in series.states.items():
        due = deadline(intervals.rules[place], state)
        if due is not None and due < series.deadline:
            series.deadline = due


def _candidates(intervals: Intervals, series: Series, value: float, inside: bool) -> set[int]:
    if series.low > series.high:
        return {*intervals.holding(value), *series.states}
    found = set() if inside else intervals.crossed(series.low, series.high, value)
    if series.deadline != NEVER:
        found.update(place for place, state in series.states.items() if state.phase is Phase.PENDING)
    return found
