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


@pytest.mark.parametrize(("clear", "expected"), [("", 330), (', clear: "> 95"', 59)])
def test_a_processor_below_ninety_percent(tmp_path: Path, clear: str, expected: int) -> None:
    rules = f'sensors: [{{name: S, metric: m, trigger: "< 90"{clear}}}]'
    assert len(of(run(tmp_path, rules, [CPU], *NAB), "triggered")) == expected


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
    rules = (
        'sensors: [{name: Crash, metric: crash, trigger: "== 1"}]\n'
        f"notifications: [{{name: N, sensors: [Crash], threshold: {threshold}, reporting_within: 1h, recipients: [x]}}]"
    )
    events = [event for event in run(tmp_path, rules, CRASHES, *CRASH) if event["kind"] == "notification"]
    assert (len(of(events, "activated")), len(of(events, "resolved"))) == (activated, resolved)
    if first is not None:
        shown = [(event["time"], event["state"]) for event in events[: len(first)]]
        assert shown == [(f"{hour}:00:00.000Z", state) for hour, state in first]
