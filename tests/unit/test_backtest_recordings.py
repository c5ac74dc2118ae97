"""Real recordings through `tocsin backtest`; what is expected was computed independently of this code.

The data is found through TOCSIN_RECORDINGS; without it these tests are skipped, and say so.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from recordings import recordings
from trying import tocsin

DATA = recordings()
pytestmark = pytest.mark.skipif(DATA is None, reason="TOCSIN_RECORDINGS does not name the folder of recorded data")

NAB = ("--system", "{file}", "--metric", "m")
CPU = "nab/ec2_cpu_utilization_825cc2.csv"
CRASHES = [f"crash-rate/app2-{number:02}.csv" for number in range(1, 11)]
CRASH = ("--system", "{file}", "--metric", "crash", "--value-column", "Label", "--skip-if-empty", "Value")

Event = dict[str, Any]


def run(folder: Path, rules: str, files: list[str], *options: str) -> list[Event]:
    assert DATA is not None
    (folder / "rules.yaml").write_text(rules)
    done = tocsin("backtest", folder / "rules.yaml", "--readings", *(DATA / file for file in files), "--json", *options)
    assert done.exit_code == 0, done.output
    return [json.loads(line) for line in done.stdout.splitlines()]


def of(events: list[Event], state: str) -> list[str]:
    return [event["time"] for event in events if event["state"] == state]


@pytest.mark.parametrize(("file", "count"), [("nab/ambient_temperature_system_failure.csv", 7267), (CPU, 4032)])
def test_all_readings_of_a_file_are_judged(tmp_path: Path, file: str, count: int) -> None:
    assert DATA is not None
    (tmp_path / "rules.yaml").write_text('sensors: [{name: S, metric: m, trigger: "> 1000"}]')
    done = tocsin("backtest", tmp_path / "rules.yaml", "--readings", DATA / file, *NAB)
    assert done.exit_code == 0, done.output
    assert f"{count} readings, 0 of them late" in done.stderr


@pytest.mark.parametrize(("clear", "expected"), [("", 330), (', clear: "> 95"', 59)])
def test_a_processor_below_ninety_percent(tmp_path: Path, clear: str, expected: int) -> None:
    rules = f'sensors: [{{name: S, metric: m, trigger: "< 90"{clear}}}]'
    assert len(of(run(tmp_path, rules, [CPU], *NAB), "triggered")) == expected


def test_an_office_whose_thermometer_falls_silent(tmp_path: Path) -> None:
    rules = 'sensors: [{name: S, metric: m, trigger: "> 1000", no_data: {after: 2h, then: no-data}}]'
    events = run(tmp_path, rules, ["nab/ambient_temperature_system_failure.csv"], *NAB)
    assert of(events, "no-data") == [
        f"{time}:00:00.000Z"
        for time in (
            "2013-07-28T06", "2013-08-27T13", "2013-09-09T22", "2013-09-27T14", "2013-10-11T22",
            "2014-03-02T05", "2014-03-18T04", "2014-03-24T06", "2014-04-03T11",
        )
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("function", "trigger", "on", "off"),
    [
        ("avg", "< 90", 11, 11),
        ("max", "> 98.5", 2, 1),
        ("avg", "> -1", 1, 0),  # every window is judged
    ],
)
def test_hours_of_a_processor(tmp_path: Path, function: str, trigger: str, on: int, off: int) -> None:
    aggregate = f"{{function: {function}, tumbling: 1h}}"
    events = run(
        tmp_path, f'sensors: [{{name: S, metric: m, trigger: "{trigger}", aggregate: {aggregate}}}]', [CPU], *NAB
    )
    assert (len(of(events, "triggered")), len(of(events, "clear"))) == (on, off)
    if function == "max":
        assert of(events, "triggered") == ["2014-04-13T00:00:00.000Z", "2014-04-24T00:00:00.000Z"]
        assert of(events, "clear") == ["2014-04-13T01:00:00.000Z"]
    elif trigger == "< 90":
        assert [event["time"] for event in events[:2]] == ["2014-04-10T15:00:00.000Z", "2014-04-10T16:00:00.000Z"]


@pytest.mark.parametrize(
    ("function", "trigger", "held"), [("avg", "> -1", 336), ("avg", "< 90", 122), ("max", "> 98.5", 2)]
)
def test_hours_that_are_judged_and_hours_that_hold(tmp_path: Path, function: str, trigger: str, held: int) -> None:
    """`breaches` counts them: so many of the 336 hold, and not one more. A 337th has not ended."""
    for least, triggered in ((held, 1), (held + 1, 0)):
        rule = f'trigger: "{trigger}", breaches: {least} of {max(336, least)}'
        rules = f"sensors: [{{name: S, metric: m, {rule}, aggregate: {{function: {function}, tumbling: 1h}}}}]"
        events = run(tmp_path, rules, [CPU], *NAB)
        assert len(of(events, "triggered")) == triggered
        assert not of(events, "clear")


CRASHED = """
sensors: [{name: Crash, metric: crash, trigger: "== 1"}]
notifications: [{name: N, sensors: [Crash], threshold: 1, reporting_within: 1h, recipients: [x]}]
"""


@pytest.mark.parametrize(("time", "resolved"), [("00:59:59.999", 36), ("01:00:00", 37)])
def test_what_the_end_of_the_data_leaves_open_ends_at_its_horizon(tmp_path: Path, time: str, resolved: int) -> None:
    """With a reading of somebody else to go on to."""
    another = tmp_path / "another.csv"
    another.write_text(f"TimeStamp,Value,Label\n2018-06-25T{time}Z,0,0\n")
    events = run(tmp_path, CRASHED, [*CRASHES, str(another)], *CRASH)
    found = [event for event in events if event["kind"] == "notification"]
    assert (len(of(found, "activated")), len(of(found, "resolved"))) == (37, resolved)
    if resolved == 37:
        assert found[-1]["time"] == "2018-06-25T01:00:00.000Z"
        assert (found[-1]["matched"], found[-1]["reporting"]) == (0, 1)


def test_the_last_activation_of_the_applications_stays_open(tmp_path: Path) -> None:
    events = run(tmp_path, CRASHED, CRASHES, *CRASH)
    assert [event["state"] for event in events if event["kind"] == "notification"][-1] == "activated"
    assert max(event["time"] for event in events) <= "2018-06-25T00:00:00.000Z"


@pytest.mark.parametrize(
    ("threshold", "activated", "resolved", "first"),
    [
        ("1", 37, 36, None),
        ("3", 5, 5, [("2018-05-10T23", "activated"), ("2018-05-11T01", "resolved")]),
        (
            "50%",
            2,
            2,
            [
                ("2018-06-24T05", "activated"),
                ("2018-06-24T06", "resolved"),
                ("2018-06-24T07", "activated"),
                ("2018-06-24T10", "resolved"),
            ],
        ),
    ],
)
def test_ten_applications_that_crash(
    tmp_path: Path, threshold: str, activated: int, resolved: int, first: list[tuple[str, str]] | None
) -> None:
    rules = CRASHED.replace("threshold: 1", f"threshold: {threshold}")
    events = [event for event in run(tmp_path, rules, CRASHES, *CRASH) if event["kind"] == "notification"]
    assert (len(of(events, "activated")), len(of(events, "resolved"))) == (activated, resolved)
    if first is not None:
        shown = [(event["time"], event["state"]) for event in events[: len(first)]]
        assert shown == [(f"{hour}:00:00.000Z", state) for hour, state in first]
