"""One record of `notification-tallies`, whatever its bytes are, against the rows of its partition. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import msgspec

from tocsin.evaluator.core.activation import Place, Step, forget_sent, step
from tocsin.evaluator.core.activation_row import Pending, Row
from tocsin.evaluator.core.notification import Rulebook
from tocsin.shared.errors import CodecError
from tocsin.shared.partitioning import partition_for
from tocsin.shared.schemas.tally import MAX_SYSTEMS_LISTED, Tally, Tick

TICK_KEY = b"tick"
MAX_NUMBER = 1 << 53
"""Above it other readers of our JSON lose digits."""
MAX_INPUT_PARTITIONS = 100_000
MAX_ID_BYTES = 256


@dataclass(frozen=True, slots=True)
class Record:
    """A record as it came."""

    key: bytes | None
    value: bytes | None
    place: Place


@dataclass(frozen=True, slots=True)
class Refused:
    """Not a tally, not a tick: passed over."""

    reason: str
    detail: str


@dataclass(frozen=True, slots=True)
class Write:
    """A row to be written; none: to be removed. Its events go out after that."""

    notification_id: str
    row: Row | None
    events: tuple[Pending, ...] = ()


@dataclass(frozen=True, slots=True)
class Taken:
    """What a record did. `more`: it has to be given again, once what it wrote is out."""

    outcome: str
    writes: tuple[Write, ...] = ()
    more: bool = False


def read(record: Record, partitions: int) -> Tally | Tick | Refused:
    """The input in this record of a topic with so many partitions."""
    if record.value is None:
        return Refused("tombstone", "the record has no value")
    if record.key is None:
        return Refused("null_key", "the record has no key")
    try:
        if record.key == TICK_KEY:
            return Tick.decode(record.value)
        tally = Tally.decode(record.value)
    except CodecError as error:
        return Refused(error.reason, error.detail[:200])
    return _checked(tally, record, partitions)


def _checked(tally: Tally, record: Record, partitions: int) -> Tally | Refused:
    numbers = (tally.epoch, tally.counter, tally.matched, tally.reporting, tally.partition, tally.partitions)
    if not all(0 <= number < MAX_NUMBER for number in numbers):
        return Refused("number", "a count or version is negative or too large")
    if not tally.partition < tally.partitions <= MAX_INPUT_PARTITIONS:
        return Refused("number", f"there is no input partition {tally.partition} of {tally.partitions}")
    if len(tally.systems) > MAX_SYSTEMS_LISTED:
        return Refused("systems", f"more than {MAX_SYSTEMS_LISTED} systems are listed")
    key = tally.notification_id.encode()
    if not 0 < len(key) <= MAX_ID_BYTES or key == TICK_KEY:
        return Refused("notification_id", "is empty or too long")
    # The row of a notification is in one partition: one in two of them would be judged twice.
    if record.key != key or record.place.partition != partition_for(key, partitions):
        return Refused("misplaced", "the key or the partition is not the notification's")
    return tally


def take(
    record: Record, partitions: int, rows: Mapping[str, Row], sent: Mapping[str, int], book: Rulebook
) -> Taken | Refused:
    """What the record does to the rows of its partition; `sent` holds the places known to be on their topics."""
    match read(record, partitions):
        case Refused() as refused:
            return refused
        case Tally() as tally:
            write, taken = _advance(tally.notification_id, tally, rows, sent, (book, record.place))
            return Taken(taken.reason, (write,) if write else (), taken.more)
        case Tick() as tick:
            advanced = [_advance(key, tick, rows, sent, (book, record.place)) for key in rows]
            writes = tuple(write for write, _ in advanced if write)
            return Taken("tick", writes, any(taken.more for _, taken in advanced))


def _advance(
    key: str, given: Tally | Tick, rows: Mapping[str, Row], sent: Mapping[str, int], at: tuple[Rulebook, Place]
) -> tuple[Write | None, Step]:
    before = rows.get(key)
    row = before and forget_sent(before, sent.get(key, 0))
    taken = step(row, given, *at)
    if taken.row is before:
        return None, taken
    if taken.row is not None and taken.row is row:
        # Only the outbox was emptied. That is a write as any other, but needs no haste: a tick does it.
        if isinstance(given, Tally):
            return None, taken
        return Write(key, msgspec.structs.replace(row, edition=row.edition + 1)), taken
    return Write(key, taken.row, taken.events), taken
