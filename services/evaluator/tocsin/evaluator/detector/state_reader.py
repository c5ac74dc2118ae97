"""Reading partitions to a known end: the detector's own rows, and the readings since the last checkpoint."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from tocsin.evaluator.detector.rows import Key, check_row
from tocsin.evaluator.detector.settings import DetectorSettings
from tocsin.shared import kafka
from tocsin.shared.errors import BrokerError, CodecError
from tocsin.shared.telemetry.logs import logger
from tocsin.shared.topics import DETECTOR_STATE

log = logger(__name__)

ASKED_WITHIN = 10.0
AT_ONCE = 20_000


class StateReader:
    """Reads committed records; `stop` is asked between batches and ends it with BrokerError."""

    def __init__(self, settings: DetectorSettings, stop: Callable[[], bool]) -> None:
        self._settings = settings
        self._stop = stop

    def rows(self, partitions: Iterable[int]) -> dict[int, dict[Key, bytes]]:
        """The newest row of each key, by partition; what is no row is said and passed over.

        Raises KafkaException, BrokerError.
        """
        topic = self._settings.topic(DETECTOR_STATE)
        found: dict[int, dict[Key, bytes]] = {partition: {} for partition in partitions}
        ends = self._ends(topic, found)
        starts = dict.fromkeys(found, 0)
        for messages in self.read(topic, starts, ends):
            for message in messages:
                partition, value = message.partition(), message.value()
                assert partition is not None
                try:
                    key = check_row(message.key(), value)
                except CodecError as error:
                    log.error("row rejected", partition=partition, offset=message.offset(), why=str(error))
                    continue
                if value is None:
                    found[partition].pop(key, None)
                else:
                    found[partition][key] = value
        return found

    def _ends(self, topic: str, partitions: Iterable[int]) -> dict[int, int]:
        # A commit's markers reach topics at different times; who reads committed records only is told the last
        # stable offset, and would stop short of what is committed but not yet marked.
        client = self._client(isolation_level="read_uncommitted")
        try:
            return {at: self._watermarks(client, topic, at)[1] for at in partitions}
        finally:
            client.close()

    def everything(self, topic: str) -> Iterator[list[Message]]:
        """All partitions of a topic, committed up to now. Raises KafkaException, BrokerError."""
        client = self._client()
        try:
            partitions = client.list_topics(topic, ASKED_WITHIN).topics[topic].partitions
        finally:
            client.close()
        yield from self.read(topic, dict.fromkeys(partitions, 0), self._ends(topic, partitions))

    def first_offsets(self, topic: str, partitions: Iterable[int]) -> dict[int, int]:
        client = self._client()
        try:
            return {at: self._watermarks(client, topic, at)[0] for at in partitions}
        finally:
            client.close()

    def _watermarks(self, client: Consumer, topic: str, partition: int) -> tuple[int, int]:
        found = client.get_watermark_offsets(TopicPartition(topic, partition), ASKED_WITHIN)
        if found is None:
            raise BrokerError(f"no answer about the ends of {topic}/{partition}")
        return found

    def read(self, topic: str, starts: dict[int, int], ends: dict[int, int]) -> Iterator[list[Message]]:
        """Everything committed from `starts` up to `ends`, in batches; of a partition nothing from its end on."""
        open_ = {at: end for at, end in ends.items() if end > starts[at]}
        if not open_:
            return
        client = self._client()
        try:
            client.assign([TopicPartition(topic, at, starts[at]) for at in open_])
            while open_:
                if self._stop():
                    raise BrokerError(f"reading {topic} was given up")
                found = []
                for message in kafka.arrived(client, AT_ONCE, 0.2):
                    partition, offset = _place(message)
                    if message.error() is None and offset < ends[partition]:
                        found.append(message)
                    if partition in open_ and _reaches(message, offset, ends[partition]):
                        del open_[partition]
                yield found
        finally:
            client.close()

    def _client(self, **settings: Any) -> Consumer:
        name = f"{self._settings.group}-restore-{uuid.uuid4()}"  # never joined nor committed
        return kafka.consumer(self._settings.kafka, name, enable_partition_eof=True, fetch_wait_max_ms=100, **settings)


def _place(message: Message) -> tuple[int, int]:
    error = message.error()
    if error is not None and error.code() != KafkaError._PARTITION_EOF:  # noqa: SLF001  the client's public constant
        raise KafkaException(error)
    partition, offset = message.partition(), message.offset()
    assert partition is not None
    assert offset is not None
    return partition, offset


def _reaches(message: Message, offset: int, end: int) -> bool:
    # At the end of a partition the offset is the next one's; markers of transactions before it are counted.
    return offset >= end if message.error() is not None else offset + 1 >= end
