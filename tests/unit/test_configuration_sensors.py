"""Sensors' options in YAML: what is taken, and what is refused with which words."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

from sensing import make_sensor
from tocsin.console.checks import EgressPolicy
from tocsin.console.findings import Findings
from tocsin.console.plan import Planner
from tocsin.console.state import ConflictError, Put, State, compose
from tocsin.console.yaml_fields import Reader
from tocsin.console.yaml_files import read_files
from tocsin.console.yaml_recipients import Rules
from tocsin.shared.configuration.records import Notification, Sensor, SensorUse, ThresholdSpec
from tocsin.shared.configuration.sensor_options import MAX_LEVELS, Breaches, FlappingSpec
from tocsin.shared.configuration.snapshot import sensor_revision
from tocsin.shared.secrets import KeyRing
from tocsin.shared.topics import DEFAULT_RETRY_TIERS

RULES = Rules(EgressPolicy(), DEFAULT_RETRY_TIERS)


def applied(folder: Path, text: str) -> tuple[list[Sensor], list[str]]:
    """The sensors, and what is wrong."""
    file = folder / "a.yaml"
    file.write_text(text, encoding="utf-8")
    findings = Findings()
    drafts = read_files([str(file)], Reader(findings, {}), RULES)
    plan = Planner(State(), findings, lambda: KeyRing({"k": b"k" * 32}), lambda: "id", now_ms=0, prune=False).plan(
        drafts
    )
    said = [str(finding).removeprefix(f"{folder}/") for finding in findings.all]
    return [step.after for step in plan.steps if isinstance(step.after, Sensor)], said


def test_every_option_is_read(tmp_path: Path) -> None:
    text = """
sensors:
  - name: CPU busy
    metric: cpu.percent
    levels:
      warn: {trigger: "> 80", clear: "< 70", for: 5m, keep: 0s, breaches: 3 of 5}
      crit: {trigger: "> 95"}
    for: 1m
    keep: 2m
    breaches: 2 of 2
    aggregate: {function: p95, window: 10m}
    no_data: {after: 15m, then: no-data}
    hold: 10m
    lateness: 30s
    flapping: {enter: 50%, leave: 12.5}
    overrides:
      - {systems: ["DB-*"], aggregate: {function: avg, tumbling: 1h}, for: 0s}
"""
    (sensor,), findings = applied(tmp_path, text)
    assert findings == []
    warn, crit = sensor.levels
    assert (warn.name, str(warn.clear), warn.for_, warn.keep, warn.breaches) == (
        "warn",
        "< 70",
        300_000,
        0,
        Breaches(3, 5),
    )
    assert (crit.name, crit.clear, crit.for_, crit.keep, crit.breaches) == ("crit", None, None, None, None)
    assert (sensor.for_, sensor.keep, sensor.hold, sensor.lateness) == (60_000, 120_000, 600_000, 30_000)
    assert sensor.flapping == FlappingSpec(enter=Decimal(50), leave=Decimal("12.5"), history=21)
    (override,) = sensor.overrides
    assert set(override.given()) == {"aggregate", "for_"}
    assert sensor.overridden(override).for_ == 0
    assert sensor.overridden(override).levels == sensor.levels


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ("trigger: '=> 5'", "trigger: '=> 5' is not a condition"),
        ("trigger: '> nan'", "trigger: '> nan' is not a condition"),
        ("trigger: '> 1e999'", "a number too large"),
        ("for: 5m", "trigger: is required; or give levels"),
        ("trigger: '> 90', clear: '> 95'", "a.yaml:1:56: clear: '> 95' contradicts the trigger '> 90'"),
        ("trigger: '> 90', clear: '== 91'", "clear: '== 91' contradicts"),
        ("trigger: 'outside 1 and 2', clear: '> 2'", "clear: '> 2' contradicts"),
        ("trigger: '> 1', levels: {a: {trigger: '> 1'}}", "trigger: levels have triggers of their own"),
        ("clear: '< 1', levels: {a: {trigger: '> 1'}}", "clear: levels have clear conditions of their own"),
        ("levels: {a: {clear: '< 1'}}", "levels.a.trigger: is required"),
        ("levels: {a: {trigger: '> 1', clear: '> 2'}}", "a.yaml:1:68: levels.a.clear: '> 2' contradicts"),
        ("levels: {a: {trigger: '> 1', foe: 5m}}", "levels.a.foe: a level has no such field; did you mean 'for'?"),
        ("levels: [a]", "levels: must be names with their rules"),
        (f"levels: {{{', '.join(f'l{n}: {{}}' for n in range(1000))}}}", f"has 1000 entries, at most {MAX_LEVELS}"),
        ("trigger: '> 1', breaches: 6 of 5", "breaches: '6 of 5' must have a first number from 1 up to the second"),
        ("trigger: '> 1', breaches: 3/5", "breaches: '3/5' must be two numbers"),
        ("trigger: '> 1', breaches: 1 of 99999", "looks back too far: at most 1000"),
        ("trigger: '> 1', keep: 99999d", "keep: must be at most 3660d"),
        ("trigger: '> 1', hold: soon", "hold: 'soon' is not a duration"),
        ("trigger: '> 1', aggregate: {function: mean, window: 1m}", "aggregate.function: 'mean' is not one of avg"),
        ("trigger: '> 1', aggregate: {window: 1m}", "aggregate.function: is required"),
        ("trigger: '> 1', aggregate: {function: avg}", "aggregate: has no window; give exactly one of"),
        ("trigger: '> 1', aggregate: {function: avg, window: 1m, count: 3}", "aggregate: has window and count"),
        ("trigger: '> 1', aggregate: {function: avg, window: 0s}", "aggregate.window: must be longer than 0"),
        ("trigger: '> 1', aggregate: {function: avg, tumbling: 32d}", "aggregate.tumbling: must be at most 31d"),
        (
            "trigger: '> 1', aggregate: {function: avg, count: 0}",
            "aggregate.count: must be a number of readings",
        ),
        ("trigger: '> 1', aggregate: {function: avg, count: 1000000}", "from 1 to 10000"),
        ("trigger: '> 1', no_data: {then: clear}", "no_data.after: is required"),
        ("trigger: '> 1', no_data: {after: 0s}", "no_data.after: must be longer than 0"),
        ("trigger: '> 1', no_data: {after: 5m, then: resolve}", "no_data.then: 'resolve' is not one of"),
        ("trigger: '> 1', flapping: {enter: 100}", "flapping.enter: must be a percentage above 0 and below 100"),
        ("trigger: '> 1', flapping: {leave: 60}", "flapping.leave: must be a percentage above 0 and not above enter"),
        ("trigger: '> 1', flapping: {history: 2}", "flapping.history: must be a number of judgements from 3"),
        ("trigger: '> 1', overrides: [{systems: [], for: 1m}]", "overrides[0].systems: must not be empty"),
        ("trigger: '> 1', overrides: [{systems: [a]}]", "overrides[0]: overrides nothing"),
        ("trigger: '> 1', overrides: [{systems: [a], clear: '> 2'}]", "overrides[0].clear: '> 2' contradicts"),
        ("trigger: '> 1', overrides: [{systems: ['(a+)+$'], for: 1m}]", "looks like a regular expression"),
        ("trigger: '> 1', overrides: [{systems: ['" + "*a" * 30 + "'], for: 1m}]", "has 30 stars, at most 16"),
        (
            "levels: {a: {trigger: '> 1'}}, overrides: [{systems: [a], levels: {b: {trigger: '> 1'}}}]",
            "overrides[0].levels: must have the sensor's levels in their order; they are a",
        ),
    ],
)
def test_a_bad_rule_is_refused(options: str, expected: str, tmp_path: Path) -> None:
    _, findings = applied(tmp_path, f"sensors: [{{name: A, metric: m, {options}}}]")
    assert len(findings) == 1
    assert expected in findings[0]


def test_a_level_that_a_sensor_does_not_have_is_refused(tmp_path: Path) -> None:
    text = """
sensors: [{name: A, metric: m, levels: {warn: {trigger: "> 1"}}}, {name: B, metric: m, trigger: "> 1"}]
recipients: [{name: R, type: distribution-list, email: a@example.com}]
notifications:
  - {name: N, sensors: [{sensor: A, level: wran}, {sensor: B, level: warn}], threshold: 1, recipients: [R]}
"""
    _, findings = applied(tmp_path, text)
    assert [finding.partition(" ")[2] for finding in findings] == [
        "sensors[0].level: sensor 'A' has no level 'wran'; did you mean 'warn'?",
        "sensors[1].level: sensor 'B' has no level 'warn'; it has no levels: leave it out",
    ]


def test_no_door_lets_a_bad_rule_in() -> None:
    sensor = make_sensor("> 1", clear="> 2")
    with pytest.raises(ConflictError, match="clear: '> 2' contradicts the trigger '> 1'"):
        compose(State(), [Put(sensor)], 1, 0)
    levels = make_sensor(levels={"warn": {"trigger": "> 1"}})
    notification = Notification(
        id="n",
        name="N",
        sensors=(SensorUse(sensor_id="s", level="crit"),),
        threshold=ThresholdSpec(value=Decimal(1), is_percent=False),
        recipient_ids=(),
    )
    with pytest.raises(ConflictError, match="level 'crit' is used by notification 'N'"):
        compose(State(), [Put(levels), Put(notification)], 1, 0)


def test_a_sensor_without_the_later_options_keeps_its_revision() -> None:
    # Or every sensor of an older version would start over. The hash is what that version wrote.
    assert sensor_revision(make_sensor("> 90", clear="< 80", **{"for": "5m"})) == "11b1dc3d6d00aa4a"
    assert sensor_revision(make_sensor("> 90", keep="1m")) != sensor_revision(make_sensor("> 90"))
    assert sensor_revision(make_sensor("> 90", description="x")) == sensor_revision(make_sensor("> 90"))
