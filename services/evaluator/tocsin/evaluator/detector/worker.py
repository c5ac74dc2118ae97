"""The working thread: batches in, transactions out.

For each batch: take it in. When the writer is free: what has been taken in goes out as one transaction, with its
tallies. Once a second a tick lets time pass. Any failure of a transaction: begin anew from what is committed.
"""

from __future__ import annotations

from typing import Any, assert_never

from confluent_kafka import KafkaException

from tocsin.evaluator.core.plan import make_plan
from tocsin.evaluator.detector.checkpoint import checkpoint, partition_row
from tocsin.evaluator.detector.ends import Ends
from tocsin.evaluator.detector.engine import Engine
from tocsin.evaluator.detector.forgetting import forget_named, forget_silent
from tocsin.evaluator.detector.inbox import Assignment, Inbox, Revocation
from tocsin.evaluator.detector.output import Output
from tocsin.evaluator.detector.parsing import Parsed
from tocsin.evaluator.detector.restoring import Restorer
from tocsin.evaluator.detector.settings import DetectorSettings
from tocsin.evaluator.detector.state_reader import StateReader
from tocsin.evaluator.detector.systems import MatchedSystems, read_published
from tocsin.evaluator.detector.tallies import TallyCounter
from tocsin.evaluator.detector.writer import Job, Writer
from tocsin.shared.clock import Clock
from tocsin.shared.configuration.follower import ConfigurationSource
from tocsin.shared.errors import BrokerError, TopicError
from tocsin.shared.lifecycle import Lifecycle
from tocsin.shared.telemetry import metrics
from tocsin.shared.telemetry.health import Health
from tocsin.shared.telemetry.logs import logger
from tocsin.shared.topics import NOTIFICATION_SYSTEMS

TICK = 1.0
IDLE = 0.05
"""Seconds the worker waits for an item before it looks at the clock and the configuration."""

WRITING = 0.002
"""The same while something waits for the writer to be free."""

PARTITION_ROWS_EVERY = 10.0
"""Seconds between rows of a quiet partition: how much of its time a crash may forget."""

MOST_CHANGES = 50_000
"""Of one transaction, so that its memory is bounded where every reading changes something."""

FORGET_EVERY = 60.0
"""Seconds between looks for systems that have not been heard for so long that they are forgotten."""

GIVE_UP_AFTER = 5.0
"""Seconds after the wish to stop during which a broker that does not answer is still waited for."""

log = logger(__name__)


class Worker:
    """Runs in the main thread until the inbox is closed."""

    def __init__(
        self,
        settings: DetectorSettings,
        partitions: int,
        configuration: ConfigurationSource,
        clock: Clock,
        health: Health,
        lifecycle: Lifecycle,
    ) -> None:
        self._settings = settings
        self._configuration = configuration
        self._clock = clock
        self._health = health
        self._stopping = lifecycle.stopping.is_set
        self._stop_seen_at: float | None = None
        self._writer = Writer(settings, clock, self._give_up, lifecycle.at)
        self._ends = Ends(settings, clock)
        self._inbox = Inbox(settings, partitions, lambda: self._engine.known, clock)
        self._reader = StateReader(settings, self._leaving)
        self._restorer = Restorer(settings, partitions, self._reader)
        self._systems = MatchedSystems()
        self._engine = Engine(make_plan(configuration.current), partitions)
        self._tallies = TallyCounter(self._engine)
        self._generation = -1  # of the engine; -1: there is none
        self._metadata: Any = None
        self._pending = Output()
        self._pending_readings = 0
        self._taken_at: float | None = None
        self._next_tick = self._last_checkpoint = self._last_rows = clock.monotonic()
        self._last_forgotten = clock.monotonic()
        self._read_since = 0

    def run(self) -> None:
        """Raises what no retry helps against."""
        self._writer.start()
        self._first_producer()
        self._ends.start()
        self._inbox.start()
        while not self._inbox.closed:
            if self._leaving():
                self._inbox.stop()
            if self._stop_seen_at is not None and self._waited() > self._settings.shutdown_grace / 1000:
                log.warning("left without draining")
                break
            self._step()
        if self._inbox.failure is not None:
            raise self._inbox.failure
        self._writer.close()
        self._ends.close()

    def _leaving(self) -> bool:
        if self._stop_seen_at is None and self._stopping():
            self._stop_seen_at = self._clock.monotonic()
        return self._stop_seen_at is not None

    def _waited(self) -> float:
        assert self._stop_seen_at is not None
        return self._clock.monotonic() - self._stop_seen_at

    def _give_up(self) -> bool:
        return self._leaving() and self._waited() > GIVE_UP_AFTER

    def _step(self) -> None:
        wait = IDLE if self._pending.empty else WRITING
        item = self._inbox.next(min(wait, max(0.0, self._next_tick - self._clock.monotonic())))
        try:
            match item:
                case Parsed():
                    self._take(item)
                case Assignment():
                    self._assigned(item)
                case Revocation():
                    self._revoked(item)
                case None:
                    self._replan()
                case _:
                    assert_never(item)
            if self._current:
                if self._clock.monotonic() >= self._next_tick:
                    self._tick()
                elif not self._pending.empty and (self._writer.idle or self._is_full):
                    self._submit()
        except TopicError:
            raise
        except (KafkaException, BrokerError) as error:
            self._failed(error)

    @property
    def _current(self) -> bool:
        return self._generation >= 0 and self._generation == self._inbox.generation

    @property
    def _is_full(self) -> bool:
        return self._pending_readings >= self._settings.detector_batch or len(self._pending.changes) >= MOST_CHANGES

    # --- readings ---

    def _take(self, parsed: Parsed) -> None:
        if parsed.batch.generation != self._generation or not self._current:
            return
        self._replan()
        self._pending.merge(self._engine.take(parsed))
        self._pending_readings += parsed.work
        self._read_since += parsed.work
        if self._taken_at is None:
            self._taken_at = parsed.batch.taken_at

    def _replan(self) -> None:
        """Between two batches a new configuration takes effect."""
        configuration = self._configuration.current
        if not self._current or configuration.change == self._engine.plan.change:
            return
        before = dict.fromkeys(self._engine.owned, self._engine.plan.change)
        self._pending.merge(self._engine.replan(make_plan(configuration)))
        self._pending.merge(forget_named(self._engine, before))
        if self._engine.windowed:
            # Or a start would read older readings into the windows of a sensor that began only now.
            checkpoint(self._engine, self._pending)
        for partition in self._engine.owned:
            partition_row(self._engine, partition, self._pending)
        log.info("configuration in effect", change=configuration.change, sensors=len(configuration.sensors))

    def _submit(self, tick: bool = False) -> None:
        """All that is pending, with what may be said once it is committed."""
        output, now = self._pending, self._clock.monotonic()
        for partition in output.offsets:
            partition_row(self._engine, partition, output)
        due = now - self._last_checkpoint >= self._settings.detector_checkpoint_every / 1000
        if due or self._read_since >= self._settings.detector_checkpoint_readings:
            checkpoint(self._engine, output)
            self._last_checkpoint, self._read_since = now, 0
        tallies = self._tallies.take(self._tallies.due(now, tick), self._clock.now_ms())
        if tick:
            self._write_systems(output)
        if not output.empty:
            # With offsets the group's generation is checked: who was frozen and has lost its partitions writes nothing.
            for at, owned in self._engine.owned.items():
                output.offsets.setdefault(at, owned.next_offset)
        if not output.empty or tallies:
            job = Job(output, self._metadata, tallies, self._engine.take_counts(), self._taken_at)
            self._start_pending()
            self._writer.submit(job)
            metrics.DETECTOR_SERIES.set(self._engine.series.size)

    def _write_systems(self, output: Output) -> None:
        names = self._engine.systems.names.names
        now = {at: owned.time.now for at, owned in self._engine.owned.items()}
        output.systems += self._systems.changes(self._tallies.matched(), names, now)

    def _start_pending(self) -> None:
        self._pending, self._pending_readings, self._taken_at = Output(), 0, None

    # --- time ---

    def _tick(self) -> None:
        now, wall = self._clock.monotonic(), self._clock.now_ms()
        self._next_tick = now + TICK
        for partition, owned in self._engine.owned.items():
            end = self._ends.newest.get(partition)
            if end is not None:
                owned.time.alive(end[1])
            at_end = end is not None and owned.next_offset >= end[0]
            owned.time.carry(wall, end[1] if end is not None and at_end else None)
        live = {at: owned.time.now for at, owned in self._engine.owned.items() if owned.time.is_live}
        self._pending.merge(self._engine.fire_timers(live))
        if now - self._last_forgotten >= FORGET_EVERY:
            self._last_forgotten = now
            self._pending.merge(forget_silent(self._engine))
        for sensor, why in self._engine.newly_off():
            log.error("sensor switched off: it cannot be judged", sensor=sensor, why=why)
        metrics.SENSORS_OFF.set(len(self._engine.off))
        if now - self._last_rows >= PARTITION_ROWS_EVERY or self._tallies.due(now, tick=True):
            # What a tally says must be the same after a crash, so the time it was counted at is written first.
            self._last_rows = now
            for partition in self._engine.owned:
                partition_row(self._engine, partition, self._pending)
        self._submit(tick=True)

    # --- assignment ---

    def _assigned(self, assignment: Assignment) -> None:
        self._generation = -1
        self._start_pending()
        try:
            self._settle_writer()
            self._writer.renew()
            now_ms = self._clock.now_ms()
            engine, output = self._restorer.restore(assignment, self._configuration.current, now_ms)
            tallies = TallyCounter(engine)
            due = tallies.take(tallies.due(self._clock.monotonic(), tick=True), now_ms)
            self._writer.submit(Job(output, assignment.metadata, due))
            self._writer.wait()  # from here on no former owner can write
            topic = self._settings.topic(NOTIFICATION_SYSTEMS)
            self._systems = MatchedSystems(read_published(self._reader, topic, engine.owned))
        except TopicError:
            raise
        except (KafkaException, BrokerError) as error:
            log.warning("state not restored", why=str(error))
            assignment.answer(None)
            return
        self._engine, self._tallies, self._metadata = engine, tallies, assignment.metadata
        self._ends.watch(engine.owned)
        self._next_tick = self._last_checkpoint = self._last_rows = self._clock.monotonic()
        self._read_since = 0
        self._generation = assignment.generation
        log.info("state restored", partitions=list(engine.owned), series=engine.series.size)
        self._health.ready("assignment")
        assignment.answer({at: owned.next_offset for at, owned in engine.owned.items()})

    def _settle_writer(self) -> None:
        """What the last assignment left there has ended, well or not: the broker knows which."""
        try:
            self._writer.wait()
        except (KafkaException, BrokerError) as error:
            log.info("the last transaction of the former assignment failed", why=str(error))

    def _revoked(self, revocation: Revocation) -> None:
        try:
            if revocation.generation == self._generation and self._current:
                checkpoint(self._engine, self._pending)
                self._submit()
            self._writer.wait()
        except (KafkaException, BrokerError) as error:
            log.warning("not everything was committed before the partitions went", why=str(error))
        self._generation = -1
        self._start_pending()
        self._ends.watch(())
        self._health.waiting("assignment", "no partitions")
        revocation.done.set()

    # --- failure ---

    def _failed(self, error: Exception) -> None:
        """Nobody knows what of the last transaction counts: ask the broker, and begin anew."""
        log.warning("beginning anew from what is committed", why=str(error))
        self._health.waiting("assignment", "beginning anew")
        self._generation = -1
        self._inbox.rewind()

    def _first_producer(self) -> None:
        """As soon as there is a broker: it ends what a dead process of our name left open."""
        while not self._leaving():
            try:
                self._writer.renew()
                return
            except KafkaException as error:
                log.warning("no transactions yet; trying again", why=str(error))
