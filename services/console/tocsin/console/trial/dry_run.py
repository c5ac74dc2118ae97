"""A rule tried on the readings that are still in Kafka: the back-test's own run, bounded in rows and time."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Iterator

import numpy as np

from tocsin.console.trial.dry_run_job import (
    BUCKETS,
    MAX_ACTIVATIONS,
    MAX_CHANGES,
    MAX_CURVES,
    MAX_SYSTEMS,
    Active,
    Change,
    Curve,
    Job,
    Outcome,
    Points,
    SensorFigures,
)
from tocsin.console.trial.topic import FromTopic, Portion, read_topic
from tocsin.evaluator.backtest.events import Event, NotificationEvent, SensorEvent
from tocsin.evaluator.backtest.recording import Recording
from tocsin.evaluator.backtest.run import Run
from tocsin.evaluator.backtest.summary import Span, Summary
from tocsin.evaluator.detector.columns import Known
from tocsin.evaluator.detector.settings import DetectorSettings
from tocsin.shared.times import format_rfc3339

READING_SHARE = 0.6
"""Of the time there is; the rest is for judging."""


class _LateError(Exception):
    """The time is up."""


class _Deadline:
    def __init__(self, seconds: float) -> None:
        self._at = time.monotonic() + seconds

    def passed(self) -> bool:
        return time.monotonic() > self._at

    def check(self, count: int = 0) -> None:
        if self.passed():
            raise _LateError


def dry_run(settings: DetectorSettings, job: Job) -> Outcome:
    """Read, judge, gather. Raises BrokerError, TopicError."""
    deadline = _Deadline(job.seconds)
    run = Run(job.configuration)
    portion = Portion(total=job.readings, stopping=_Deadline(job.seconds * READING_SHARE).passed)
    found = read_topic(settings, job.since, run.known, portion=portion)
    recording = found.recording()
    gathered = _Gathered(job)
    late = False
    try:
        for event in _events(run, recording, job, deadline):
            gathered.add(event)
    except _LateError:
        late = True
    span = run.span or Span(job.now, job.now)
    gathered.summary.finish(span, run.watched())
    cut = tuple(_cuts(job, found, span.end if late else None))
    start = max(job.since, found.since)
    return gathered.outcome(run.known, recording, (start, span.end), found.refused, cut)


def _events(run: Run, recording: Recording, job: Job, deadline: _Deadline) -> Iterator[Event]:
    yield from run.events(recording, deadline.check)
    if run.span is not None:
        yield from run.until(job.now)  # what waits for time to pass comes live without another reading


def _cuts(job: Job, found: FromTopic, judged_until: int | None) -> Iterator[str]:
    if found.since > job.since:
        yield f"there are more than {job.readings:,} messages: those that arrived since {_at(found.since)} were read"
    if found.until is not None:
        yield f"reading took too long: what arrived after {_at(found.until)} was left out"
    if judged_until is not None:
        yield f"judging took too long: it ends at {_at(judged_until)}"


def _at(time_ms: int) -> str:
    return format_rfc3339(time_ms)[:19].replace("T", " ") + " UTC"


class _Gathered:
    """What came of it: the newest of each list, and figures of all."""

    def __init__(self, job: Job) -> None:
        configuration = job.configuration
        self._metrics = [one.metric for one in configuration.sensors.values()]
        self._notification = next(iter(configuration.notifications.values()), None)
        self.summary = Summary(
            [one.name for one in configuration.sensors.values()],
            [one.name for one in configuration.notifications.values()],
        )
        self._changes: deque[Change] = deque(maxlen=MAX_CHANGES)
        self._changed: Counter[tuple[str, str | None]] = Counter()
        self._active: deque[Active] = deque(maxlen=MAX_ACTIVATIONS)
        self._activations = 0

    def add(self, event: Event) -> None:
        self.summary.add(event)
        match event:
            case SensorEvent():
                self._changed[event.system, event.instance] += 1
                where = (event.time, event.system, event.instance)
                self._changes.append(Change(*where, event.state, event.level, event.value))
            case NotificationEvent(state="activated"):
                self._activations += 1
                systems = event.systems[:MAX_SYSTEMS]
                self._active.append(Active(event.time, None, event.matched, event.reporting, systems))
            case NotificationEvent(state="resolved" | "dismissed"):
                last = self._active.pop()
                self._active.append(Active(last.start, event.time, last.matched, last.reporting, last.systems))
            case _:
                pass  # a reminder

    def outcome(
        self, known: Known, recording: Recording, span: tuple[int, int], refused: int, cut: tuple[str, ...]
    ) -> Outcome:
        notification = self.summary.notifications.get(self._notification.name) if self._notification else None
        return Outcome(
            since=span[0],
            until=span[1],
            readings=len(recording),
            refused=refused,
            cut=cut,
            sensors=tuple(
                SensorFigures(
                    one.name, len(one.times), one.open, one.total, one.longest, one.series, tuple(one.noisiest())
                )
                for one in self.summary.sensors.values()
            ),
            change_count=self._changed.total(),
            # A window that waits for late readings is told of afterwards.
            changes=tuple(sorted(self._changes, key=lambda one: one.time)),
            activation_count=self._activations,
            activations=tuple(self._active),
            active_for=notification.total if notification else 0,
            curves=() if self._notification else _curves(known, recording, self._metrics[0], self._changed),
        )


def _curves(
    known: Known, recording: Recording, metric: str, changed: Counter[tuple[str, str | None]]
) -> tuple[Curve, ...]:
    """Of series of the metric, those that changed most first, then the highest."""
    rows = recording.rows
    of_metric = np.flatnonzero(rows.metric == known.metrics.numbers.get(metric, -1))
    if not len(of_metric):
        return ()
    series = rows.system[of_metric] * (len(known.instances.names) + 1) + rows.instance[of_metric] + 1
    keys, owner = np.unique(series, return_inverse=True)
    highest = np.full(len(keys), -np.inf)
    np.maximum.at(highest, owner, rows.value[of_metric])
    names = [_series_name(known, int(key)) for key in keys]
    order = sorted(range(len(keys)), key=lambda at: (-changed[names[at]], -highest[at], names[at][0]))
    found = []
    for at in order[:MAX_CURVES]:
        its = of_metric[owner == at]
        found.append(Curve(*names[at], _thinned(rows.time[its], rows.value[its])))
    return tuple(found)


def _series_name(known: Known, key: int) -> tuple[str, str | None]:
    system, instance = divmod(key, len(known.instances.names) + 1)
    return known.systems.names[system], known.instances.names[instance - 1] if instance else None


def _thinned(times: np.ndarray, values: np.ndarray) -> Points:
    order = np.argsort(times, kind="stable")
    times, values = times[order], values[order]
    if len(times) <= 2 * BUCKETS:
        return tuple(zip(times.tolist(), values.tolist(), strict=True))
    edges = np.linspace(times[0], times[-1] + 1, BUCKETS + 1)
    kept: set[int] = {0, len(times) - 1}
    starts = np.searchsorted(times, edges)
    for start, end in zip(starts[:-1].tolist(), starts[1:].tolist(), strict=True):
        if end > start:
            part = values[start:end]
            kept |= {start + int(part.argmin()), start + int(part.argmax())}
    rows = sorted(kept)
    return tuple(zip(times[rows].tolist(), values[rows].tolist(), strict=True))
