"""From a batch as consumed to readings: the fast way for what is plain, one by one for the rest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from confluent_kafka import KafkaError, Message

from tocsin.evaluator.core.partition_time import CONFIRMED_WITHIN
from tocsin.evaluator.detector.columns import Columns, Ints, Known
from tocsin.evaluator.detector.reader import ColumnReader
from tocsin.shared.partitioning import partition_for
from tocsin.shared.readings import GoodReading, Reason, Rejection, check, misplaced

_MOST_PLACES = 200_000


@dataclass(frozen=True, slots=True)
class Batch:
    """What one call of the client gave. The fields of its messages are fetched at once, while they are in the cache."""

    messages: list[Message]
    keys: list[bytes | None]
    values: list[bytes | None]
    generation: int  # of the assignment it belongs to
    taken_at: float = 0.0  # monotonic

    @classmethod
    def of(cls, messages: list[Message], generation: int, taken_at: float = 0.0) -> Batch:
        keys, values = list(map(Message.key, messages)), list(map(Message.value, messages))
        return cls(messages, keys, values, generation, taken_at)


@dataclass(frozen=True, slots=True)
class SlowReading:
    """A reading that came the slow way."""

    message: int
    within: int  # place among the good readings of its message
    reading: GoodReading
    time: int  # as of which it is judged
    tags_at: int | None  # of the report, when it carries tags; on its first reading only


@dataclass(frozen=True)
class Parsed:
    """A batch, read."""

    batch: Batch
    messages: list[Message]  # without errors and ends
    partition: Ints  # of each message
    columns: Columns
    slow: list[SlowReading]
    rejected: list[tuple[int, list[Rejection]]]  # message, what is wrong with it
    next_offsets: dict[int, int]  # by partition, after this batch
    ahead: int = 0  # readings judged as of their arrival
    arrivals: dict[int, list[int]] = field(default_factory=dict)  # by partition: first and last, or all when apart


@dataclass
class Parser:
    """Of one thread. `partitions`: how many `sensor-readings` has; `clock_ahead`: milliseconds."""

    partitions: int
    clock_ahead: int
    reader: ColumnReader = field(default_factory=ColumnReader)
    _places: dict[bytes, int] = field(default_factory=dict)  # of keys met on the slow way: murmur2 costs 5 µs here

    def parse(self, batch: Batch, known: Known) -> Parsed:
        next_offsets: dict[int, int] = {}
        messages, keys, values = batch.messages, batch.keys, batch.values
        joined_keys = _joined(keys)
        if joined_keys is None:
            messages, next_offsets = _without_errors(messages)
            keys, values = list(map(Message.key, messages)), list(map(Message.value, messages))
        partition = np.fromiter(map(Message.partition, messages), np.int64, len(messages))
        arrivals: dict[int, list[int]] = {}
        for at in np.flatnonzero(np.bincount(partition)).tolist():
            places = np.flatnonzero(partition == at)
            arrivals[at] = _arrivals(messages, places)
            last = messages[int(places[-1])].offset()
            assert last is not None
            next_offsets[at] = max(last + 1, next_offsets.get(at, 0))
        columns = self._columns(keys, values, joined_keys, known)
        columns, ahead = self._arrived(columns, messages, arrivals)
        slow, rejected = self._one_by_one(keys, values, messages, partition, columns)
        ahead += sum(one.time != one.reading.time for one in slow)
        return Parsed(batch, messages, partition, columns, slow, rejected, next_offsets, ahead, arrivals)

    def _columns(
        self, keys: list[bytes | None], values: list[bytes | None], joined_keys: bytes | None, known: Known
    ) -> Columns:
        """Of messages that have a value, and the system as their key. `joined_keys`: None if any is missing."""
        try:
            found = self.reader.read(values, known)  # type: ignore[arg-type]  # a None in it raises TypeError
        except TypeError:
            there = [at for at, value in enumerate(values) if value is not None]
            found = self.reader.read([value for value in values if value is not None], known)
            found = replace(found, message=np.array(there, np.int64)[found.message])
        if not len(found.message):
            return found
        first = np.flatnonzero(np.diff(found.message, prepend=-1))  # of each message
        messages = found.message[first]
        names = known.systems.vocabulary.names.gather(found.system[first])
        if len(messages) != len(keys):
            joined_keys = _joined([keys[at] for at in messages.tolist()])
        # No newline but the separators, so equal texts are equal one by one.
        unambiguous = joined_keys is not None and _newlines(joined_keys) == len(messages) - 1
        if unambiguous and joined_keys == names.str.join("\n").item().encode():
            return found
        right = [keys[at] == name.encode() for at, name in zip(messages.tolist(), names, strict=True)]
        return found.where(np.isin(found.message, messages[np.array(right, np.bool_)]))

    def _arrived(
        self, columns: Columns, messages: list[Message], arrivals: dict[int, list[int]]
    ) -> tuple[Columns, int]:
        """Readings too far ahead of their arrival are judged as of it."""
        if not len(columns.message):
            return columns, 0
        # Arrivals ascend within a partition, unless the broker's clock was set back.
        earliest = min(min(row) for row in arrivals.values())
        suspects = np.flatnonzero(columns.time > earliest + self.clock_ahead)
        if not len(suspects):
            return columns, 0
        times, ahead = columns.time.copy(), 0
        for row in suspects.tolist():
            arrived = arrival(messages[int(columns.message[row])])
            if times[row] > arrived + self.clock_ahead:
                times[row] = arrived
                ahead += 1
        return replace(columns, time=times), ahead

    def _one_by_one(
        self,
        keys: Sequence[bytes | None],
        values: Sequence[bytes | None],
        messages: list[Message],
        partition: Ints,
        columns: Columns,
    ) -> tuple[list[SlowReading], list[tuple[int, list[Rejection]]]]:
        left = np.ones(len(messages), np.bool_)
        left[columns.message] = False
        slow: list[SlowReading] = []
        rejected: list[tuple[int, list[Rejection]]] = []
        for at in np.flatnonzero(left).tolist():
            checked = check(values[at])
            good, wrong = checked.good, list(checked.rejected)
            if keys[at] is None and not wrong:
                wrong, good = [Rejection(None, "key", Reason.MISPLACED, "the message has no key")], []
            elif good and (found := self._misplaced(keys[at], good[0].system, int(partition[at]))):
                wrong, good = [found], []
            if wrong:
                rejected.append((at, wrong))
            arrived = arrival(messages[at])
            for within, reading in enumerate(good):
                tags_at = None
                if within == 0 and reading.tags:
                    tags_at = reading.time if checked.report_time is None else checked.report_time
                    tags_at = self._as_of(tags_at, arrived)
                slow.append(SlowReading(at, within, reading, self._as_of(reading.time, arrived), tags_at))
        return slow, rejected

    def _misplaced(self, key: bytes | None, system: str, partition: int) -> Rejection | None:
        if key is None or key != system.encode():
            return misplaced(key, system, partition, self.partitions)
        if (place := self._places.get(key)) is None:
            if len(self._places) >= _MOST_PLACES:
                self._places.clear()
            place = self._places[key] = partition_for(key, self.partitions)
        return None if place == partition else misplaced(key, system, partition, self.partitions)

    def _as_of(self, time: int, arrived: int) -> int:
        return arrived if time > arrived + self.clock_ahead else time


def arrival(message: Message) -> int:
    """When the broker got it, epoch ms."""
    at: int = message.timestamp()[1]
    return at


def _joined(keys: list[bytes | None]) -> bytes | None:
    """By newlines; None when a key is missing. Joining finds out in a tenth of the time that looking takes."""
    try:
        return b"\n".join(keys)  # type: ignore[arg-type]
    except TypeError:
        return None


def _newlines(text: bytes) -> int:
    return int(np.count_nonzero(np.frombuffer(text, np.uint8) == ord("\n")))


def _without_errors(messages: list[Message]) -> tuple[list[Message], dict[int, int]]:
    """The records, and where partitions end. Errors have no key, so few have to be asked."""
    records: list[Message] = []
    ends: dict[int, int] = {}
    for message in messages:
        error = None if message.key() is not None else message.error()
        if error is None:
            records.append(message)
        elif error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001  the client's public constant
            partition, offset = message.partition(), message.offset()
            assert partition is not None
            assert offset is not None
            ends[partition] = max(offset, ends.get(partition, 0))
    return records, ends


def _arrivals(messages: list[Message], places: Ints) -> list[int]:
    """Of one partition's messages: the first and the last, or all when those are further apart than a live batch."""
    row = [arrival(messages[int(places[0])]), arrival(messages[int(places[-1])])]
    if row[1] - row[0] > CONFIRMED_WITHIN:
        row = [arrival(messages[place]) for place in places.tolist()]
    return row
