"""More partitions for `sensor-readings`, when the state that belongs to the old ones may go."""

from __future__ import annotations

import time
from collections.abc import Callable

from confluent_kafka.admin import AdminClient, NewPartitions

from tocsin.shared import kafka
from tocsin.shared.errors import BrokerError, TopicError
from tocsin.shared.settings import CommonSettings
from tocsin.shared.topic_admin import apply_topics, settle
from tocsin.shared.topics import DETECTOR_STATE, SENSOR_READINGS

GONE_WITHIN = 60.0
"""Seconds a broker may take to forget a deleted topic."""


def grow_readings(settings: CommonSettings, to: int, sleep: Callable[[float], None] = time.sleep) -> int:
    """Give `sensor-readings` this many partitions and begin `detector-state` anew; returns the count before.

    With another count systems live in other partitions, so what the detector knew of them is forgotten: sensors and
    reporting start over. All detectors must be stopped. Raises TopicError for a count that can't be had, BrokerError.
    """
    client = kafka.admin(settings.kafka)
    readings, state = settings.topic(SENSOR_READINGS), settings.topic(DETECTOR_STATE)
    existing = kafka.existing_partitions(client)
    if readings not in existing:
        raise TopicError(f"topic {readings} does not exist; run: tocsin topics apply")
    before = existing[readings]
    if to < before:
        raise TopicError(f"topic {readings} has {before} partitions: Kafka can add some, and take none away")
    if to > before:
        settle("grow", client.create_partitions([NewPartitions(readings, to)], request_timeout=30).items())
    if state in existing:
        settle("delete", client.delete_topics([state], request_timeout=30).items())
    _apply_once_gone(settings.model_copy(update={"partitions_readings": to}), state, client, sleep)
    return before


def _apply_once_gone(settings: CommonSettings, gone: str, client: AdminClient, sleep: Callable[[float], None]) -> None:
    """A topic that has just been deleted may be there for a moment more."""
    until = time.monotonic() + GONE_WITHIN
    while True:
        try:
            if gone not in kafka.existing_partitions(client):
                apply_topics(settings)
                return
            raise BrokerError(f"{gone} was deleted and is still there: run it again")
        except BrokerError:
            if time.monotonic() > until:
                raise
            sleep(0.2)
