"""Every record once, in order, none left out: kept here, because Faust does not.

Around a recovery Faust may deliver a record twice, or drop one, note a gap, and commit past it.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, auto

from confluent_kafka import Consumer, KafkaException, TopicPartition

from tocsin.shared import kafka
from tocsin.shared.settings import KafkaSettings

TIMEOUT_S = 3.0


class Seen(Enum):
    """What a record is to its partition."""

    NEXT = auto()
    REPEAT = auto()  # or of a partition that is not ours
    GAP = auto()  # the one before it has not come


class Offsets:
    """Which record of each owned partition has to come next. Pure."""

    def __init__(self) -> None:
        self._next: dict[int, int] = {}

    def begin(self, starts: Mapping[int, int]) -> None:
        """These partitions are owned from now on, and read from there."""
        self._next = dict(starts)

    def see(self, partition: int, offset: int) -> Seen:
        """NEXT moves on to the one after it."""
        expected = self._next.get(partition)
        if expected is None or offset < expected:
            return Seen.REPEAT
        if offset > expected:
            return Seen.GAP
        self._next[partition] = offset + 1
        return Seen.NEXT

    def expected(self, partition: int) -> int:
        return self._next[partition]

    def skip_to(self, partition: int, offset: int) -> None:
        """There is nothing before this offset (any more)."""
        self._next[partition] = offset


@dataclass(frozen=True, slots=True)
class Position:
    """Of the group in one partition."""

    committed: int  # below 0: never
    low: int
    end: int

    @property
    def start(self) -> int:
        """Where reading goes on: at the commit, or at the beginning of what is there."""
        return self.committed if self.low <= self.committed <= self.end else self.low


class LogView:
    """Asks the broker about one topic, past Faust. Safe from any thread; None when the broker does not answer."""

    def __init__(self, settings: KafkaSettings, group: str, topic: str) -> None:
        self.topic = topic
        self._settings = settings
        self._group = group
        self._lock = threading.Lock()
        self._consumer = self._new()

    def close(self) -> None:
        with self._lock:
            self._consumer.close()

    def positions(self, partitions: set[int]) -> dict[int, Position] | None:
        places = [TopicPartition(self.topic, partition) for partition in sorted(partitions)]
        found = {}
        try:
            with self._lock:
                if not places:
                    self._consumer.list_topics(self.topic, timeout=TIMEOUT_S)
                    return {}
                for place in self._consumer.committed(places, timeout=TIMEOUT_S):
                    low, end = self._consumer.get_watermark_offsets(place, timeout=TIMEOUT_S)
                    found[place.partition] = Position(place.offset, low, end)
        except KafkaException:
            return None
        return found

    def first_from(self, partition: int, offset: int) -> int | None:
        """The offset of the first record at or after this one; also None when there is none."""
        consumer = self._new()
        try:
            consumer.assign([TopicPartition(self.topic, partition, offset)])
            message = consumer.poll(TIMEOUT_S)
            return None if message is None or message.error() is not None else message.offset()
        except KafkaException:
            return None
        finally:
            consumer.close()

    def _new(self) -> Consumer:
        # Never joins the group. Faust sees aborted records too.
        return kafka.consumer(self._settings, self._group, isolation_level="read_uncommitted")
