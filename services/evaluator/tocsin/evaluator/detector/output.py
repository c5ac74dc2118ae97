"""What one transaction of the detector writes."""

from __future__ import annotations

from dataclasses import dataclass, field

from msgspec import Struct

from tocsin.evaluator.core.sensor import Visible
from tocsin.evaluator.core.sensor_event import Standing
from tocsin.evaluator.detector.batch import Record
from tocsin.evaluator.detector.rows import Key
from tocsin.shared.readings import Rejection
from tocsin.shared.schemas.change import ChangeReason

Written = Struct | bytes | None
"""A row of the changelog, as bytes already where there are many at once; None for a tombstone."""


class Change(Struct, frozen=True, gc=False):
    """A sensor's visible state has changed on a series."""

    sensor_id: str
    sensor: str
    revision: str
    system: str
    metric: str
    instance: str | None
    state: Visible
    level: str | None
    previous: Visible
    previous_level: str | None
    value: float | None
    time: int  # event time, ms
    condition: str | None
    reason: ChangeReason
    place: tuple[int, int, int] | None  # of the reading: partition, offset, place in its message
    since: int  # when the previous state began, event time
    timer: str | None = None  # which one, if it was one
    due: int | None = None  # when it fired, ms; later than `time` only where a window waits for late readings


class Stood(Struct, frozen=True, gc=False):
    """A sensor stands otherwise on a system, for the notifications that name it."""

    sensor_id: str
    system: int
    instance: str | None
    standing: Standing
    due: int | None  # of the timer that did it, ms
    place: tuple[int, int, int] | None  # of the reading that did it


@dataclass
class Output:
    """Changes in the order of their readings; rows by partition, None for a tombstone."""

    changes: list[Change] = field(default_factory=list)
    rows: dict[int, dict[Key, Written]] = field(default_factory=dict)
    rejected: list[tuple[Record, list[Rejection]]] = field(default_factory=list)
    systems: list[tuple[bytes, bytes | None, int]] = field(default_factory=list)  # of notification-systems: its Written
    offsets: dict[int, int] = field(default_factory=dict)  # by partition: the next one to read
    stood: list[Stood] = field(default_factory=list)  # in order; for whoever follows along, not written

    def row(self, partition: int, key: Key, row: Written) -> None:
        self.rows.setdefault(partition, {})[key] = row

    def merge(self, later: Output) -> None:
        """What came later counts where both say something."""
        self.changes += later.changes
        self.rejected += later.rejected
        self.stood += later.stood
        self.systems += later.systems
        self.offsets.update(later.offsets)
        for partition, rows in later.rows.items():
            self.rows.setdefault(partition, {}).update(rows)

    @property
    def empty(self) -> bool:
        return not (self.changes or self.rows or self.rejected or self.systems or self.offsets)
