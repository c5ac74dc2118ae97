"""A run: readings in, chunk by chunk; what the detector and the activator would have published comes out in order.

1. A chunk ends with an instant, never inside one.
2. The detector's engine takes it as it takes a batch from Kafka: the same code, so its changes cannot differ.
3. Each notification is judged once per instant, after the instant's readings and timers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from heapq import merge

import numpy as np

from tocsin.evaluator.backtest.crowd import Chunk, Crowd, Retag, Switch
from tocsin.evaluator.backtest.events import Event, SensorEvent
from tocsin.evaluator.backtest.judge import CoreJudge
from tocsin.evaluator.backtest.notifications import Follower
from tocsin.evaluator.backtest.recording import Block, Recording
from tocsin.evaluator.backtest.reporting import Rows
from tocsin.evaluator.backtest.summary import Span
from tocsin.evaluator.core.notification import Rulebook
from tocsin.evaluator.core.plan import make_plan
from tocsin.evaluator.detector.batch import Batch
from tocsin.evaluator.detector.columns import Columns, Ints, Known
from tocsin.evaluator.detector.engine import Counts, Engine, Partition
from tocsin.evaluator.detector.forgetting import forget_silent
from tocsin.evaluator.detector.output import Change, Output, Stood
from tocsin.evaluator.detector.parsing import Parsed, SlowReading
from tocsin.shared.configuration.snapshot import Configuration
from tocsin.shared.readings import GoodReading

_MANY_NEW, _SMALLER = 20, 8
"""More than one new series in so many readings makes chunks so many times smaller."""

CHUNK = 1 << 17
"""Readings taken at once: enough for columns to pay, little enough to stay in the cache."""


class Run:
    """One try of a configuration. Readings must be numbered with the names of `known`."""

    def __init__(self, configuration: Configuration, chunk: int = CHUNK) -> None:
        plan = self._plan = make_plan(configuration)
        self._engine = Engine(plan, partitions=1)
        self._engine.owned[0] = Partition()
        name_of = self._engine.systems.names.names.__getitem__
        self._crowd = Crowd(plan, name_of)
        book = Rulebook.of(configuration, "")
        self._followers = {
            id_: Follower(CoreJudge(book.rules[id_], book.tenant_id), name_of) for id_ in plan.notifications
        }
        self._chunk = chunk
        self._span: Span | None = None
        self._new_series = chunk  # in the last chunk
        self._began = np.zeros(0, np.int64)  # instant of the first reading, by series

    @property
    def known(self) -> Known:
        return self._engine.known

    def events(self, recording: Recording, on_taken: Callable[[int], None] = lambda count: None) -> Iterator[Event]:
        """Everything, in order of the instants at which it became known. May be called once.

        `on_taken` is told how many readings have been judged.
        """
        end = 0
        while end < len(recording):
            start, end = end, self._chunk_end(recording.clock, end)
            until = int(recording.clock[end - 1])
            if (forgotten := self._forgotten_at(recording, start, end, until)) is not None:
                end, until = int(np.searchsorted(recording.clock, forgotten, side="right")), forgotten
            yield from self._take(recording, start, end, until)
            self._span = Span(int(recording.clock[0]) if self._span is None else self._span.start, until)
            on_taken(end)

    def until(self, time: int) -> Iterator[Event]:
        """Let time pass up to and with this instant, without a reading."""
        if self._span is None:
            self._span = Span(time, time)
        nothing = Recording.by_time([])
        while time > self._span.end:
            forgotten = self._forgotten_at(nothing, 0, 0, time)
            until = time if forgotten is None else forgotten
            yield from self._take(nothing, 0, 0, until)
            self._span = Span(self._span.start, until)

    @property
    def in_order(self) -> bool:
        """Whether events come in order of their times; a window that waits for late readings is told of afterwards."""
        plans = self._plan.metrics.values()
        return not any(rule.lag for plan in plans for intervals in plan.all_intervals() for rule in intervals.rules)

    @property
    def span(self) -> Span | None:
        """From the first to the last instant; None before the first reading."""
        return self._span

    def watched(self) -> dict[str, tuple[int, int]]:
        """By sensor: how many series it has, and for how long (ms) all of them together have been there."""
        if self._span is None:
            return {}
        found: dict[str, tuple[int, int]] = {}
        table = self._engine.series
        metric = table.metric[: table.size]
        for number, name in enumerate(self._engine.metrics.names):
            if (plan := self._plan.metrics.get(name)) is not None:
                began = self._began[np.flatnonzero(metric == number)]
                length = int((self._span.end - began).sum())
                for sensor in plan.sensors:
                    found[sensor.name] = len(began), length
        return found

    def counts(self) -> Counts:
        """Readings judged, late and repeated."""
        return self._engine.counts

    def _take(self, recording: Recording, start: int, end: int, until: int) -> Iterator[Event]:
        rows, clock = _cut(recording.rows, start, end), recording.clock[start:end]
        heard = self._heard()
        output = self._engine.take(_parsed(rows, start, self.known))
        output.merge(self._engine.fire_timers({0: until}, including=True))
        output.merge(self._forget(until))
        self._note_new_series(rows, clock)
        changes = [(self._instant(change, recording.clock), change) for change in output.changes]
        changes.sort(key=lambda item: (item[0], item[1].place is None))
        sensors: list[tuple[int, Event]] = [(time, _sensor_event(change)) for time, change in changes]
        notifications = self._judge(rows, (clock, until), heard, self._switches(output.stood, recording.clock, until))
        for _, event in merge(sensors, notifications, key=lambda item: item[0]):
            yield event

    def _note_new_series(self, rows: Block, clock: Ints) -> None:
        table, known = self._engine.series, len(self._began)
        self._new_series = table.size - known
        if table.size > known:
            series = table.find(rows.system, rows.metric, rows.instance)
            first = np.zeros(table.size, np.int64)
            first[series[::-1]] = clock[::-1]
            self._began = np.concatenate([self._began, first[known:]])

    def _chunk_end(self, clock: Ints, start: int) -> int:
        """Where the chunk that begins here ends: with an instant.

        The first reading of a series is looked at singly, and all others of that series in the same chunk with it:
        while there are many new series, chunks are small.
        """
        # Nobody can be forgotten between two readings of one chunk.
        last = int(np.searchsorted(clock, clock[start] + self._plan.forget_after, side="left"))
        size = self._chunk if self._new_series * _MANY_NEW < self._chunk else self._chunk // _SMALLER
        end = min(start + max(1, size), max(start + 1, last), len(clock))
        return int(np.searchsorted(clock, clock[end - 1], side="right"))

    def _forgotten_at(self, recording: Recording, start: int, end: int, until: int) -> int | None:
        """The first instant up to `until` at which a system has not been heard for so long that it is forgotten."""
        table = self._engine.series
        if not table.states:
            return None
        systems = np.unique(table.system[list(table.states)])
        due = self._engine.systems.heard[systems] + self._plan.forget_after
        found = []
        for system, at in zip(systems[due <= until].tolist(), due[due <= until].tolist(), strict=True):
            rows = np.flatnonzero(recording.rows.system[start:end] == system)
            if not len(rows) or int(recording.clock[start + rows[0]]) > at:
                found.append(at)
        return min(found, default=None)

    def _forget(self, until: int) -> Output:
        """As of this instant."""
        time = self._engine.owned[0].time
        time.now, time.carried_at = max(time.now, until), until  # all has been read up to here
        output = forget_silent(self._engine)
        time.carried_at = None
        return output

    def _heard(self) -> Ints:
        systems = self._engine.systems
        systems.adopt()  # names that the readers have learned
        return systems.heard[: systems.size].copy()

    def _instant(self, change: Change, clock: Ints) -> int:
        if change.due is not None:
            return change.due
        return change.time if change.place is None else int(clock[change.place[1]])

    def _switches(self, stood: Sequence[Stood], clock: Ints, until: int) -> list[Switch]:
        found = []
        for one in stood:
            time = until if one.due is None else one.due
            if one.place is not None:
                time = int(clock[one.place[1]])
            found.append(Switch(time, one.sensor_id, one.system, one.instance, one.standing))
        found.sort(key=lambda switch: switch.time)
        return found

    def _judge(
        self, rows: Block, times: tuple[Ints, int], heard: Ints, switches: Sequence[Switch]
    ) -> list[tuple[int, Event]]:
        if not self._followers:
            return []
        clock, until = times
        retags = [
            Retag(int(clock[row]), int(rows.system[row]), at, tags) for row, (at, tags) in sorted(rows.tags.items())
        ]
        after = self._engine.systems.heard[: len(heard)]
        chunk = Chunk(Rows.of(rows.system, rows.time, clock, heard), after, until, switches, retags)
        events: list[tuple[int, Event]] = [
            (event.time, event)
            for id_, counts in self._crowd.advance(chunk).items()
            for event in self._followers[id_].advance(counts, until)
        ]
        events.sort(key=lambda item: item[0])
        return events


def _cut(rows: Block, start: int, end: int) -> Block:
    tags = {row - start: tags for row, tags in rows.tags.items() if start <= row < end}
    part = slice(start, end)
    return Block(rows.system[part], rows.metric[part], rows.instance[part], rows.value[part], rows.time[part], tags)


def _parsed(rows: Block, first: int, known: Known) -> Parsed:
    """The chunk as the parsing thread hands batches over. Readings with tags go the way of such."""
    count = len(rows)
    columns = Columns(
        np.arange(count),
        np.zeros(count, np.int64),
        rows.system,
        rows.metric,
        rows.instance,
        rows.value,
        rows.time,
    )
    slow = [_with_tags(rows, row, known) for row in sorted(rows.tags)]
    if slow:
        plain = np.ones(count, np.bool_)
        plain[list(rows.tags)] = False
        columns = columns.where(plain)
    return Parsed(
        batch=Batch.of_rows(first, count),
        columns=columns,
        slow=slow,
        rejected=[],
        next_offsets={},
    )


def _with_tags(rows: Block, row: int, known: Known) -> SlowReading:
    instance = int(rows.instance[row])
    tags_at, tags = rows.tags[row]
    reading = GoodReading(
        system=known.systems.names[int(rows.system[row])],
        metric=known.metrics.names[int(rows.metric[row])],
        instance=None if instance < 0 else known.instances.names[instance],
        value=float(rows.value[row]),
        time=int(rows.time[row]),
        tags=dict(tags),
    )
    return SlowReading(row, 0, reading, reading.time, tags_at)


def _sensor_event(change: Change) -> SensorEvent:
    return SensorEvent(
        change.time, change.sensor, change.system, change.instance, change.state, change.level, change.value
    )
