"""Intervals against the same without them: every sensor judged at every reading."""

from __future__ import annotations

from operator import itemgetter

from hypothesis import example, given, settings
from hypothesis import strategies as st

from tocsin.evaluator.core.intervals import INFINITY, Intervals
from tocsin.evaluator.core.rule import Level, NoData, Rule
from tocsin.evaluator.core.sensor import START, SensorState
from tocsin.evaluator.core.series import Series, draw_deadlines, take_reading
from tocsin.shared.configuration.condition import Condition

# Few numbers, so that values fall on thresholds and thresholds on each other.
numbers = st.sampled_from([-1.0, 0.0, -0.0, 1.0, 1.5, 2.0, 2.0000000000000004, 3.0])


@st.composite
def conditions(draw: st.DrawFn) -> Condition:
    op = draw(st.sampled_from([">", ">=", "<", "<=", "==", "!=", "between", "outside"]))
    low, high = sorted((draw(numbers), draw(numbers)))
    return Condition(op, low, high) if op in ("between", "outside") else Condition(op, low)


delays = st.sampled_from([0, 0, 1, 3])
plain = st.builds(Rule.of, conditions(), st.none() | conditions(), delays, delays)
levels = st.lists(st.builds(Level, conditions(), st.none() | conditions(), delays, delays), min_size=2, max_size=3)
silences = st.none() | st.builds(NoData, st.sampled_from([2, 4]), st.sampled_from(["no-data", "trigger", "clear"]))
leveled = st.builds(lambda found, silence, hold: Rule(tuple(found), None, silence, hold), levels, silences, delays)
rules = plain | leveled
readings = st.lists(st.tuples(st.integers(0, 12), numbers), max_size=25)


class Singly:
    """Each sensor by itself on a series of its own, at every reading, without bounds."""

    def __init__(self, sensors: list[Rule]) -> None:
        self.alone = [(Intervals([sensor]), Series()) for sensor in sensors]

    def take(self, time: int, value: float) -> list[tuple[int, SensorState]]:
        """Places of the sensors that have changed, and to what."""
        found = []
        for place, (lines, series) in enumerate(self.alone):
            series.low, series.high = INFINITY, -INFINITY
            found += [(place, moved.after) for moved in take_reading(lines, series, time, value)[1]]
        return found

    def states(self) -> list[SensorState]:
        return [series.states.get(0, START) for _, series in self.alone]


@given(st.lists(rules, max_size=6), readings, st.integers(0, 30))
@settings(max_examples=600, deadline=None)
@example(  # two cuts that are neighbouring floats: the gap between them is empty
    [
        *[Rule.of(Condition(">", -1.0))] * 4,
        Rule.of(Condition(">=", 2.0000000000000004)),
        Rule.of(Condition(">", 2.0), Condition("<", -1.0)),
    ],
    [(0, 2.0000000000000004), (0, -1.0)],
    0,
)
def test_the_intervals_change_nothing(sensors: list[Rule], log: list[tuple[int, float]], forgets_at: int) -> None:
    model, lines, series = Singly(sensors), Intervals(sensors), Series()
    for at, (time, value) in enumerate(log):
        if at == forgets_at:
            series = Series(series.order, series.states)  # as after a restart
            draw_deadlines(lines, series)
        _, moved = take_reading(lines, series, time, value)
        assert sorted(((move.place, move.after) for move in moved), key=itemgetter(0)) == model.take(time, value)
        assert [series.states.get(place, START) for place in range(len(sensors))] == model.states()


@given(st.lists(rules, max_size=6), readings, numbers, st.integers(0, 5))
@settings(max_examples=300, deadline=None)
def test_nothing_changes_between_the_bounds(
    sensors: list[Rule], log: list[tuple[int, float]], value: float, later: int
) -> None:
    lines, series = Intervals(sensors), Series()
    for time, read in log:
        take_reading(lines, series, time, read)
    time = (series.order.newest if series.order else 0) + later
    if not (series.low <= value <= series.high and time < series.deadline):
        return
    if series.order is not None and time > series.order.newest + series.silence:
        return
    again = Series(series.order, dict(series.states))  # bounds unknown: every sensor is looked at
    _, moved = take_reading(lines, again, time, value)
    assert moved == []
