"""The nine cases of the evaluation's definition through `tocsin backtest`, with every value that is judged.

Levels that lie between the values judged make each of them a change, published with its value. The same cases stand as
YAML in `tests/rules/evaluation.test.yaml`, run by `tocsin test`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from trying import backtest, seconds, series

ON, OFF = "triggered", "clear"
MEAN_OF_AN_HOUR = "aggregate: {function: avg, window: 1h}"
SUM_OF_20_MINUTES = "aggregate: {function: sum, window: 20m}"


def one(rule: str) -> str:
    return f"sensors: [{{name: S, metric: m, {rule}}}]\n"


def ladder(*steps: float) -> str:
    """Levels, each from a step on: a value between two others has a level of its own."""
    levels = ", ".join(f'from {step}: {{trigger: ">= {step}"}}' for step in steps)
    return f"levels: {{{levels}}}"


def changes(events: list[dict[str, Any]]) -> list[tuple[float, str, float]]:
    """(seconds, state or level, the value judged), of one system."""
    return [(seconds(event), event["level"] or event["state"], event["value"]) for event in events]


def values(events: list[dict[str, Any]]) -> list[tuple[float, float]]:
    return [(at, value) for at, _, value in changes(events)]


def test_case_1_back_and_forth_over_the_threshold(tmp_path: Path) -> None:
    readings = [97.1, 92.6, 95.6, 93.1, 92.6, 95.8, 92.7, 96.0, 93.4, 95.3, 92.4, 95.1]
    assert changes(backtest(tmp_path, one('trigger: "< 93"'), series(readings, every=1, start=1))) == [
        (2, ON, 92.6), (3, OFF, 95.6), (5, ON, 92.6), (6, OFF, 95.8), (7, ON, 92.7), (8, OFF, 96.0), (11, ON, 92.4),
        (12, OFF, 95.1),
    ]  # fmt: skip


def test_case_2_levels_each_with_its_own_clear(tmp_path: Path) -> None:
    levels = ", ".join(
        f'{name}: {{trigger: "> {above}", clear: "< {below}"}}'
        for name, above, below in (("info", 40, 10), ("warn", 60, 20), ("crit", 80, 30))
    )
    readings = [45, 40, 30, 9, 45, 61, 30, 19, 45, 61, 81, 29]
    assert changes(backtest(tmp_path, one(f"levels: {{{levels}}}"), series(readings, every=1))) == [
        (0, "info", 45), (3, OFF, 9), (4, "info", 45), (5, "warn", 61), (7, OFF, 19), (8, "info", 45),
        (9, "warn", 61), (10, "crit", 81), (11, OFF, 29),
    ]  # fmt: skip


def test_case_3_levels_without_a_clear(tmp_path: Path) -> None:
    rules = one('levels: {warn: {trigger: "> 7"}, crit: {trigger: "> 8"}}')
    readings = [9, 9, 8, 8, 6, 8, 8, 8, 3, 5, 7, 7]
    assert changes(backtest(tmp_path, rules, series(readings, every=1))) == [
        (0, "crit", 9), (2, "warn", 8), (4, OFF, 6), (5, "warn", 8), (8, OFF, 3),
    ]  # fmt: skip


def test_case_4_pending_first_and_kept_afterwards(tmp_path: Path) -> None:
    rules = one('trigger: "> 50", for: 1m, keep: 1m')
    assert changes(backtest(tmp_path, rules, series([75, 85, 70, 70, 10, 10]))) == [(60, ON, 85), (300, OFF, 10)]
    # At 240 the clear has begun to hold, and the run ends before it has held for a minute.
    assert changes(backtest(tmp_path, rules, series([75, 85, 70, 70, 10]))) == [(60, ON, 85)]
    # The timer is due at 300, whether or not a reading is there.
    late = series([75, 85, 70, 70, 10]) + series([10], start=301)
    assert changes(backtest(tmp_path, rules, late)) == [(60, ON, 85), (300, OFF, 10)]


def test_case_5_a_clear_of_its_own(tmp_path: Path) -> None:
    rules = one('trigger: "> 85", clear: "<= 75"')
    found = changes(backtest(tmp_path, rules, series([80, 86, 80, 76, 75, 74, 90], every=1)))
    assert found == [(1, ON, 86), (4, OFF, 75), (6, ON, 90)]


def test_case_6_a_sliding_mean_over_an_hour_both_ends_in(tmp_path: Path) -> None:
    rows = "3600000,A,m,30,\n4800000,A,m,29,\n4800001,A,m,28,\n7200000,A,m,27,\n7200001,A,m,26,\n"
    rules = one(f"{ladder(27, 28, 28.75, 29.25, 29.75)}, {MEAN_OF_AN_HOUR}")
    found = backtest(tmp_path, rules, rows)
    assert [(event["time"], event["value"]) for event in found] == [
        ("1970-01-01T01:00:00.000Z", 30.0), ("1970-01-01T01:20:00.000Z", 29.5), ("1970-01-01T01:20:00.001Z", 29.0),
        ("1970-01-01T02:00:00.000Z", 28.5), ("1970-01-01T02:00:00.001Z", 27.5),
    ]  # fmt: skip


def test_case_7_the_mean_of_the_last_three(tmp_path: Path) -> None:
    rules = one(f"{ladder(0, 90, 110)}, aggregate: {{function: avg, count: 3}}")
    found = values(backtest(tmp_path, rules, series([100, 60, 200, 40, 120, 80], every=1)))
    assert found == [(2, 120.0), (3, 100.0), (4, 120.0), (5, 80.0)]


def test_case_8_three_of_three(tmp_path: Path) -> None:
    rules = one('trigger: "== 1", breaches: 3 of 3')
    readings = [0, 0, 1, 1, 1, 0, *[0] * 5, 0, 1, 0]
    assert changes(backtest(tmp_path, rules, series(readings, every=1))) == [(4, ON, 1), (5, OFF, 0)]


def test_case_9_a_sum_over_twenty_minutes_each_system_by_itself(tmp_path: Path) -> None:
    rows = series([22]) + series([19], system="B", start=1) + series([2], system="B", start=2)
    events = backtest(tmp_path, one(f'trigger: "> 20", {SUM_OF_20_MINUTES}'), rows)
    assert [(seconds(event), event["system"], event["state"], event["value"]) for event in events] == [
        (0, "A", ON, 22.0),
        (2, "B", ON, 21.0),
    ]
