"""`tocsin backtest --from-topic` and `tocsin check` before a real broker."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from support import produce, put_records, settings_for, with_topics
from tocsin.console.trial.topic import BATCH, Portion, read_topic
from tocsin.deploy.stack import Stack
from tocsin.evaluator.detector.columns import Known
from tocsin.evaluator.detector.names import Names
from tocsin.evaluator.detector.settings import DetectorSettings
from tocsin.shared import kafka
from tocsin.shared.clock import SystemClock
from tocsin.shared.configuration.condition import parse_condition
from tocsin.shared.configuration.records import Recipient, Sensor
from tocsin.shared.partitioning import partition_for
from tocsin.shared.settings import CommonSettings
from tocsin.shared.topics import SENSOR_READINGS

pytestmark = pytest.mark.kafka

RULES = """
sensors: [{name: S, metric: m, trigger: "> 50"}]
notifications: [{name: N, sensors: [S], threshold: 2, recipients: [Ops]}]
"""


class Place:
    """Topics of one's own, with readings in them."""

    def __init__(self, stack: Stack, folder: Path) -> None:
        self.settings: CommonSettings = with_topics(settings_for(stack.bootstrap_servers, folder))
        self.folder = folder
        self.now = SystemClock().now_ms()
        (folder / "rules.yaml").write_text(RULES)

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        environment = {
            **os.environ,
            "KAFKA_BOOTSTRAP_SERVERS": self.settings.kafka.bootstrap_servers,
            "TOCSIN_STATE_DIR": str(self.folder),
            "TOCSIN_TOPIC_PREFIX": self.settings.topic_prefix,
        }
        command = [sys.executable, "-m", "tocsin.console.cli", *arguments]
        return subprocess.run(
            command, cwd=self.folder, env=environment, capture_output=True, text=True, timeout=120, check=False
        )

    def send(self, *readings: tuple[str, int, float], **more: Any) -> None:
        """System, seconds before now, value."""
        values = [
            {"system": system, "metric": "m", "value": value, "time": self.now - ago * 1000, **more}
            for system, ago, value in readings
        ]
        producer = kafka.producer(self.settings.kafka)
        messages = [(str(one["system"]).encode(), json.dumps(one).encode()) for one in values]
        produce(producer, self.settings.topic(SENSOR_READINGS), messages)


@pytest.fixture
def place(stack: Stack, tmp_path: Path) -> Place:
    return Place(stack, tmp_path)


def test_readings_in_kafka_are_judged_in_the_order_of_their_arrival(place: Place) -> None:
    place.send(("A", 300, 60), ("B", 240, 60))
    place.send(("A", 360, 10))  # late: changes nothing
    place.send(("B", 60, 10))
    producer = kafka.producer(place.settings.kafka)
    produce(producer, place.settings.topic(SENSOR_READINGS), [(b"A", b"no reading"), (None, b"{}")])

    done = place.run("backtest", "rules.yaml", "--from-topic", "--json")
    assert done.returncode == 0, done.stderr
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert [(one["kind"], one["state"], one.get("system")) for one in events] == [
        ("sensor", "triggered", "A"),
        ("sensor", "triggered", "B"),
        ("notification", "activated", None),
        ("sensor", "clear", "B"),
        ("notification", "resolved", None),
    ]
    assert "2 messages held something that is no reading" in done.stderr

    later = place.run("backtest", "rules.yaml", "--from-topic", "--since", "2100-01-01T00:00:00Z")
    assert later.returncode == 0, later.stderr
    assert later.stdout.strip() == "There was no reading."

    # Without files, the rules in Kafka are tried.
    nothing = place.run("backtest", "--from-topic", "--json")
    assert nothing.returncode == 1
    assert "there is no sensor in Kafka yet" in nothing.stderr
    put_records(place.settings, Sensor(id="s", name="Live", metric="m", trigger=parse_condition("> 50")))
    live = place.run("backtest", "--from-topic", "--json", "--since", "1h")
    assert [json.loads(line)["sensor"] for line in live.stdout.splitlines()] == ["Live"] * 3


def test_a_run_whose_time_is_up_at_once_still_has_read_of_every_partition(stack: Stack, tmp_path: Path) -> None:
    settings = with_topics(settings_for(stack.bootstrap_servers, tmp_path, DetectorSettings, partitions_readings=4))
    count = 4 * BATCH
    producer = kafka.producer(settings.kafka)
    for _ in range(8):  # as they come in life: all partitions at the same time
        readings = (
            {"system": f"S{number % 500}", "metric": "m", "value": number % 100, "time": SystemClock().now_ms()}
            for number in range(count // 8)
        )
        messages = [(str(one["system"]).encode(), json.dumps(one).encode()) for one in readings]
        produce(producer, settings.topic(SENSOR_READINGS), messages)

    known = Known(Names(), Names(), Names())
    # A busy machine: the time is up when the first batch has been read. It came from one partition alone, and what the
    # others had from that time on was not there to be judged, so nothing was.
    found = read_topic(settings, 0, known, portion=Portion(stopping=lambda: True))
    recording = found.recording()
    assert found.until is not None
    assert 0 < len(recording) < count
    partitions = {partition_for(known.systems.names[number].encode(), 4) for number in set(recording.rows.system)}
    assert partitions == {0, 1, 2, 3}

    everything = read_topic(settings, 0, Known(Names(), Names(), Names()), portion=Portion(stopping=lambda: False))
    assert (everything.until, len(everything.recording())) == (None, count)


def test_check_knows_what_is_in_kafka(place: Place) -> None:
    alone = place.run("check", "rules.yaml")
    assert alone.returncode == 1
    assert "there is no recipient 'Ops'; there is none yet" in alone.stdout
    put_records(place.settings, Recipient(id="r", name="Ops", type="distribution-list", email="ops@example.com"))
    place.send(*(("FIN-1", 60 * number, 10.0) for number in range(9, 0, -1)), instance="x")
    (place.folder / "groups.yaml").write_text('groups: [{name: G, systems: ["fin-*", "FIN-*"]}]')

    done = place.run("check", "rules.yaml", "groups.yaml")
    assert done.returncode == 0, done.stdout
    assert done.stdout.splitlines() == [
        "groups.yaml:1:30: warning: group 'G': systems[0]: 'fin-*' matches no known system among the newest readings "
        "in Kafka; case counts: there is 'FIN-1'",
        "rules.yaml:2:29: warning: sensor 'S': metric: m has instances: one that ends stays triggered while its system "
        "reports anything; write no_data: {after: 15m, then: clear}",
        "2 files: 0 errors, 2 warnings",
    ]
    assert place.run("check", "rules.yaml", "--strict").returncode == 1
    offline = place.run("check", "rules.yaml", "--offline")
    assert offline.returncode == 1
    assert "there is no recipient 'Ops' in these files (Kafka was not asked)" in offline.stdout
