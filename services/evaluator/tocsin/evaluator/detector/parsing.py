"""From a batch as consumed to readings: the fast way for what is plain, one by one for the rest."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from tocsin.evaluator.core.partition_time import CONFIRMED_WITHIN
from tocsin.evaluator.detector.batch import Batch
from tocsin.evaluator.detector.columns import Columns, Ints, Known
from tocsin.evaluator.detector.reader import ColumnReader
from tocsin.shared.partitioning import partition_for
from tocsin.shared.readings import GoodReading, Reason, Rejection, check, misplaced

_MOST_PLACES = 200_000


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
    columns: Columns
    slow: list[SlowReading]
    rejected: list[tuple[int, list[Rejection]]]  # message, what is wrong with it
    next_offsets: dict[int, int]  # by partition, after this batch
    ahead: int = 0  # readings judged as of their arrival
    arrivals: dict[int, list[int]] = field(default_factory=dict)  # by partition: first and last, or all when apart

    @property
    def work(self) -> int:
        """Readings, or messages where those are more."""
        return max(len(self.batch), len(self.columns) + len(self.slow))


@dataclass
class Parser:
    """Of one thread. `partitions`: how many `sensor-readings` has; `clock_ahead`: milliseconds."""

    partitions: int
    clock_ahead: int
    reader: ColumnReader = field(default_factory=ColumnReader)
    _places: dict[bytes, int] = field(default_factory=dict)  # of keys met on the slow way: murmur2 costs 5 µs here

    def parse(self, batch: Batch, known: Known) -> Parsed:
        next_offsets = dict(batch.ends)
        arrivals: dict[int, list[int]] = {}
        for at in np.flatnonzero(np.bincount(batch.partition)).tolist():
            places = np.flatnonzero(batch.partition == at)
            arrivals[at] = _arrivals(batch.texts.arrived[places])
            next_offsets[at] = max(int(batch.offset[places[-1]]) + 1, next_offsets.get(at, 0))
        columns, left, ahead = self.reader.read(batch.texts, self.clock_ahead, known)
        slow, rejected = self._one_by_one(batch, left)
        ahead += sum(one.time != one.reading.time for one in slow)
        return Parsed(batch, columns, slow, rejected, next_offsets, ahead, arrivals)

    def _one_by_one(self, batch: Batch, left: Ints) -> tuple[list[SlowReading], list[tuple[int, list[Rejection]]]]:
        slow: list[SlowReading] = []
        rejected: list[tuple[int, list[Rejection]]] = []
        for at in left.tolist():
            key = batch.key(at)
            checked = check(batch.value(at))
            good, wrong = checked.good, list(checked.rejected)
            if key is None and not wrong:
                wrong, good = [Rejection(None, "key", Reason.MISPLACED, "the message has no key")], []
            elif good and (found := self._misplaced(key, good[0].system, int(batch.partition[at]))):
                wrong, good = [found], []
            if wrong:
                rejected.append((at, wrong))
            arrived = int(batch.texts.arrived[at])
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


def _arrivals(times: Ints) -> list[int]:
    """Of one partition's messages: the first and the last, or all when those are further apart than a live batch."""
    row = [int(times[0]), int(times[-1])]
    return times.tolist() if row[1] - row[0] > CONFIRMED_WITHIN else row
