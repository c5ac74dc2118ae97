"""Intervals and order against an obvious model: every sensor judged at every reading."""

from __future__ import annotations

from hypothesis import example, given, settings
from hypothesis import strategies as st

from tocsin.evaluator.core.intervals import Intervals
from tocsin.evaluator.core.sensor import START, Phase, Rule, SensorState
from tocsin.evaluator.core.series import Series, take_reading
from tocsin.shared.configuration.condition import Condition

# Few numbers, so that values fall on thresholds and thresholds on each other.
numbers = st.sampled_from([-1.0, 0.0, -0.0, 1.0, 1.5, 2.0, 2.0000000000000004, 3.0])


@st.composite
def conditions(draw: st.DrawFn) -> Condition:
    op = draw(st.sampled_from([">", ">=", "<", "<=", "==", "!=", "between", "outside"]))
    low, high = sorted((draw(numbers), draw(numbers)))
    return Condition(op, low, high) if op in ("between", "outside") else Condition(op, low)


rules = st.builds(Rule, conditions(), st.none() | conditions(), st.sampled_from([0, 0, 1, 3]))
readings = st.lists(st.tuples(st.integers(0, 12), numbers), max_size=25)


class Model:
    """Each sensor by itself, at every reading, by the words of the specification."""

    def __init__(self, sensors: list[Rule]) -> None:
        self.sensors = sensors
        self.states = [("clear", 0)] * len(sensors)
        self.newest: int | None = None
        self.seen: set[float] = set()

    def take(self, time: int, value: float) -> list[int]:
        """Places of the sensors that have changed."""
        if self.newest is not None and (time < self.newest or (time == self.newest and value in self.seen)):
            return []
        self.seen = {value} | (self.seen if time == self.newest else set())
        self.newest = time
        before = list(self.states)
        for place, sensor in enumerate(self.sensors):
            state, since = self.states[place]
            holds = sensor.trigger.holds(value)
            clears = not holds and (sensor.clear is None or sensor.clear.holds(value))
            if state == "triggered":
                if clears:
                    self.states[place] = ("clear", 0)
                continue
            if not holds:
                self.states[place] = ("clear", 0)
                continue
            start = since if state == "pending" else time
            self.states[place] = ("triggered", time) if time >= start + sensor.for_ms else ("pending", start)
        return [place for place in range(len(self.sensors)) if self.states[place] != before[place]]


@given(st.lists(rules, max_size=6), readings, st.integers(0, 30))
@settings(max_examples=600, deadline=None)
@example(  # two cuts that are neighbouring floats: the gap between them is empty
    [
        *[Rule(Condition(">", -1.0), None, 0)] * 4,
        Rule(Condition(">=", 2.0000000000000004), None, 0),
        Rule(Condition(">", 2.0), Condition("<", -1.0), 0),
    ],
    [(0, 2.0000000000000004), (0, -1.0)],
    0,
)
def test_the_intervals_change_nothing(sensors: list[Rule], log: list[tuple[int, float]], forgets_at: int) -> None:
    model, lines, series = Model(sensors), Intervals(sensors), Series()
    for at, (time, value) in enumerate(log):
        if at == forgets_at:
            series = Series(series.order, series.states)  # as after a restart
        _, moved = take_reading(lines, series, time, value)
        assert [move.place for move in moved] == model.take(time, value)
        states = [series.states.get(place, START) for place in range(len(sensors))]
        assert [(Phase[name.upper()], since) for name, since in model.states] == [(s.phase, s.since) for s in states]


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
    again = Series(series.order, dict(series.states))  # bounds unknown: every sensor is looked at
    _, moved = take_reading(lines, again, time, value)
    assert moved == []


def test_the_model_knows_what_a_state_is() -> None:
    assert SensorState(Phase.CLEAR, 0) == START
