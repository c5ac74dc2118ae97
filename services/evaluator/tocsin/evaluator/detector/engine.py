"""The detector without its input and output: batches in, what to write out. One thread's.

It holds everything about the partitions of one assignment, and begins anew with the next.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from tocsin.evaluator.core.intervals import Intervals
from tocsin.evaluator.core.partition_time import PartitionTime, silences
from tocsin.evaluator.core.plan import MetricPlan, Plan
from tocsin.evaluator.core.sensor import NEVER, SHOWN_CLEAR, Pauses, SensorState, shown
from tocsin.evaluator.core.sensor_event import Standing
from tocsin.evaluator.core.series import remember_reading
from tocsin.evaluator.core.steps import NO_STANCE
from tocsin.evaluator.core.windows import Tumbling
from tocsin.evaluator.detector.announcing import Announcing, NumberedRows
from tocsin.evaluator.detector.changes import change_to_clear
from tocsin.evaluator.detector.columns import Columns, Ints
from tocsin.evaluator.detector.judging import Judged, Readings, judge_batch, judge_timers
from tocsin.evaluator.detector.knowledge import differ
from tocsin.evaluator.detector.locating import hear, locate
from tocsin.evaluator.detector.output import Output
from tocsin.evaluator.detector.parsing import Parsed, SlowReading
from tocsin.evaluator.detector.rows import VERSION, SensorRow, TagsRow, sensor_row, state_of
from tocsin.evaluator.detector.tables import NO_SILENCE, NO_TIME, fits, pack
from tocsin.shared.readings import Reason, Rejection

_UNWATCHED = Intervals([])


@dataclass
class Partition:
    """One input partition."""

    time: PartitionTime = field(default_factory=PartitionTime)
    epoch: int = 0
    checkpoint: int = 0  # offset
    next_offset: int = 0


@dataclass
class Counts:
    """Of what has been read; for metrics."""

    evaluated: int = 0
    late: int = 0
    repeated: int = 0
    ahead: int = 0


class Engine(Announcing):
    """`partitions`: how many `sensor-readings` has, whoever reads them."""

    def __init__(self, plan: Plan, partitions: int) -> None:
        super().__init__(plan, partitions)
        self.owned: dict[int, Partition] = {}
        self.counts = Counts()
        self.off: set[str] = set()  # sensors that are switched off, as far as has been said
        self.window_parts: dict[tuple[int, int], int] = {}  # rows of windows there, by partition and chunk

    # --- readings ---

    def take(self, parsed: Parsed, judge: bool = True) -> Output:
        """Without `judge`, only the order of readings and who was heard are taken in: for what was judged before."""
        output = Output()
        self.adopt()
        rejected: dict[int, list[Rejection]] = dict(parsed.rejected)
        self._notice_silences(parsed)
        self._note_pauses()
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
            self.publish_moves(judged, rows, parsed.batch, output)
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

    def _note_pauses(self) -> None:
        there = any(owned.time.unreached for owned in self.owned.values())
        self.series.pauses_of = self._pauses_of if there else None

    def _pauses_of(self, series: int) -> Pauses:
        owned = self.owned.get(self.partition_of(series))
        return owned.time.unreached if owned is not None else ()

    def _numbered(self, parsed: Parsed, rejected: dict[int, list[Rejection]]) -> NumberedRows:
        columns = self._with_slow(parsed)
        rows, new, wrong = self._located(columns, parsed)
        if not (new or wrong):
            return rows
        partition = rows.partition
        if wrong:
            misplaced = self.systems.partition[columns.system] != partition
            for message in np.unique(columns.message[misplaced]).tolist():
                right = int(self.systems.partition[columns.system[columns.message == message][0]])
                detail = f"partition {int(parsed.batch.partition[message])} instead of {right}"
                detail += ": the producer's partitioner is not murmur2"
                rejected[message] = [Rejection(None, "key", Reason.MISPLACED, detail)]
            columns, partition = columns.where(~misplaced), partition[~misplaced]
        series = self.series.find(columns.system, columns.metric, columns.instance)
        if len(series) and series.min() < 0:
            series = self._add_series(columns, series)
        return NumberedRows(columns, series, partition)

    def _located(self, columns: Columns, parsed: Parsed) -> tuple[NumberedRows, int, int]:
        """And how many are of new series, or misplaced."""
        names = columns.system, columns.metric, columns.instance
        if not fits(len(self.systems.names), len(self.metrics), len(self.instances)):
            pack(*names)  # raises, if one of these does not
        series, partition = np.empty(len(columns), np.int64), np.empty(len(columns), np.int64)
        places = columns.message, parsed.batch.partition, self.systems.partition
        new, wrong = locate(names, self.series.index, places, (series, partition))
        return NumberedRows(columns, series, partition), new, wrong

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
        keys = columns.system[new], columns.metric[new], columns.instance[new]
        _, first = np.unique(pack(*keys), return_index=True)
        system, metric, instance = (part[np.sort(first)] for part in keys)  # in order of appearance
        self.add_series(system, metric, instance)
        return self.series.find(columns.system, columns.metric, columns.instance)

    def _hear(self, rows: NumberedRows) -> None:
        newest = np.full(int(rows.partition.max()) + 1, NO_TIME, np.int64)
        readings = rows.columns.system, rows.columns.time, rows.partition
        hear(readings, (self.systems.heard, self.systems.dirty), newest)
        for partition in np.flatnonzero(newest != NO_TIME).tolist():
            if partition in self.owned:
                self.owned[partition].time.read(int(newest[partition]))

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

    def _judge(self, rows: NumberedRows, judge: bool) -> Judged:
        if not len(rows.series):
            return Judged()
        readings = Readings(rows.series, rows.columns.time, rows.columns.value)
        if judge:
            return judge_batch(self.series, readings, self._intervals_of)
        return self._only_order(readings)

    def _only_order(self, readings: Readings) -> Judged:
        """Nothing is out of bounds: only the order of readings moves on, and what is in windows."""
        table = self.series
        size = table.size
        shortcuts = table.low, table.high, table.deadline, table.silence
        table.low, table.high = np.full(len(table.low), -np.inf), np.full(len(table.high), np.inf)
        table.deadline, table.silence = np.full(len(table.low), NEVER), np.full(len(table.low), NO_SILENCE)
        windowed = np.array([plan is not None and plan.windowed for plan in self._plans], np.bool_)
        if windowed.any():  # those that are no columns yet, or never, go in one by one
            table.rings.extend(size)
            alone = windowed[table.metric[:size]] & (table.rings.base[:size] < 0)
            table.low[:size][alone] = np.inf
            table.rings.draw_all(-np.inf, np.inf)
        try:
            return judge_batch(table, readings, self._intervals_of, remember_reading)
        finally:
            table.low, table.high, table.deadline, table.silence = shortcuts
            table.rings.draw_all(np.inf, -np.inf)

    def _intervals_of(self, series: int) -> Intervals:
        plan = self.plan_of(series)
        return plan.intervals if plan is not None else _UNWATCHED

    def _count(self, judged: Judged, rows: NumberedRows, parsed: Parsed) -> None:
        self.counts.evaluated += len(rows.series)
        self.counts.late += judged.late
        self.counts.repeated += judged.repeated
        self.counts.ahead += parsed.ahead

    def take_counts(self) -> Counts:
        """Since the last call."""
        counts, self.counts = self.counts, Counts()
        return counts

    # --- changes ---

    def newly_off(self) -> list[tuple[str, str]]:
        """Sensors that could not be judged and are not asked any more, since the last call: name, why."""
        found = dict(self.plan.broken)
        for plan in self.plan.metrics.values():
            for intervals in plan.all_intervals():
                found.update({plan.sensors[place].id: why for place, why in intervals.off.items()})
        new = [(self.plan.sensor_names.get(id_, id_), why) for id_, why in found.items() if id_ not in self.off]
        self.off = set(found)
        return new

    # --- time ---

    def fire_timers(self, now: Mapping[int, int], *, including: bool = False) -> Output:
        """Fire what is due before "now", or at it, too; by partition. In order of due times."""
        output = Output()
        self._note_pauses()
        found = judge_timers(self.series, self._due(now, including), self._intervals_of, including)
        for series, moved in sorted(found, key=lambda item: item[1].due or 0):
            self.publish(series, moved, None, output)
        for series in dict.fromkeys(series for series, _ in found):
            self.write_states(series, output)
        return output

    def _due(self, now: Mapping[int, int], including: bool) -> Iterator[tuple[int, int]]:
        """Series in which a timer may be due, with their "now"."""
        table = self.series
        size = table.size
        if not size:
            return
        limits = np.full(self.partitions, NO_TIME, np.int64)
        for partition, time in now.items():
            limits[partition] = time + including
        limit = limits[self.systems.partition[table.system[:size]]]
        waiting = table.due[:size] < limit
        if table.silences:
            waiting |= (table.newest[:size] + table.silence[:size] < limit) & (table.newest[:size] != NO_TIME)
        for series in np.flatnonzero(waiting).tolist():
            yield series, now[self.partition_of(series)]

    # --- configuration ---

    def replan(self, plan: Plan) -> Output:
        """A sensor that is edited or deleted starts over: what was triggered is published as clear."""
        output = Output()
        names = {**self.plan.sensor_names, **plan.sensor_names}
        both = self.take_plan(plan)
        self._move_windows(both)
        for series in sorted(self.series.states):
            before, after = both[int(self.series.metric[series])]
            if before is not None and differ(before, after):
                states = sorted(self.series.states.pop(series).items())
                there = before.on(self.describe(series)[0])
                rows = [sensor_row(there.sensors[place], state) for place, state in states]
                self._set_states(series, rows, names, output)
        self.draw_deadlines()
        self.population.replan(plan)
        return output

    def _move_windows(self, both: Sequence[tuple[MetricPlan | None, MetricPlan | None]]) -> None:
        """Windows of sensors that stay go on; the others begin anew, empty."""
        table = self.series
        for series in {*table.windows, *table.rings.numbers()}:
            before, after = both[int(table.metric[series])]
            if before is None or not differ(before, after):
                continue
            windows = table.windows.pop(series, {})
            if table.rings.has(series):
                windows[int(table.rings.place[series])] = table.rings.window(series)
                table.rings.drop(series)
            places = after.places if after is not None else {}
            moved = {
                places[key]: windows[place]
                for key, place in before.places.items()
                if place in windows and key in places
            }
            if moved:
                table.windows[series] = moved

    def finish_restoring(self) -> None:
        """All rows are taken in."""
        self.population.grow(self.systems.size)
        self._close_windows()
        self.draw_deadlines()

    def _close_windows(self) -> None:
        """Tumbling windows that were judged after the checkpoint."""
        for series, windows in self.series.windows.items():
            states = self.series.states.get(series, {})
            for place, window in windows.items():
                if isinstance(window, Tumbling) and place in states:
                    window.close_until(max(states[place].judged_at, states[place].closed))

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
                states[place] = state_of(row)
        self.series.stance[series] = NO_STANCE
        if states:
            self.series.states[series] = states
        for row in gone:
            state = state_of(row)
            if shown(state) != SHOWN_CLEAR:
                owned = self.owned.get(self.partition_of(series))
                now = owned.time.now if owned is not None else row.since
                change = change_to_clear(row, state, self.describe(series), now, ("edited", names))
                output.changes.append(change)
            self.stand(row.id, series, Standing(), output)
        if gone:
            self.write_states(series, output)
