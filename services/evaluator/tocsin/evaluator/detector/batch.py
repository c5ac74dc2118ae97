"""What one look at the broker gave: keys and values in one piece, the rest in columns, no object a message."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import cast

import numpy as np
from confluent_kafka import KafkaError, Message

from tocsin.evaluator.detector.columns import Ints
from tocsin.evaluator.detector.scan_names import PADDING
from tocsin.evaluator.detector.scanning import Texts
from tocsin.shared.headers import Headers


@dataclass(frozen=True, slots=True)
class Record:
    """A message taken out, as it came."""

    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: Headers


@dataclass(frozen=True)
class Batch:
    """Messages in order of arrival within each partition."""

    texts: Texts
    partition: Ints
    offset: Ints
    headers: Callable[[int], Headers]  # of a message, by its place
    ends: dict[int, int] = field(default_factory=dict)  # by partition: its end has been reached, at this offset
    generation: int = -1  # of the assignment it belongs to
    taken_at: float = 0.0  # monotonic

    def __len__(self) -> int:
        return len(self.partition)

    def key(self, at: int) -> bytes | None:
        return self._piece(at, Texts.KEY_AT, Texts.KEY_SIZE)

    def value(self, at: int) -> bytes | None:
        return self._piece(at, Texts.VALUE_AT, Texts.VALUE_SIZE)

    def _piece(self, at: int, place: int, size: int) -> bytes | None:
        places = self.texts.places
        return None if places[size, at] < 0 else self.texts.part(int(places[place, at]), int(places[size, at]))

    def record(self, at: int) -> Record:
        place = int(self.partition[at]), int(self.offset[at])
        return Record(*place, self.key(at), self.value(at), self.headers(at))

    @classmethod
    def of_rows(cls, first: int, count: int) -> Batch:
        """Of readings that come from elsewhere: all in one partition, their numbers as offsets."""
        none = Texts(np.zeros(0, np.uint8), np.zeros((Texts.FIELDS, count), np.int64))
        return cls(none, np.zeros(count, np.int64), np.arange(first, first + count), lambda place: [])

    @classmethod
    def of(cls, messages: Iterable[Message], generation: int = -1, taken_at: float = 0.0) -> Batch:
        """From the client's own objects; what is an error but no end is passed over, as the client repeats it."""
        records, ends = _without_errors(messages)
        keys, values = list(map(Message.key, records)), list(map(Message.value, records))
        pieces = cast("list[bytes | None]", [piece for pair in zip(keys, values, strict=True) for piece in pair])
        sizes = np.array([-1 if piece is None else len(piece) for piece in pieces], np.int64)
        text = b"".join([*(piece or b"" for piece in pieces), bytes(PADDING)])
        filled = np.maximum(sizes, 0)
        at = np.cumsum(filled) - filled
        arrived = np.array([message.timestamp()[1] for message in records], np.int64)
        places = np.stack([at[::2], sizes[::2], at[1::2], sizes[1::2], arrived])
        texts = Texts(np.frombuffer(bytearray(text), np.uint8), places)
        return cls(
            texts,
            np.fromiter(map(Message.partition, records), np.int64, len(records)),
            np.fromiter(map(Message.offset, records), np.int64, len(records)),
            lambda place: cast(Headers, records[place].headers() or []),
            ends,
            generation,
            taken_at,
        )


def _without_errors(messages: Iterable[Message]) -> tuple[list[Message], dict[int, int]]:
    """The records, and where partitions end."""
    records: list[Message] = []
    ends: dict[int, int] = {}
    for message in messages:
        error = message.error()
        if error is None:
            records.append(message)
        elif error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001  the client's public constant
            partition, offset = message.partition(), message.offset()
            assert partition is not None
            assert offset is not None
            ends[partition] = max(offset, ends.get(partition, 0))
    return records, ends
