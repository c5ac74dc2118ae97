"""`tocsin check`: mistakes and suspicious rules, with their places, without a broker."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from trying import HEADER, series, tocsin


@pytest.fixture(autouse=True)
def _no_broker(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("KAFKA_BOOTSTRAP_SERVERS", raising=False)
    monkeypatch.setenv("TOCSIN_STATE_DIR", str(tmp_path / "none"))


def check(folder: Path, text: str, *more: str | Path) -> tuple[int, list[str]]:
    """Exit code, and lines without the folder."""
    (folder / "a.yaml").write_text(text)
    done = tocsin("check", folder / "a.yaml", *more)
    return done.exit_code, done.stdout.replace(f"{folder}/", "").splitlines()


def test_good_rules_have_nothing_to_answer_for(tmp_path: Path) -> None:
    text = """
sensors: [{name: S, metric: cpu.percent, trigger: "> 90", clear: "< 80", for: 5m}]
notifications: [{name: N, sensors: [S], threshold: 25%, recipients: [R]}]
recipients: [{name: R, type: distribution-list, email: a@example.com}]
"""
    assert check(tmp_path, text) == (0, ["1 file: 0 errors, 0 warnings"])


def test_mistakes_end_with_exit_code_one(tmp_path: Path) -> None:
    text = """
sensors: [{name: S, metric: m, trigger: "> ninety"}]
notifications: [{name: N, sensors: [Z], threshold: 150%, recipients: [R]}]
recipients: [{name: R, type: distribution-list, email: nobody}]
"""
    code, lines = check(tmp_path, text)
    assert code == 1
    assert lines[0].startswith("a.yaml:2:41: error: trigger: '> ninety' is not a condition; write one of")
    assert (
        lines[1]
        == "a.yaml:3:37: error: sensors[0]: there is no sensor 'Z' in these files (Kafka was not asked); there is S"
    )
    assert lines[2].startswith("a.yaml:3:52: error: threshold: '150%' is not a threshold")
    assert lines[3].startswith("a.yaml:4:56: error: email: 'nobody' is not one email address")
    assert lines[4] == "1 file: 4 errors, 0 warnings"


def test_a_clear_that_can_never_hold(tmp_path: Path) -> None:
    """In any case a mistake; for a percentage suspicious."""
    code, lines = check(tmp_path, 'sensors: [{name: S, metric: m, trigger: "> 80", clear: "> 85"}]')
    assert code == 1
    assert lines[0].startswith("a.yaml:1:56: error: clear: '> 85' contradicts the trigger '> 80'")
    code, lines = check(tmp_path, 'sensors: [{name: S, metric: cpu.percent, trigger: "> 80", clear: "< 0"}]')
    assert code == 0
    assert "warning: sensor 'S': clear: < 0 can never hold while > 80 does not: the sensor never clears" in lines[0]


def test_levels_overrides_and_windows_are_looked_at_too(tmp_path: Path) -> None:
    (tmp_path / "readings.csv").write_text(f"{HEADER}\n{series([1, 2, 3], metric='cpu.percent')}")
    text = """
sensors:
  - name: S
    metric: cpu.percent
    levels:
      warn: {trigger: "> 80", for: 10s}
      crit: {trigger: "> 950"}
    no_data: {after: 30s, then: clear}
    overrides: [{systems: ["DB-*"], for: 5s}]
  - {name: T, metric: cpu.percent, trigger: "> 950", aggregate: {function: sum, window: 30s}}
  - {name: U, metric: cpu.percent, trigger: "> 90", for: 10s, hold: 1m}
"""
    code, lines = check(tmp_path, text, "--readings", tmp_path / "readings.csv")
    assert code == 0
    assert [line.split(": ", 2)[2].partition("; ")[0] for line in lines[:-1]] == [
        "sensor 'S': levels.warn.for: 10s is shorter than the usual 1m between readings of cpu.percent: "
        "two readings are needed, however short it is",
        "sensor 'S': levels.crit.trigger: 950 is no percentage, and cpu.percent looks like one: "
        "a percentage is never over 100",
        "sensor 'S': levels.crit.trigger: > 950 never holds for a percentage",
        "sensor 'S': no_data.after: 30s is shorter than the usual 1m between readings of cpu.percent: "
        "it strikes between two readings",
        "sensor 'S': overrides[0].systems[0]: 'DB-*' matches no known system in the readings",
        "sensor 'S': overrides[0].for: 5s is shorter than the usual 1m between readings of cpu.percent: "
        "two readings are needed, however short it is",
        "sensor 'T': aggregate.window: 30s is shorter than the usual 1m between readings of cpu.percent: "
        "it mostly holds one reading or none",
    ], lines


@pytest.mark.parametrize(
    ("metric", "trigger", "warnings"),
    [
        ("cpu.percent", "> 950", ["950 is no percentage", "> 950 never holds for a percentage"]),
        ("disk_pct", "> 100", ["> 100 never holds for a percentage"]),
        ("cpu.percent", ">= 0", [">= 0 always holds for a percentage"]),
        ("cpu.percent", "< -1", ["a percentage is never below 0", "< -1 never holds for a percentage"]),
        ("percentile.ms", "> 950", []),
        ("cpu", "> 950", []),
        ("cpu.percent", "== 100", []),
    ],
)
def test_percentages(tmp_path: Path, metric: str, trigger: str, warnings: list[str]) -> None:
    _, lines = check(tmp_path, f'sensors: [{{name: S, metric: {metric}, trigger: "{trigger}"}}]')
    assert len(lines) == 1 + len(warnings)
    for line, warning in zip(lines, warnings, strict=False):
        assert warning in line


def test_readings_tell_intervals_instances_metrics_and_systems(tmp_path: Path) -> None:
    (tmp_path / "readings.csv").write_text(
        f"{HEADER}\n{series([1, 2, 3])}2026-01-01T00:00:00Z,B,app.hang,0,msedge.exe\n"
    )
    text = """
sensors:
  - {name: S, metric: m, trigger: "> 5", for: 59s}
  - {name: T, metric: m, trigger: "> 5", for: 1m}
  - {name: U, metric: nn, trigger: "> 5"}
  - {name: V, metric: app.hang, trigger: "> 5"}
groups:
  - {name: G, systems: ["A", "b*", "C?"]}
"""
    code, lines = check(tmp_path, text, "--readings", tmp_path / "readings.csv")
    assert code == 0
    assert [line.partition("; ")[0] for line in lines] == [
        "a.yaml:3:47: warning: sensor 'S': for: 59s is shorter than the usual 1m between readings of m: "
        "two readings are needed, however short it is",
        "a.yaml:5:23: warning: sensor 'U': metric: no reading has the metric 'nn' in the readings",
        "a.yaml:6:23: warning: sensor 'V': metric: app.hang has instances: one that ends stays triggered while its "
        "system reports anything",
        "a.yaml:8:30: warning: group 'G': systems[1]: 'b*' matches no known system in the readings",
        "a.yaml:8:36: warning: group 'G': systems[2]: 'C?' matches no known system in the readings",
        "1 file: 0 errors, 5 warnings",
    ]
    assert check(tmp_path, text, "--readings", tmp_path / "readings.csv", "--strict")[0] == 1


def test_names_of_systems_from_a_file(tmp_path: Path) -> None:
    (tmp_path / "systems.txt").write_text("FIN-1\n\nPC-2 \n")
    text = 'groups: [{name: G, systems: ["FIN-*", "PC-2", "HR-*"]}]'
    _, lines = check(tmp_path, text, "--systems", tmp_path / "systems.txt")
    assert [line.partition("; ")[0] for line in lines] == [
        "a.yaml:1:47: warning: group 'G': systems[2]: 'HR-*' matches no known system",
        "1 file: 0 errors, 1 warning",
    ]


def test_secrets_need_not_be_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = """
recipients:
  - name: R
    type: system
    webhook:
      url: https://example.com/hook
      authentication: {type: signed-secret, secret: {env: NO_SUCH_SECRET}}
      headers: [{name: X-Key, value: {keep: true}, sensitive: true}]
"""
    assert check(tmp_path, text) == (
        0,
        [
            "a.yaml:7:53: warning: env: the environment variable NO_SUCH_SECRET is not set here; "
            "`tocsin apply` will need it",
            "1 file: 0 errors, 1 warning",
        ],
    )
    monkeypatch.setenv("NO_SUCH_SECRET", "")
    code, lines = check(tmp_path, text)
    assert code == 1, lines
    assert "error: webhook.authentication.secret" in lines[0]


def test_json(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text('sensors: [{name: S, metric: cpu.percent, trigger: "> 100"}, {name: T}]')
    done = tocsin("check", tmp_path / "a.yaml", "-o", "json")
    assert done.exit_code == 1
    found = json.loads(done.stdout)
    assert found["files"] == 1
    assert [(one["line"], one["column"], one["field"], one["problem"]) for one in found["errors"]] == [
        (1, 61, "metric", "is required"),
        (1, 61, "trigger", "is required"),
    ]
    assert found["warnings"] == [
        {
            "file": str(tmp_path / "a.yaml"),
            "line": 1,
            "column": 51,
            "field": "sensor 'S': trigger",
            "problem": "> 100 never holds for a percentage",
            "hint": None,
        }
    ]


def test_a_level_that_a_higher_one_always_covers(tmp_path: Path) -> None:
    text = "sensors: [{name: S, metric: m, levels: {crit: {trigger: '> 40'}, warn: {trigger: '> 30'}}}]"
    code, lines = check(tmp_path, text)
    assert code == 0
    assert "warning: sensor 'S': levels.crit: crit can never be taken: whenever > 40 holds" in lines[0]
    sooner = text.replace("{trigger: '> 30'}", "{trigger: '> 30', for: 5m}")
    assert check(tmp_path, sooner) == (0, ["1 file: 0 errors, 0 warnings"])  # crit is taken while warn waits


@pytest.mark.parametrize("rule", ["", ", aggregate: {function: avg, count: 3}"])
def test_lateness_without_a_window_that_takes_late_readings(tmp_path: Path, rule: str) -> None:
    code, lines = check(tmp_path, f"sensors: [{{name: S, metric: m, trigger: '> 1', lateness: 1m{rule}}}]")
    assert code == 0
    assert "warning: sensor 'S': lateness: nothing looks at it" in lines[0]


def test_numbers_that_are_too_large_are_told_their_bounds(tmp_path: Path) -> None:
    text = "sensors: [{name: S, metric: m, trigger: '> 1', aggregate: {function: avg, count: 1000000000}}]"
    assert "must be a number of readings from 1 to 10000" in check(tmp_path, text)[1][0]


def test_functions_by_the_names_other_systems_give_them(tmp_path: Path) -> None:
    text = "sensors: [{name: S, metric: m, trigger: '> 1', aggregate: {function: median, window: 5m}}]"
    assert check(tmp_path, text)[1][0].endswith("did you mean 'p50'?")
