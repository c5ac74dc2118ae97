"""The detector without its input and output: batches in, what to write out. One thread's.

It holds everything about the partitions of one assignment, and begins anew with the next.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np

from tocsin.evaluator.core.intervals import Intervals
from tocsin.evaluator.core.partition_time import PartitionTime, silences
from tocsin.evaluator.core.plan import MetricPlan, Plan
from tocsin.evaluator.core.population import Population
from tocsin.evaluator.core.sensor import Phase, SensorState
from tocsin.evaluator.core.series import NEVER
from tocsin.evaluator.detector.changes import change_by_edit, change_by_reading, is_visible
from tocsin.evaluator.detector.columns import Columns, Ints
from tocsin.evaluator.detector.judging import Judged, Move, Readings, judge_batch
from tocsin.evaluator.detector.knowledge import Knowledge, differ
from tocsin.evaluator.detector.output import Output
from tocsin.evaluator.detector.parsing import Parsed, SlowReading
from tocsin.evaluator.detector.rows import VERSION, SensorRow, SeriesRow, TagsRow
from tocsin.shared.readings import Reason, Rejection

_UNWATCHED = Intervals([])


@dataclass
class Partition:
    """One input partition."""

    time: PartitionTime = field(default_factory=PartitionTime)
    epoch: int = 0
    checkpoint: int = 0  # offset
    next_offset: int = 0


@dataclass(frozen=True)
class _Rows:
    """Readings of a batch with their numbers, in order of arrival."""

    columns: Columns
    series: Ints
    partition: Ints


@dataclass
class Counts:
    """Of what has been read; for metrics."""

    evaluated: int = 0
    late: int = 0
    repeated: int = 0
    ahead: int = 0


class Engine(Knowledge):
    """`partitions`: how many `sensor-readings` has, whoever reads them."""

    def __init__(self, plan: Plan, partitions: int) -> None:
        super().__init__(plan, partitions)
        self.owned: dict[int, Partition] = {}
        self.counts = Counts()
        self.population = Population(plan, self.systems.describe)
        self._rows_there: set[int] = set()  # series with a row in the changelog

    # --- readings ---

    def take(self, parsed: Parsed, judge: bool = True) -> Output:
        """Without `judge`, only the order of readings and who was heard are taken in: for what was judged before."""
        output = Output()
        self.adopt()
        rejected: dict[int, list[Rejection]] = dict(parsed.rejected)
        self._notice_silences(parsed)
        rows = self._numbered(parsed, rejected)
        if len(rows.series):
            self._hear(rows)
        self._retag(parsed, output, judge)
        self.population.grow(self.systems.size)
        judged = self._judge(rows, judge)
        for partition, offset in parsed.next_offsets.items():
            owned = self.owned.get(partition)
            if owned is not None:
                owned.next_offset = max(owned.next_offset, offset)
                output.offsets[partition] = owned.next_offset
        if judge:
            self._publish_moves(judged.moves, rows, parsed, output)
            output.rejected = [(parsed.batch.record(at), rejected[at]) for at in sorted(rejected)]
            self._count(judged, rows, parsed)
        return output

    def _notice_silences(self, parsed: Parsed) -> None:
        for partition, arrivals in parsed.arrivals.items():
            owned = self.owned.get(partition)
            if owned is not None and owned.time.alive_at is not None:
                for _, after in silences([owned.time.alive_at, *arrivals]):
                    owned.time.alive(after)
                owned.time.alive(max(arrivals))

    def _numbered(self, parsed: Parsed, rejected: dict[int, list[Rejection]]) -> _Rows:
        columns = self._with_slow(parsed)
        partition = parsed.batch.partition[columns.message]
        misplaced = self.systems.partition[columns.system] != partition
        if misplaced.any():
            for message in np.unique(columns.message[misplaced]).tolist():
                right = int(self.systems.partition[columns.system[columns.message == message][0]])
                detail = f"partition {int(parsed.batch.partition[message])} instead of {right}"
                detail += ": the producer's partitioner is not murmur2"
                rejected[message] = [Rejection(None, "key", Reason.MISPLACED, detail)]
            columns, partition = columns.where(~misplaced), partition[~misplaced]
        series = self.series.find(columns.system, columns.metric, columns.instance)
        if len(series) and series.min() < 0:
            series = self._add_series(columns, series)
        return _Rows(columns, series, partition)

    def _with_slow(self, parsed: Parsed) -> Columns:
        slow = parsed.slow
        if not slow:
            return parsed.columns
        added = Columns(
            np.array([one.message for one in slow], np.int64),
            np.array([one.within for one in slow], np.int64),
            np.array([self._system(one, parsed) for one in slow], np.int64),
            np.array([self.metric(one.reading.metric) for one in slow], np.int64),
            np.array([self.instance(one.reading.instance) for one in slow], np.int64),
            np.array([one.reading.value for one in slow], np.float64),
            np.array([one.time for one in slow], np.int64),
        )
        return Columns.merged([parsed.columns, added])

    def _system(self, one: SlowReading, parsed: Parsed) -> int:
        # The parser has checked that its partition is the right one.
        return self.systems.add(one.reading.system, int(parsed.batch.partition[one.message]))

    def _add_series(self, columns: Columns, series: Ints) -> Ints:
        new = np.flatnonzero(series < 0)
        keys = np.stack([columns.system[new], columns.metric[new], columns.instance[new]], axis=1)
        _, first = np.unique(keys, axis=0, return_index=True)
        keys = keys[np.sort(first)]  # in order of appearance
        self.add_series(keys[:, 0], keys[:, 1], keys[:, 2])
        return self.series.find(columns.system, columns.metric, columns.instance)

    def _hear(self, rows: _Rows) -> None:
        np.maximum.at(self.systems.heard, rows.columns.system, rows.columns.time)
        self.systems.dirty[rows.columns.system] = True
        for partition in np.unique(rows.partition).tolist():
            if partition in self.owned:
                self.owned[partition].time.read(int(rows.columns.time[rows.partition == partition].max()))

    def _retag(self, parsed: Parsed, output: Output, judge: bool) -> None:
        for one in parsed.slow:
            if one.tags_at is None or not one.reading.tags:
                continue
            system = self.systems.names.numbers[one.reading.system]
            if one.tags_at < self.systems.tags_at[system]:
                continue
            self.systems.tags_at[system] = one.tags_at
            self.systems.dirty[system] = True
            if self.systems.tags.get(system) != one.reading.tags:
                self.systems.tags[system] = one.reading.tags
                self.population.retag(system)
                if judge:
                    partition = int(self.systems.partition[system])
                    output.row(partition, ("tags", one.reading.system), TagsRow(VERSION, one.reading.tags))

    def _judge(self, rows: _Rows, judge: bool) -> Judged:
        if not len(rows.series):
            return Judged()
        readings = Readings(rows.series, rows.columns.time, rows.columns.value)
        if judge:
            return judge_batch(self.series, readings, self._intervals_of)
        return self._only_order(readings)

    def _only_order(self, readings: Readings) -> Judged:
        table = self.series
        size = table.size
        drawn = table.low, table.high, table.deadline
        table.low, table.high = np.full(len(drawn[0]), -np.inf), np.full(len(drawn[1]), np.inf)
        table.deadline = np.full(len(drawn[2]), NEVER)
        try:
            return judge_batch(table, readings, lambda number: _UNWATCHED)
        finally:
            assert table.size == size
            table.low, table.high, table.deadline = drawn

    def _intervals_of(self, series: int) -> Intervals:
        plan = self.plan_of(series)
        return plan.intervals if plan is not None else _UNWATCHED

    def _count(self, judged: Judged, rows: _Rows, parsed: Parsed) -> None:
        self.counts.evaluated += len(rows.series)
        self.counts.late += judged.late
        self.counts.repeated += judged.repeated
        self.counts.ahead += parsed.ahead

    def take_counts(self) -> Counts:
        """Since the last call."""
        counts, self.counts = self.counts, Counts()
        return counts

    # --- changes ---

    def _publish_moves(self, moves: Iterable[Move], rows: _Rows, parsed: Parsed, output: Output) -> None:
        touched: dict[int, None] = {}
        for move in moves:
            touched[move.series] = None
            if not is_visible(move.moved):
                continue
            plan = self.plan_of(move.series)
            assert plan is not None
            sensor = plan.sensors[move.moved.place]
            message = int(rows.columns.message[move.row])
            offset = int(parsed.batch.offset[message])
            output.changes.append(
                change_by_reading(
                    sensor,
                    self.describe(move.series),
                    move.moved,
                    (int(rows.columns.time[move.row]), float(rows.columns.value[move.row])),
                    (int(parsed.batch.partition[message]), offset, int(rows.columns.within[move.row])),
                )
            )
            self._set_triggered(sensor.id, move.series, move.moved.after.phase)
        for series in touched:
            self._state_row(series, output)

    def _set_triggered(self, sensor_id: str, series: int, phase: Phase) -> None:
        _, _, instance = self.describe(series)
        self.population.change(sensor_id, int(self.series.system[series]), instance, phase is Phase.TRIGGERED)

    def _state_row(self, series: int, output: Output) -> None:
        states = self.series.states.get(series)
        plan = self.plan_of(series)
        partition = self.partition_of(series)
        key = ("series", *self.describe(series))
        if states and plan is not None:
            sensors = [_sensor_row(plan, place, state) for place, state in sorted(states.items())]
            output.row(partition, key, SeriesRow(VERSION, sensors))
            self._rows_there.add(series)
        elif series in self._rows_there:
            output.row(partition, key, None)
            self._rows_there.discard(series)

    # --- configuration ---

    def replan(self, plan: Plan) -> Output:
        """A sensor that is edited or deleted starts over: what was triggered is published as clear."""
        output = Output()
        names = {**self.plan.sensor_names, **plan.sensor_names}
        both = self.take_plan(plan)
        for series in sorted(self.series.states):
            before, after = both[int(self.series.metric[series])]
            if before is not None and differ(before, after):
                rows = [_sensor_row(before, *item) for item in sorted(self.series.states.pop(series).items())]
                self._set_states(series, rows, names, output)
        self.population.replan(plan)
        return output

    def finish_restoring(self) -> None:
        """All rows are taken in."""
        self.population.grow(self.systems.size)

    def restore_states(self, series: int, rows: Iterable[SensorRow], output: Output) -> None:
        """States as they stand in the changelog."""
        self._rows_there.add(series)
        self._set_states(series, rows, self.plan.sensor_names, output)

    def _set_states(self, series: int, rows: Iterable[SensorRow], names: Mapping[str, str], output: Output) -> None:
        """States as they were written, by the plan as it is now; those of sensors that are no more start over."""
        plan = self.plan_of(series)
        gone = []
        states: dict[int, SensorState] = {}
        for row in rows:
            place = plan.places.get((row.id, row.revision)) if plan is not None else None
            if place is None:
                gone.append(row)
            else:
                states[place] = SensorState(Phase(row.phase), row.since)
        if states:
            self.series.states[series] = states
        for row in gone:
            if row.phase == Phase.TRIGGERED:
                owned = self.owned.get(self.partition_of(series))
                now = owned.time.now if owned is not None else row.since
                output.changes.append(change_by_edit(row, self.describe(series), now, names))
                self._set_triggered(row.id, series, Phase.CLEAR)
        if gone:
            self._state_row(series, output)


def _sensor_row(plan: MetricPlan, place: int, state: SensorState) -> SensorRow:
    sensor = plan.sensors[place]
    return SensorRow(sensor.id, sensor.revision, int(state.phase), state.since)
