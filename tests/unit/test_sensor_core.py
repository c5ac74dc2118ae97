"""One sensor on one series, and the number line as many sensors see it."""

from __future__ import annotations

import pytest

from sensing import make_sensor, published
from tocsin.evaluator.core.intervals import Intervals
from tocsin.evaluator.core.rule import Rule
from tocsin.evaluator.core.sensor import START, Phase, SensorState, judge
from tocsin.evaluator.core.series import Series, take_reading
from tocsin.evaluator.core.series_order import Order, Verdict, take
from tocsin.shared.configuration.condition import parse_condition


def rule(trigger: str, clear: str | None = None, for_ms: int = 0) -> Rule:
    return Rule.of(parse_condition(trigger), None if clear is None else parse_condition(clear), for_ms)


def test_a_trigger_that_still_holds_wins_over_clear() -> None:
    assert published(make_sensor("> 90", clear="< 95"), [(0, 91), (1, 92), (2, 90)]) == ["ON0", "OFF2"]


def test_for_fires_at_the_first_reading_that_has_held_long_enough() -> None:
    found = published(make_sensor("> 50", **{"for": "60s"}), [(0, 75), (60, 85), (120, 70), (180, 10)])
    assert found == ["ON60", "OFF180"]


def test_one_reading_that_breaks_it_starts_for_over() -> None:
    readings = [(0, 75.0), (59, 75), (60, 50), (61, 75), (120, 75), (121, 75)]
    assert published(make_sensor("> 50", **{"for": "60s"}), readings) == ["ON121"]


def test_a_gap_does_not_start_for_over() -> None:
    assert published(make_sensor("> 50", **{"for": "60s"}), [(0, 75), (86_400, 75)]) == ["ON86400"]


def test_a_pending_sensor_looks_at_its_trigger_only() -> None:
    # 80 is between trigger and clear: it would leave a triggered sensor alone, but breaks a pending one.
    sensor = make_sensor("> 90", clear="< 70", **{"for": "10s"})
    assert published(sensor, [(0, 95), (5, 80), (9, 95), (15, 95), (19, 95)]) == ["ON19"]


@pytest.mark.parametrize(
    ("trigger", "on"),
    [
        ("> 5", [6]),
        (">= 5", [5, 6]),
        ("< 5", [4]),
        ("<= 5", [4, 5]),
        ("== 5", [5]),
        ("!= 5", [4, 6]),
        ("between 5 and 5", [5]),
        ("outside 5 and 5", [4, 6]),
        ("between 5 and 6", [5, 6]),
    ],
)
def test_every_comparison(trigger: str, on: list[int]) -> None:
    assert [value for value in (4, 5, 6) if judge(rule(trigger), START, 0, value).phase is Phase.TRIGGERED] == on
    assert [value for value in (4, 5, 6) if rule(trigger).triggers(value)] == on


def test_a_state_that_stays_is_the_same_object() -> None:
    state = SensorState(level=0, since=7)
    assert judge(rule("> 5"), state, 9, 6) is state
    assert judge(rule("> 5"), START, 9, 5) is START


def test_the_newest_reading_decides_and_repeats_are_dropped() -> None:
    verdicts, order = [], None
    for time, value in [(5, 1.0), (5, 1.0), (4, 9.0), (5, 2.0), (5, 1.0), (6, 1.0)]:
        verdict, order = take(order, time, value)
        verdicts.append(verdict.name)
    assert verdicts == ["JUDGED", "REPEATED", "LATE", "JUDGED", "REPEATED", "JUDGED"]
    assert order == Order(6, (1.0,))


def test_bounds_are_drawn_where_a_sensor_would_change() -> None:
    one = Series()
    lines = Intervals([rule("> 90", "< 80"), rule("<= 10")])
    take_reading(lines, one, 0, 50)
    assert (one.low, one.high) == (10.000000000000002, 90)  # the clear condition at 80 matters to nobody now
    take_reading(lines, one, 1, 95)
    assert (one.low, one.high) == (80, float("inf"))


def test_a_reading_between_the_bounds_is_not_looked_at() -> None:
    class Refuses(Intervals):
        def crossed(self, low: float, high: float, value: float) -> set[int]:
            raise AssertionError("nothing was crossed")

    one = Series()
    lines = Refuses([rule("> 90")])
    take_reading(lines, one, 0, 50)
    assert take_reading(lines, one, 1, 90) == (Verdict.JUDGED, [])


def test_a_thousand_sensors_cost_a_crossing_one_judgement() -> None:
    lines = Intervals([rule(f"> {number}") for number in range(1000)])
    one = Series()
    take_reading(lines, one, 0, -5)
    assert len(lines.crossed(one.low, one.high, 0.5)) == 1
    _, moved = take_reading(lines, one, 1, 0.5)
    assert [move.place for move in moved] == [0]
    assert (one.low, one.high) == (5e-324, 1)
