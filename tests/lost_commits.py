"""Whether Kafka itself has lost a commit: read from the files in which it keeps its transactions and offsets.

While its only broker stops or starts, Kafka 4.4 may find no leader for the partitions of a transaction that it has just
decided to commit, takes them for deleted, and notes the transaction as complete without a marker in any of them
(KAFKA-20734). Its `__transaction_state` then says CompleteCommit, and the offsets of that transaction stand in
`__consumer_offsets` without the commit that should follow them: they are aborted later, and what they covered is done
again.
Source of the layouts: Kafka's documentation, record batch version 2; TransactionLogValue of its coordinator.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

COMPLETE_COMMIT = 4
_HEADER = struct.Struct(">qiibIhiqqqhii")
_CONTROL = 0x20
_COMMIT = 1


class Batch(NamedTuple):
    """A record batch; `time`: of its first record, ms."""

    time: int
    producer: int
    epoch: int
    control: bool
    records: bytes


class Completed(NamedTuple):
    transactional_id: str
    producer: int
    epoch: int
    time: int


def batches(path: Path) -> Iterator[Batch]:
    data, at = path.read_bytes(), 0
    while at + _HEADER.size <= len(data):
        _, length, _, _, _, attributes, _, time, _, producer, epoch, _, _ = _HEADER.unpack_from(data, at)
        if length <= 0:  # what has been allotted and not written yet
            return
        yield Batch(time, producer, epoch, bool(attributes & _CONTROL), data[at + _HEADER.size : at + 12 + length])
        at += 12 + length


def lost_commits(data: Path) -> list[Completed]:
    """`data`: a broker's log folder."""
    complete = [one for path in sorted(data.glob("__transaction_state-*/*.log")) for one in _completed(path)]
    lost = []
    for path in sorted(data.glob("__consumer_offsets-*/*.log")):
        found = [batch for batch in batches(path) if batch.producer >= 0]
        for at, batch in enumerate(found):
            if batch.control:
                continue
            end = next((one for one in found[at + 1 :] if one.control and one.producer == batch.producer), None)
            if end is not None and _key_and_value(end.records)[0][2:4] == _COMMIT.to_bytes(2, "big"):
                continue
            until = end.time if end is not None else None
            lost += [
                one
                for one in complete
                if (one.producer, one.epoch) == (batch.producer, batch.epoch)
                and batch.time <= one.time
                and (until is None or one.time < until)
            ]
    return lost


def _completed(path: Path) -> Iterator[Completed]:
    for batch in batches(path):
        key, value = _key_and_value(batch.records)
        if value:
            _, producer, epoch, _, status = struct.unpack_from(">hqhib", value)
            if status == COMPLETE_COMMIT:
                yield Completed(key[4:].decode(), producer, epoch, batch.time)


def _key_and_value(records: bytes) -> tuple[bytes, bytes]:
    """Of the first record: the coordinators write one at a time."""
    at = 0
    _, at = _varint(records, at)  # length
    at += 1  # attributes
    _, at = _varint(records, at)  # time
    _, at = _varint(records, at)  # offset
    length, at = _varint(records, at)
    key, at = records[at : at + length], at + max(length, 0)
    length, at = _varint(records, at)
    return key, records[at : at + max(length, 0)]


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """Zigzag; and where it ends."""
    found = shift = 0
    while True:
        byte = data[at]
        at += 1
        found |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return (found >> 1) ^ -(found & 1), at
