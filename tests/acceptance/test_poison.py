"""Poison on every topic: rejected with a reason, the next record is processed, nothing crashes or loops."""

from __future__ import annotations

from pathlib import Path

import pytest

from acceptance.feeder import Feeder
from acceptance.pipeline import API_KEY, Pipeline
from receiver import Receiver
from support import eventually, read_all
from tocsin.deploy.processes import Supervisor
from tocsin.deploy.stack import Stack
from tocsin.shared import kafka
from tocsin.shared.clock import SystemClock
from tocsin.shared.headers import header
from tocsin.shared.topics import SENSOR_READINGS, SENSOR_READINGS_REJECTED

SECRET = "whsec_" + "c2VjcmV0" * 4

CONFIGURATION = """
sensors: [{name: Hot, metric: temperature.celsius, trigger: "> 90"}]
notifications: [{name: It is hot, sensors: [Hot], threshold: 1, recipients: [Hook]}]
recipients:
  - {name: Hook, type: system, webhook: {url: @URL@, authentication: {type: signed-secret, secret: {env: SECRET}}}}
"""

POISON: dict[str, tuple[bytes | None, bytes | None]] = {
    "not JSON": (b"k", b"this is not JSON"),
    "half a JSON object": (b"k", b'{"system": "k"'),
    "NaN": (b"k", b'{"system": "k", "metric": "temperature.celsius", "value": NaN, "time": "2026-01-01T00:00:00Z"}'),
    "deep nesting": (b"k", b"[" * 100_000),
    "deep nesting of objects": (b"k", b'{"a":' * 100_000),
    "two megabytes": (b"k", b'{"system": "' + b"x" * (2 << 20) + b'"}'),
    "bad UTF-8": (b"k", b'{"system": "\xff\xfe"}'),
    "bad UTF-8 in the key": (b"\xff\xfe", b'{"system": "k"}'),
    "wrong types": (b"k", b'{"system": 7, "metric": [], "value": "x", "time": {}, "kind": 3, "id": null}'),
    "a list": (b"k", b"[1, 2, 3]"),
    "a number": (b"k", b"12"),
    "null": (b"k", b"null"),
    "null key": (None, b'{"system": "k", "metric": "m", "value": 1, "time": "2026-01-01T00:00:00Z"}'),
    "tombstone": (b"k", None),
    "nothing at all": (None, None),
    "no bytes": (b"k", b""),
}


def _heat(pipeline: Pipeline, value: float) -> None:
    """One reading through the gateway."""
    reading = {"system": "OVEN-1", "metric": "temperature.celsius", "value": value, "time": SystemClock().now_ms()}
    feeder = Feeder(pipeline.readings_url, API_KEY, [[reading]], 0.1)
    feeder.start()
    feeder.join(30)


def _poison_everything(pipeline: Pipeline) -> int:
    """Every kind of poison into every partition of every topic; how many went into each partition of the readings."""
    producer = kafka.producer(pipeline.settings.kafka)
    topics = {pipeline.settings.topic(topic.name): topic for topic in pipeline.settings.topics()}
    there = kafka.existing_partitions(kafka.admin(pipeline.settings.kafka))
    for name, topic in topics.items():
        for partition in range(there[name]):
            for key, value in POISON.values():
                if key is None and "compact" in topic.cleanup:
                    continue  # the broker itself refuses it
                producer.produce(name, key=key, value=value, partition=partition)
                producer.poll(0)
    assert producer.flush(60) == 0
    return there[pipeline.settings.topic(SENSOR_READINGS)]


@pytest.mark.kafka
@pytest.mark.slow
@pytest.mark.timeout(240)
def test_poison_on_every_topic_is_rejected_and_what_comes_after_it_is_delivered(tmp_path: Path) -> None:
    with Stack(tmp_path / "stack") as stack, Supervisor() as supervisor, Receiver(SECRET) as receiver:
        pipeline = Pipeline(stack, supervisor, tmp_path / "run")
        pipeline.create_topics()
        pipeline.apply(CONFIGURATION.replace("@URL@", receiver.url), SECRET=SECRET)
        pipeline.start()
        pipeline.wait_ready()
        started = {name: member.child.pid for name, member in pipeline.fleet.members.items()}

        partitions = _poison_everything(pipeline)
        _heat(pipeline, 95.0)
        eventually(lambda: len(receiver.requests) == 1, within=60)
        _heat(pipeline, 20.0)
        eventually(lambda: len(receiver.requests) == 2, within=60)
        _check_rejected(pipeline, partitions)
        running = {name: member.child.pid for name, member in pipeline.fleet.members.items() if member.child.running}
        assert running == started, "nothing crashed"

        for name in list(pipeline.fleet.members):  # what they restore from has been poisoned too
            pipeline.fleet.members[name].child.stop()
            pipeline.fleet.restart(name)
        pipeline.wait_ready()
        _heat(pipeline, 96.0)
        eventually(lambda: len(receiver.requests) == 3, within=60)
        assert all(request.verified for request in receiver.requests)
        eventually(lambda: pipeline.ledger()[0] == 0, within=30, every=1)
        letters = pipeline.tocsin("dead-letters", "list")
        assert letters.returncode == 0, letters.stdout + letters.stderr


def _check_rejected(pipeline: Pipeline, partitions: int) -> None:
    """Each poison of each partition of the readings is kept untouched, with a reason."""

    def rejected() -> list[tuple[bytes | None, bytes | None]]:
        messages = read_all(pipeline.settings, SENSOR_READINGS_REJECTED)
        with_reason = [message for message in messages if header(message.headers(), "reason")]
        return [(message.key(), message.value()) for message in with_reason]

    for name, poison in POISON.items():
        eventually(lambda poison=poison: rejected().count(poison) >= partitions, within=30), name
