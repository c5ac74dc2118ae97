"""Where the demo's observations come from: the public topics, the receiver's output, the mail sink's folder."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from confluent_kafka import Consumer, KafkaException, TopicPartition

from tocsin.shared import kafka
from tocsin.shared.errors import BrokerError
from tocsin.shared.settings import CommonSettings
from tocsin.shared.topics import DELIVERY_AUDIT, NOTIFICATION_EVENTS, SENSOR_CHANGES, SENSOR_READINGS

WATCHED = (SENSOR_READINGS, SENSOR_CHANGES, NOTIFICATION_EVENTS, DELIVERY_AUDIT)


class TopicTail:
    """Records of the public topics from now on, as any consumer downstream would read them."""

    def __init__(self, settings: CommonSettings) -> None:
        self._names = {settings.topic(name): name for name in WATCHED}
        self._consumer: Consumer = kafka.consumer(settings.kafka, "tocsin-demo", fetch_wait_max_ms=50)
        try:
            listed = self._consumer.list_topics(timeout=10).topics
            partitions = [TopicPartition(topic, number) for topic in self._names for number in listed[topic].partitions]
            for partition in partitions:
                partition.offset = self._consumer.get_watermark_offsets(partition, timeout=10)[1]
            self._consumer.assign(partitions)
        except KafkaException as error:
            raise BrokerError(f"the topics cannot be read: {error.args[0].str()}") from None

    def take(self, timeout: float) -> Iterator[tuple[str, int, dict[str, Any]]]:
        """(topic, record timestamp in epoch milliseconds, record); what is not a JSON object is passed over."""
        for message in kafka.arrived(self._consumer, 500, timeout):
            if message.error() is not None or message.value() is None:
                continue
            try:
                record = json.loads(message.value() or b"")
            except ValueError:
                continue
            if isinstance(record, dict):
                yield self._names[message.topic() or ""], message.timestamp()[1], record

    def close(self) -> None:
        self._consumer.close()


class LineTail:
    """Complete lines added to a file since the last look."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._at = path.stat().st_size if path.exists() else 0

    def take(self) -> list[str]:
        if not self._path.exists():
            return []
        with self._path.open("rb") as file:
            file.seek(self._at)
            data = file.read()
        whole, newline, _ = data.rpartition(b"\n")
        self._at += len(whole) + len(newline)
        return whole.decode(errors="replace").splitlines()


def json_lines(lines: list[str]) -> Iterator[dict[str, Any]]:
    """The lines that are JSON objects."""
    for line in lines:
        try:
            record = json.loads(line)
        except ValueError:
            continue
        if isinstance(record, dict):
            yield record
