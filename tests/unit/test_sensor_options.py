"""Sensors with all their options: the cases of the specification, and where the options meet."""

from __future__ import annotations

import math
from statistics import pstdev

import pytest

from sensing import Reading, events, make_sensor, metric_plan, moves, published
from tocsin.evaluator.core.functions import aggregate
from tocsin.evaluator.core.series import Series, take_reading
from tocsin.evaluator.core.series_order import Verdict
from tocsin.evaluator.core.windows import MOST_READINGS

SEVERITIES = {
    "info": {"trigger": "> 40", "clear": "< 10"},
    "warn": {"trigger": "> 60", "clear": "< 20"},
    "crit": {"trigger": "> 80", "clear": "< 30"},
}


def timed(*values: float, start: int = 0, step: int = 1) -> list[Reading]:
    return [(start + step * at, value) for at, value in enumerate(values)]


def at(text: str, step: int = 1) -> list[Reading]:
    """`..xx.x`: 0 where there is a dot, 9 where there is an x, nothing where there is a space."""
    return [(number * step, 9.0 if letter == "x" else 0.0) for number, letter in enumerate(text) if letter != " "]


# --- the cases of the specification ---


def test_case_1_below_a_threshold_and_back_again_and_again() -> None:
    values = [97.1, 92.6, 95.6, 93.1, 92.6, 95.8, 92.7, 96.0, 93.4, 95.3, 92.4, 95.1]
    assert published(make_sensor("< 93"), timed(*values, start=1)) == [
        "ON2", "OFF3", "ON5", "OFF6", "ON7", "OFF8", "ON11", "OFF12",
    ]  # fmt: skip


def test_case_2_levels_with_hysteresis() -> None:
    found = published(make_sensor(levels=SEVERITIES), timed(45, 40, 30, 9, 45, 61, 30, 19, 45, 61, 81, 29))
    assert found == ["info@0", "OFF3", "info@4", "warn@5", "OFF7", "info@8", "warn@9", "crit@10", "OFF11"]


def test_case_3_down_to_the_highest_level_that_holds() -> None:
    sensor = make_sensor(levels={"warn": {"trigger": "> 7"}, "crit": {"trigger": "> 8"}})
    found = published(sensor, timed(9, 9, 8, 8, 6, 8, 8, 8, 3, 5, 7, 7))
    assert found == ["crit@0", "warn@2", "OFF4", "warn@5", "OFF8"]


def test_case_4_for_and_keep() -> None:
    sensor = make_sensor("> 50", **{"for": "1m", "keep": "1m"})
    assert published(sensor, timed(75, 85, 70, 70, 10, 10, step=60)) == ["ON60", "OFF300"]


def test_case_5_hysteresis() -> None:
    assert published(make_sensor("> 85", clear="<= 75"), timed(80, 86, 80, 76, 75, 74, 90)) == ["ON1", "OFF4", "ON6"]


def judged(sensor_options: dict[str, object], readings: list[Reading]) -> list[float | None]:
    """What is judged after each reading, in ms."""
    sensor = make_sensor("> 1e9", aggregate=sensor_options)
    plan, series = metric_plan(sensor), Series()
    found = []
    for time, value in readings:
        take_reading(plan.intervals, series, time, value)
        window, rule = series.windows[0], plan.sensors[0].rule.window
        assert rule is not None
        found.append(window.worth(rule))  # type: ignore[union-attr]
    return found


def test_case_6_a_sliding_window_has_both_ends_in() -> None:
    readings = [(3_600_000, 30.0), (4_800_000, 29), (4_800_001, 28), (7_200_000, 27), (7_200_001, 26)]
    assert judged({"function": "avg", "window": "1h"}, readings) == [30, 29.5, 29, 28.5, 27.5]


def test_case_7_a_count_window_is_judged_when_it_is_full() -> None:
    found = judged({"function": "avg", "count": 3}, timed(100, 60, 200, 40, 120, 80))
    assert found == [None, None, 120, 100, 120, 80]


def test_case_8_breaches_in_a_row() -> None:
    assert published(make_sensor("> 5", breaches="3 of 3"), at("..xxx.....x.")) == ["ON4", "OFF5"]


def test_case_9_a_sum_per_system() -> None:
    sensor = make_sensor("> 20", aggregate={"function": "sum", "window": "20m"})
    assert [(event.time, event.state, event.value) for event in events(sensor, [(0, 22)])] == [(0, "triggered", 22)]
    second = events(sensor, [(60_000, 19), (120_000, 2)])
    assert [(event.time, event.state, event.value) for event in second] == [(120_000, "triggered", 21)]


# --- breaches ---


def test_three_breaches_are_enough_before_there_are_five() -> None:
    assert published(make_sensor("> 5", breaches="3 of 5"), at("xxx..xx....")) == ["ON2", "OFF7"]


def test_a_later_arrival_of_the_same_time_takes_the_earlier_ones_place_among_the_breaches() -> None:
    sensor = make_sensor("> 5", breaches="2 of 2")
    assert published(sensor, [(0, 9), (1, 9), (1, 0), (2, 9), (3, 9)]) == ["ON1", "OFF1", "ON3"]


def test_breaches_come_before_for() -> None:
    # Two of three hold from 1 on, whatever the third is: for 3 s that is long enough at 4.
    assert published(make_sensor("> 5", breaches="2 of 3", **{"for": "3s"}), at("xx.xx..")) == ["ON4", "OFF6"]


# --- keep ---


def test_keep_starts_over_when_clear_breaks() -> None:
    sensor = make_sensor("> 80", clear="< 70", keep="10s")
    # 75 is neither: it starts keep over. So does the trigger.
    assert published(sensor, [(0, 90), (5, 60), (10, 75), (12, 60), (20, 90), (25, 60), (40, 60)]) == ["ON0", "OFF35"]


def test_keep_never_holds_a_pending_sensor() -> None:
    sensor = make_sensor("> 80", keep="1h", **{"for": "10s"})
    assert published(sensor, [(0, 90), (5, 60), (10, 90), (19, 90), (20, 90)]) == ["ON20"]


def test_keep_ends_by_a_timer_with_the_last_value() -> None:
    (_, off) = events(make_sensor("> 80", keep="10s"), [(0, 90), (1000, 60), (2000, 50), (60_000, 40)])
    assert (off.time, off.value, off.cause.value, off.condition) == (11_000, 50, "keep", "not > 80")


def test_each_level_keeps_for_its_own_time() -> None:
    levels = {"warn": {"trigger": "> 5", "keep": "10s"}, "crit": {"trigger": "> 8", "keep": "3s"}}
    found = published(make_sensor(levels=levels), [(0, 9), (1, 6), (4, 6), (5, 0), (30, 0)])
    assert found == ["crit@0", "warn@4", "OFF15"]


# --- levels ---


def test_each_level_waits_for_its_own_time() -> None:
    levels = {"warn": {"trigger": "> 5", "for": "2s"}, "crit": {"trigger": "> 8", "for": "4s"}}
    assert published(make_sensor(levels=levels), timed(9, 9, 9, 9, 9, 9)) == ["warn@2", "crit@4"]


def test_what_the_sensor_says_holds_for_levels_that_do_not_say_otherwise() -> None:
    levels = {"warn": {"trigger": "> 5"}, "crit": {"trigger": "> 8", "for": "0s"}}
    assert published(make_sensor(levels=levels, **{"for": "3s"}), timed(6, 6, 6, 6, 9)) == ["warn@3", "crit@4"]


def test_a_level_is_left_only_by_its_own_clear() -> None:
    levels = {"info": {"trigger": "> 40", "clear": "< 10"}, "crit": {"trigger": "> 80", "clear": "< 60"}}
    # At 70 info's trigger holds and its clear does not; crit stays, for its own clear does not hold.
    assert published(make_sensor(levels=levels), timed(90, 70, 50, 30, 5)) == ["crit@0", "info@2", "OFF4"]


def test_a_change_of_level_says_where_from() -> None:
    up, down = events(make_sensor(levels=SEVERITIES), [(0, 90), (1, 5)])
    assert (up.state, up.level, up.previous, up.previous_level, up.condition) == (
        "triggered", "crit", "clear", None, "> 80",
    )  # fmt: skip
    assert (down.state, down.level, down.previous, down.previous_level, down.condition) == (
        "clear", None, "triggered", "crit", "< 30",
    )  # fmt: skip


# --- no data ---


def test_no_data_strikes_once_a_silence_and_the_next_reading_is_judged_from_clear() -> None:
    sensor = make_sensor("> 5", no_data={"after": "10s", "then": "no-data"})
    assert published(sensor, [(0, 9), (5, 9), (60, 9), (65, 0), (100, 0)]) == [
        "ON0", "no-data@15", "ON60", "OFF65", "no-data@75", "OFF100",
    ]  # fmt: skip


def test_no_data_is_due_after_the_readings_of_its_instant() -> None:
    assert published(make_sensor("> 5", no_data={"after": "10s", "then": "no-data"}), at("x" * 4, 10)) == ["ON0"]


def test_no_data_may_trigger_at_the_highest_level_or_clear() -> None:
    trigger = make_sensor(levels=SEVERITIES, no_data={"after": "10s", "then": "trigger"})
    assert published(trigger, [(0, 50), (60, 50), (61, 5)]) == ["info@0", "crit@10", "OFF61"]
    clear = make_sensor("> 5", no_data={"after": "10s", "then": "clear"})
    assert published(clear, [(0, 9), (60, 9)]) == ["ON0", "OFF10", "ON60"]


def test_no_data_that_holds_does_nothing() -> None:
    sensor = make_sensor("> 5", no_data={"after": "10s"}, **{"for": "30s"})
    assert published(sensor, [(0, 9), (60, 9)]) == ["ON60"]


def test_a_silence_forgets_what_was_pending() -> None:
    sensor = make_sensor("> 5", no_data={"after": "10s", "then": "clear"}, **{"for": "30s"})
    assert published(sensor, [(0, 9), (60, 9), (61, 9), (90, 9)]) == []


def test_a_silence_keeps_what_breaches_have_counted() -> None:
    sensor = make_sensor("> 5", no_data={"after": "10s", "then": "no-data"}, breaches="2 of 2")
    assert published(sensor, [(0, 9), (60, 9)]) == ["no-data@10", "ON60"]


# --- hold ---


def test_hold_lets_for_be_reached_between_readings() -> None:
    sensor = make_sensor("> 5", hold="10s", **{"for": "8s"})
    (on,) = events(sensor, [(0, 9), (60_000, 9)])
    assert (on.time, on.value, on.cause.value) == (8000, 9, "for")


def test_hold_lasts_only_so_long() -> None:
    assert published(make_sensor("> 5", hold="5s", **{"for": "8s"}), [(0, 9), (7, 9), (60, 9)]) == ["ON8"]
    assert published(make_sensor("> 5", hold="5s", **{"for": "8s"}), [(0, 9), (2, 9), (60, 0)]) == []


# --- windows ---


def test_a_tumbling_window_is_judged_once_with_its_end_as_time() -> None:
    sensor = make_sensor("> 5", aggregate={"function": "avg", "tumbling": "10s"})
    readings = [(1, 9.0), (5, 7), (10, 0), (15, 2), (30, 9), (39, 9), (40, 9)]
    assert published(sensor, readings) == ["ON10", "OFF20", "ON40"]  # nothing was read from 20 to 30


def test_a_tumbling_window_waits_for_late_readings() -> None:
    sensor = make_sensor("> 5", aggregate={"function": "max", "tumbling": "10s"}, lateness="5s")
    assert published(sensor, [(1, 0), (12, 0), (9, 9), (16, 0)]) == ["ON10"]
    assert published(sensor, [(1, 0), (16, 0), (9, 9), (36, 0)]) == []


def test_late_readings_enter_a_sliding_window_within_its_lateness() -> None:
    sensor = make_sensor("> 10", aggregate={"function": "sum", "window": "1m"}, lateness="30s")
    assert published(sensor, [(60, 6), (29, 6), (30, 6), (61, 0)]) == ["ON60"]


def test_a_reading_still_in_the_window_is_a_repeat() -> None:
    sensor = make_sensor("> 10", aggregate={"function": "sum", "window": "1m"}, lateness="30s")
    plan, series = metric_plan(sensor), Series()
    readings = [(1, 6.0), (2, 3.0), (1, 6.0), (1, 5.0), (0, 1.0)]
    verdicts = [take_reading(plan.intervals, series, *reading)[0] for reading in readings]
    assert verdicts == [Verdict.JUDGED, Verdict.JUDGED, Verdict.REPEATED, Verdict.LATE, Verdict.LATE]


def test_an_equal_time_takes_the_earlier_ones_place_in_a_window() -> None:
    assert judged({"function": "sum", "window": "10s"}, [(0, 1), (1, 5), (1, 7)]) == [1, 6, 8]
    assert judged({"function": "sum", "count": 2}, [(0, 1), (1, 5), (1, 7)]) == [None, 6, 8]


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        ("avg", 3.75), ("min", 1), ("max", 8), ("sum", 15), ("count", 4), ("delta", -1), ("rate", -0.25),
        ("p50", 2), ("p90", 8), ("p95", 8), ("p99", 8), ("stddev", math.sqrt(7.1875)),
    ],
)  # fmt: skip
def test_every_function(function: str, expected: float) -> None:
    assert aggregate(function, [0, 1000, 2000, 4000], [2.0, 8.0, 4.0, 1.0]) == pytest.approx(expected, abs=0)


def test_percentiles_are_by_nearest_rank() -> None:
    values = [float(number) for number in range(1, 101)]
    assert [aggregate(f"p{percent}", [0] * 100, values) for percent in (50, 90, 95, 99)] == [50, 90, 95, 99]
    assert aggregate("p50", [0], [7.0]) == 7


def test_sums_do_not_drift() -> None:
    assert aggregate("sum", [0] * 10, [0.1] * 10) == 1.0
    assert aggregate("sum", [0] * 3, [1e16, 1.0, -1e16]) == 1.0


@pytest.mark.parametrize("function", ["sum", "avg", "stddev", "delta", "rate"])
def test_numbers_at_the_end_of_their_range_are_bounded(function: str) -> None:
    found = aggregate(function, [0, 1, 2], [-1.7e308, 1.7e308, 1.7e308])
    assert found is not None
    assert math.isfinite(found)
    assert aggregate("avg", [0, 1], [1.7e308, 1.7e308]) == 1.7e308


@pytest.mark.parametrize(("value", "count"), [(0.1, 3), (0.8, 6), (48.79, 29), (1.7e308, 3), (5e-324, 3), (-0.0, 2)])
def test_what_does_not_move_deviates_by_nothing(value: float, count: int) -> None:
    """The mean of three times 0.1 is not 0.1: it is rounded twice."""
    assert aggregate("stddev", [0] * count, [value] * count) == 0
    stuck = make_sensor("== 0", aggregate={"function": "stddev", "count": count})
    assert len(published(stuck, [(at, value) for at in range(count)])) == 1


@pytest.mark.parametrize("values", [[0.1, math.nextafter(0.1, 1)], [1e9, 1e9 + 1e-6, 1e9], [0, 2e200]])
def test_a_deviation_is_of_the_values_and_not_of_the_rounded_mean(values: list[float]) -> None:
    assert aggregate("stddev", [0] * len(values), values) == pytest.approx(pstdev(values), rel=1e-15, abs=0)


def test_a_rate_within_one_instant_is_not_judged() -> None:
    assert judged({"function": "rate", "window": "10s"}, [(0, 1), (0, 5), (2000, 9)]) == [None, None, 2.0]


def test_a_window_that_is_not_judged_does_not_renew_what_is_held() -> None:
    # From 4 to 8 there is one reading, and no rate: what was judged at 4 is held until 7, and for needs 8.
    sensor = make_sensor("< 1", aggregate={"function": "rate", "tumbling": "4s"}, hold="3s", **{"for": "4s"})
    assert published(sensor, [(0, 1), (1, 1), (5, 1), (10, 1)]) == []


def test_conditions_say_what_was_judged() -> None:
    (on,) = events(make_sensor("> 5", aggregate={"function": "avg", "window": "10m"}), [(0, 9)])
    assert (on.value, on.condition) == (9, "avg over 10m > 5")


def test_a_window_that_grows_without_end_switches_its_sensor_off_alone() -> None:
    plan = metric_plan(make_sensor("> 1e9", aggregate={"function": "count", "window": "31d"}), make_sensor("> 5"))
    series = Series()
    take_reading(plan.intervals, series, 0, 0.0)
    window = series.windows[0].readings  # type: ignore[union-attr]
    window.times[:], window.values[:] = range(MOST_READINGS), [0.0] * MOST_READINGS
    _, moved = take_reading(plan.intervals, series, MOST_READINGS, 9.0)
    assert list(plan.intervals.off) == [0]
    assert [move.place for move in moved] == [1]
    assert series.windows == {}


# --- flapping ---


def test_flapping_is_published_in_place_of_the_change_that_tipped_it() -> None:
    sensor = make_sensor("> 5", flapping={"enter": 20, "leave": 10, "history": 21})
    # Each change at the newest step weighs 1.2 of 20: four in a row are 23.4 %.
    assert published(sensor, at("x.x." + "x.x." + "." * 20)) == ["ON0", "OFF1", "ON2", "flapping@3", "OFF25"]


def test_after_flapping_the_state_is_as_it_is() -> None:
    sensor = make_sensor("> 5", flapping={"enter": 50, "leave": 25, "history": 5})
    found = events(sensor, [(time * 1000, value) for time, value in at("x.xxxxx")])
    assert [(event.time // 1000, event.state, event.previous) for event in found] == [
        (0, "triggered", "clear"), (1, "flapping", "triggered"), (5, "triggered", "flapping"),
    ]  # fmt: skip


def test_levels_flap_too() -> None:
    sensor = make_sensor(levels=SEVERITIES, flapping={"enter": 50, "leave": 25, "history": 5})
    assert published(sensor, timed(50, 90, 90, 5, 5)) == ["info@0", "flapping@1"]


# --- overrides ---


def test_the_first_override_that_matches_wins() -> None:
    sensor = make_sensor(
        "> 90",
        overrides=[
            {"systems": ["DB-1"], "trigger": "> 97"},
            {"systems": ["DB-*", "WEB-?"], "trigger": "> 95", "for": "1s"},
        ],
    )
    plan = metric_plan(sensor)
    readings = [(0, 96.0), (1000, 96.0), (2000, 98.0)]
    found = {
        system: [move.time for move in moves(plan.on(system), readings) if move.after.level == 0]
        for system in ("PC-1", "DB-1", "DB-2", "WEB-3", "WEB-33")
    }
    assert found == {"PC-1": [0], "DB-1": [2000], "DB-2": [1000], "WEB-3": [1000], "WEB-33": [0]}
    assert plan.on("DB-2") is plan.on("WEB-9")
