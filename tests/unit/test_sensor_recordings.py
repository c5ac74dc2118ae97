"""Recorded series against figures that were computed independently. Skipped unless TOCSIN_RECORDINGS names them."""

from __future__ import annotations

import csv
from datetime import UTC, datetime

import pytest

from recordings import recordings
from sensing import Reading, events, make_sensor
from tocsin.shared.configuration.records import Sensor

FOLDER = recordings()
pytestmark = pytest.mark.skipif(FOLDER is None, reason="TOCSIN_RECORDINGS does not name the folder of recorded data")


def series(name: str) -> list[Reading]:
    assert FOLDER is not None
    with (FOLDER / "nab" / name).open(newline="") as file:
        rows = [(_time(row["timestamp"]), float(row["value"])) for row in csv.DictReader(file)]
    return sorted(rows, key=lambda row: row[0])


def _time(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000)


def published(sensor: Sensor, name: str) -> list[str]:
    found = []
    for event in events(sensor, series(name)):
        at = datetime.fromtimestamp(event.time / 1000, UTC)
        found.append(f"{event.state} {at:%m-%d %H:%M}")
    return found


CPU = "ec2_cpu_utilization_825cc2.csv"


def test_nine_silences_of_two_hours() -> None:
    sensor = make_sensor("> 1e9", no_data={"after": "2h", "then": "no-data"})
    found = [one for one in published(sensor, "ambient_temperature_system_failure.csv") if one.startswith("no-data")]
    assert [one.removeprefix("no-data ") for one in found] == [
        "07-28 06:00", "08-27 13:00", "09-09 22:00", "09-27 14:00", "10-11 22:00", "03-02 05:00", "03-18 04:00",
        "03-24 06:00", "04-03 11:00",
    ]  # fmt: skip


@pytest.mark.parametrize(("clear", "times"), [(None, 330), ("> 95", 59)])
def test_hysteresis_calms_a_nervous_series(clear: str | None, times: int) -> None:
    found = published(make_sensor("< 90", clear=clear), CPU)
    assert sum(one.startswith("triggered") for one in found) == times


def test_hours_with_a_low_mean() -> None:
    found = published(make_sensor("< 90", aggregate={"function": "avg", "tumbling": "1h"}), CPU)
    assert found[:2] == ["triggered 04-10 15:00", "clear 04-10 16:00"]
    assert [sum(one.startswith(state) for one in found) for state in ("triggered", "clear")] == [11, 11]


def test_hours_with_a_high_peak() -> None:
    found = published(make_sensor("> 98.5", aggregate={"function": "max", "tumbling": "1h"}), CPU)
    assert found == ["triggered 04-13 00:00", "clear 04-13 01:00", "triggered 04-24 00:00"]
