"""Reading partitions to an end that was known before: for restoring state, and for the operators' tools."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import Any, TypeVar

import msgspec
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, Message, TopicPartition

from tocsin.shared import kafka
from tocsin.shared.settings import CommonSettings

READ_TIMEOUT = 60.0  # without any progress
ASK_TIMEOUT = 15.0

T = TypeVar("T")

PartitionKey = tuple[str, int]
"""(topic as the broker calls it, partition)."""


UNREADABLE = (msgspec.MsgspecError, ValueError, RecursionError)
"""What msgspec raises on poison: no JSON or the wrong types, bad UTF-8, deep nesting."""


def ends_of(settings: CommonSettings, partitions: Iterable[PartitionKey]) -> dict[PartitionKey, tuple[int, int]]:
    """(first, end) of each, uncommitted records counted. Raises KafkaException.

    A commit's markers reach topics at different times, so the end that a reader of committed records is told may lie
    before records that were committed together with others it has seen.
    """
    asker = kafka.consumer(settings.kafka, f"ends-{uuid.uuid4()}", isolation_level="read_uncommitted")
    try:
        found = {}
        for key in partitions:
            first, end = insist(partial(asker.get_watermark_offsets, TopicPartition(*key), ASK_TIMEOUT))
            found[key] = int(first), int(end)
        return found
    finally:
        asker.close()


def insist(ask: Callable[[], T], pause: Callable[[float], None] = time.sleep) -> T:
    """Again while the broker says that it is no leader yet: of a topic just created, or after a restart."""
    until = time.monotonic() + ASK_TIMEOUT
    while True:
        try:
            return ask()
        except KafkaException as error:
            if not kafka.is_retriable(error.args[0]) or time.monotonic() > until:
                raise
            pause(0.1)


def read_until(
    settings: CommonSettings,
    starts: Mapping[PartitionKey, int | None],
    ends: Mapping[PartitionKey, tuple[int, int]],
    stopping: Callable[[], bool] = lambda: False,
) -> Iterator[Message]:
    """Committed records of all these partitions, from their starts (None: the beginning) until past their ends.

    Raises KafkaException when that makes no progress for a minute, or `stopping`.
    """
    if not _waiting(starts, ends):
        return
    reader = reader_of(settings)
    try:
        yield from read_with(reader, starts, ends, stopping)
    finally:
        reader.close()


def reader_of(settings: CommonSettings, **more: Any) -> Consumer:
    """What `read_with` reads with."""
    return kafka.consumer(
        settings.kafka, f"reader-{uuid.uuid4()}", enable_partition_eof=True, fetch_wait_max_ms=50, **more
    )


def read_with(
    reader: Consumer,
    starts: Mapping[PartitionKey, int | None],
    ends: Mapping[PartitionKey, tuple[int, int]],
    stopping: Callable[[], bool] = lambda: False,
) -> Iterator[Message]:
    """As `read_until`, for who reads several portions one after the other. What lies beyond an end may come too."""
    waiting = _waiting(starts, ends)
    reader.assign([TopicPartition(*key, _start(starts[key])) for key in waiting])
    until = time.monotonic() + READ_TIMEOUT
    while waiting:
        messages = kafka.arrived(reader, 1000, 0.2)
        for message in messages:
            key = (message.topic() or "", message.partition() or 0)
            error = message.error()
            if error is None:
                until = time.monotonic() + READ_TIMEOUT
                yield message
                if (message.offset() or 0) + 1 >= ends[key][1]:
                    waiting.discard(key)
            elif error.code() == KafkaError._PARTITION_EOF and (message.offset() or 0) >= ends[key][1]:  # noqa: SLF001
                # Where the reader stands, the markers of transactions passed over.
                waiting.discard(key)
        if stopping() or time.monotonic() > until:
            raise KafkaException(KafkaError(KafkaError._TIMED_OUT, f"{sorted(waiting)} not read to their ends"))  # noqa: SLF001


def _waiting(
    starts: Mapping[PartitionKey, int | None], ends: Mapping[PartitionKey, tuple[int, int]]
) -> set[PartitionKey]:
    """Partitions in which there is something to read."""
    return {key for key in starts if ends[key][1] > max(starts[key] or 0, ends[key][0])}


def _start(offset: int | None) -> int:
    return OFFSET_BEGINNING if offset is None else offset
