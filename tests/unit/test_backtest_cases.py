"""The cases every evaluator of thresholds has to get right, through `tocsin backtest`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from trying import BEGIN, backtest, notifications, sensors, series, tocsin

ON, OFF = "triggered", "clear"


def one(rule: str) -> str:
    return f"sensors: [{{name: S, metric: m, {rule}}}]\n"


def test_a_value_that_goes_back_and_forth_over_the_threshold(tmp_path: Path) -> None:
    values = [97.1, 92.6, 95.6, 93.1, 92.6, 95.8, 92.7, 96.0, 93.4, 95.3, 92.4, 95.1]
    found = sensors(backtest(tmp_path, one('trigger: "< 93"'), series(values, every=1, start=1)))
    assert found == [(2, ON), (3, OFF), (5, ON), (6, OFF), (7, ON), (8, OFF), (11, ON), (12, OFF)]


def test_hysteresis(tmp_path: Path) -> None:
    rules = one('trigger: "> 85", clear: "<= 75"')
    found = sensors(backtest(tmp_path, rules, series([80, 86, 80, 76, 75, 74, 90], every=1)))
    assert found == [(1, ON), (4, OFF), (6, ON)]


def test_a_trigger_that_must_hold_for_a_while(tmp_path: Path) -> None:
    rules = one('trigger: "> 50", for: 2m')
    found = sensors(backtest(tmp_path, rules, series([60, 60, 40, 60, 60, 60, 40])))
    assert found == [(300, ON), (360, OFF)]


def test_a_gap_does_not_break_what_is_pending(tmp_path: Path) -> None:
    found = sensors(backtest(tmp_path, one('trigger: "> 50", for: 5m'), series([60, *[None] * 6, 60])))
    assert found == [(420, ON)]


def test_the_denominator_alone_resolves(tmp_path: Path) -> None:
    """8 report, 2 match: 25 % is reached; a ninth begins to report: 22.2 % is not."""
    rules = one('trigger: "> 50"') + (
        "notifications: [{name: N, sensors: [S], threshold: 25%, recipients: [x], reporting_within: 1h}]\n"
    )
    rows = "".join(series([60 if number < 2 else 10], system=f"PC-{number}") for number in range(8))
    events = backtest(tmp_path, rules, rows + series([10], system="PC-8", start=60))
    assert notifications(events) == [(0, "activated", 2, 8), (60, "resolved", 2, 9)]
    assert events[-2]["systems"] == ["PC-0", "PC-1"]


def test_a_silent_system_leaves_both_counts_at_its_horizon(tmp_path: Path) -> None:
    rules = one('trigger: "> 50"') + "notifications: [{name: N, sensors: [S], threshold: 1, recipients: [x]}]\n"
    rows = series([60]) + series([10] * 31, system="B")
    assert notifications(backtest(tmp_path, rules, rows)) == [(0, "activated", 1, 2), (900, "resolved", 0, 1)]


def test_younger_than_is_strict_but_a_reading_at_the_very_instant_comes_first(tmp_path: Path) -> None:
    rules = one('trigger: "> 50"') + "notifications: [{name: N, sensors: [S], threshold: 1, recipients: [x]}]\n"
    assert notifications(backtest(tmp_path, rules, series([60, 60], every=900))) == [(0, "activated", 1, 1)]
    # The run ends with its last instant, and the horizon is due at it.
    rows = series([60]) + series([10], system="B", start=900)
    assert notifications(backtest(tmp_path, rules, rows)) == [(0, "activated", 1, 1), (900, "resolved", 0, 1)]
    rows = series([60]) + series([10], system="B", start=899)
    assert notifications(backtest(tmp_path, rules, rows)) == [(0, "activated", 1, 1)]


def test_all_of_one_instant_counts_together(tmp_path: Path) -> None:
    """Of two values at one time both are judged, and only the last one counts for the notification."""
    rules = one('trigger: "> 50"') + "notifications: [{name: N, sensors: [S], threshold: 1, recipients: [x]}]\n"
    events = backtest(tmp_path, rules, series([60]) + series([10]) + series([60], start=60))
    assert sensors(events) == [(0, ON), (0, OFF), (60, ON)]
    assert notifications(events) == [(60, "activated", 1, 1)]


def test_all_sensors_at_the_same_time_on_the_same_system(tmp_path: Path) -> None:
    rules = (
        'sensors: [{name: S, metric: m, trigger: "> 50"}, {name: T, metric: n, trigger: "> 50"}]\n'
        "notifications: [{name: N, sensors: [S, T], threshold: 1, recipients: [x]}]\n"
    )
    rows = series([60]) + series([60], system="B", metric="n") + series([60], metric="n", start=60)
    assert notifications(backtest(tmp_path, rules, rows)) == [(60, "activated", 1, 2)]


def test_an_instance_by_name_and_any_instance(tmp_path: Path) -> None:
    rules = one('trigger: "> 50"') + (
        "notifications:\n"
        "  - {name: any, sensors: [S], threshold: 1, recipients: [x]}\n"
        "  - {name: named, sensors: [{sensor: S, instance: c}], threshold: 1, recipients: [x]}\n"
    )
    rows = "".join(
        f"{time},A,m,{value},{instance}\n"
        for time, value, instance in ((BEGIN, 60, "b"), (BEGIN + 1000, 60, "c"), (BEGIN + 2000, 10, "b"))
    )
    events = backtest(tmp_path, rules, rows)
    assert notifications(events, "any") == [(0, "activated", 1, 1)]
    assert notifications(events, "named") == [(1, "activated", 1, 1)]
    assert [(event["instance"], event["state"]) for event in events if event["kind"] == "sensor"] == [
        ("b", ON),
        ("c", ON),
        ("b", OFF),
    ]


def test_objects_have_the_documented_fields_in_order(tmp_path: Path) -> None:
    rules = one('trigger: "> 50"') + "notifications: [{name: N, sensors: [S], threshold: 1, recipients: [x]}]\n"
    first, second = backtest(tmp_path, rules, series([60.5]))
    assert first == {
        "time": "2026-01-01T00:00:00.000Z", "kind": "sensor", "sensor": "S", "system": "A", "instance": None,
        "state": "triggered", "level": None, "value": 60.5,
    }  # fmt: skip
    assert list(first) == ["time", "kind", "sensor", "system", "instance", "state", "level", "value"]
    assert list(second) == [
        "time", "kind", "notification", "state", "activation", "matched", "reporting", "systems",
    ]  # fmt: skip
    assert second["systems"] == ["A"]
    assert backtest(tmp_path, rules, series([60.5]))[1] == second, "the same run has the same ids"


def test_files_are_merged_by_time_and_equal_times_keep_the_order_of_the_files(tmp_path: Path) -> None:
    rules = tmp_path / "rules.yaml"
    rules.write_text(one('trigger: "> 50"'))
    header = "time,system,metric,value,instance\n"
    (tmp_path / "a.csv").write_text(header + series([None, 10, 60]))
    (tmp_path / "b.csv").write_text(header + series([None, 60]) + series([60]))
    # At minute 1 the values are 10 and 60, in the order of the files.
    for files, expected in (("ab", [(0, ON), (60, OFF), (60, ON)]), ("ba", [(0, ON), (60, OFF), (120, ON)])):
        done = tocsin("backtest", rules, "--readings", *(tmp_path / f"{name}.csv" for name in files), "--json")
        assert sensors(json.loads(line) for line in done.stdout.splitlines()) == expected


@pytest.mark.parametrize(("order", "expected"), [("", [(0, ON), (60, OFF), (120, ON)]), ("--as-it-came", [(120, ON)])])
def test_in_order_of_time_or_as_it_came(tmp_path: Path, order: str, expected: list[tuple[float, str]]) -> None:
    rows = series([60], start=120) + series([10], start=60) + series([60], start=0)
    assert sensors(backtest(tmp_path, one('trigger: "> 50"'), rows, *[order] * bool(order))) == expected
