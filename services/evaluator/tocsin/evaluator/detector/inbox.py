"""The consuming thread and the parsing thread. Only the first touches the consumer.

1. On an assignment the consuming thread asks for the committed offsets, hands them to the worker, and waits, fetching
   nothing, until the worker has restored its state and says where to begin.
2. Batches go through the parser to the worker, which is asked to begin anew (`rewind`) when a transaction failed.
3. The process's name is its place in the group: started again after a crash, it has its partitions at once. When it
   stops it gives them up; when another process takes its name, it ends.
4. On a revocation the worker gets the time to commit what it has been handed. Whatever comes from an older
   generation after that is dropped.
"""

from __future__ import annotations

import itertools
import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from confluent_kafka import Consumer, KafkaException, TopicPartition

from tocsin.evaluator.detector.batch import Batch
from tocsin.evaluator.detector.columns import Known
from tocsin.evaluator.detector.intake import Intake, StrayMessageError, open_intake
from tocsin.evaluator.detector.membership import is_taken
from tocsin.evaluator.detector.parsing import Parsed, Parser
from tocsin.evaluator.detector.settings import DetectorSettings
from tocsin.shared import kafka
from tocsin.shared.clock import Clock
from tocsin.shared.errors import FencedError
from tocsin.shared.telemetry.logs import logger
from tocsin.shared.topics import SENSOR_READINGS

REVOKE_WITHIN = 8.0
"""Seconds the worker has to commit what it holds before the partitions go."""

ASKED_WITHIN = 10.0
RETRY_AFTER = 1.0
AT_ONCE = 16_384
"""Messages of one batch, when they are single readings."""

AT_ONCE_BYTES = 1_700_000
"""The same in bytes, for reports: few enough to stay in the processor's cache from thread to thread."""

FEWEST = 256
"""Messages of one batch, however large the last ones were."""

FETCHED = 100_000
"""Messages the client fetches ahead: six batches."""

QUEUED_BATCHES = 3
"""Between two threads: enough to keep both busy, and the memory they may take is bounded."""

FETCH_BACKOFF_MS = 2
"""How long the client waits before it fetches on when its queue was full. Its default of a second is a second of
standing still whenever the queue has been full: it is emptied in less."""

log = logger(__name__)


@dataclass
class Assignment:
    """These partitions are ours. `offsets`: committed, None where nothing was ever committed."""

    generation: int
    offsets: dict[int, int | None]
    metadata: Any
    start: dict[int, int] | None = None  # what the worker answers; None: it could not
    answered: threading.Event = field(default_factory=threading.Event)

    def answer(self, start: dict[int, int] | None) -> None:
        self.start = start
        self.answered.set()


@dataclass
class Revocation:
    """Everything before this has been handed over; commit it and forget the partitions."""

    generation: int
    done: threading.Event = field(default_factory=threading.Event)


Item = Parsed | Assignment | Revocation


class Inbox:
    """`next` gives the worker its items, in order."""

    def __init__(self, settings: DetectorSettings, partitions: int, known: Callable[[], Known], clock: Clock) -> None:
        self._settings = settings
        self._clock = clock
        self._known = known
        self._topic = settings.topic(SENSOR_READINGS)
        self._parser = Parser(partitions, settings.detector_clock_ahead)
        self._batches: queue.Queue[Batch | Revocation] = queue.Queue(QUEUED_BATCHES)
        self._items: queue.Queue[Item] = queue.Queue(QUEUED_BATCHES)
        self._partitions: list[int] = []
        self._assigned = False
        self._rewind_at: float | None = None
        self._rewind_wanted = threading.Event()
        self._generations = itertools.count(1)
        self.generation = 0  # the one that counts; set by both threads
        self._generation = 0  # of what is being fetched
        self._metadata: Any = None
        self._member: str | None = None  # as the group calls us
        self._intake: Intake
        self._message_size = 1  # bytes, as in the batch before
        self._stopping = threading.Event()
        self._closed = threading.Event()
        self.failure: BaseException | None = None
        self._threads = [
            threading.Thread(target=self._guard, args=(self._consume,), name="consume", daemon=True),
            threading.Thread(target=self._guard, args=(self._parse,), name="parse", daemon=True),
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def next(self, timeout: float) -> Item | None:
        """Raises what has ended a thread."""
        if self.failure is not None:
            raise self.failure
        try:
            return self._items.get(timeout=timeout)
        except queue.Empty:
            return None

    def rewind(self) -> None:
        """Begin anew from what is committed; until then, what comes is of an older generation."""
        self.generation = next(self._generations)
        self._rewind_wanted.set()

    def stop(self) -> None:
        """Leave the group; the worker goes on taking items until `closed`."""
        self._stopping.set()

    @property
    def closed(self) -> bool:
        return self._closed.is_set()

    def join(self, timeout: float) -> None:
        for thread in self._threads:
            thread.join(timeout)

    # --- the consuming thread ---

    def _consume(self) -> None:
        try:
            while not self._stopping.is_set():
                self._be_a_member()
        finally:
            self._closed.set()

    def _be_a_member(self) -> None:
        """Until told to stop, or to join anew. Raises FencedError when our name is another's now."""
        client_id = f"tocsin-detector-{self._settings.instance}"
        consumer = kafka.consumer(
            self._settings.kafka,
            self._settings.group,
            enable_partition_eof=True,
            partition_assignment_strategy="range",
            max_poll_interval_ms=600_000,
            fetch_max_bytes=32 << 20,
            fetch_wait_max_ms=self._settings.detector_linger,
            queued_min_messages=min(2 * self._settings.detector_batch, FETCHED),
            queued_max_messages_kbytes=64 << 10,
            fetch_queue_backoff_ms=FETCH_BACKOFF_MS,
            client_id=client_id,
            group_instance_id=self._settings.instance,
        )
        self._intake = open_intake(consumer, self._topic, client_id)
        consumer.subscribe([self._topic], on_assign=self._on_assign, on_revoke=self._on_revoke, on_lost=self._on_lost)
        linger = self._settings.detector_linger / 1000
        try:
            while not self._stopping.is_set():
                if self._should_rewind():
                    self._begin(consumer)
                self._take(linger)
            self._leave(consumer)
        except FencedError:
            # Also after a session that ended with the broker away: the client forgets which member it was, and asks on.
            if is_taken(self._settings, self._member, self._stopping):
                raise
            log.warning("no member of the group any more, though nobody took our place; joining anew")
            self._on_lost(consumer, [])
        finally:
            self._intake.close()
            consumer.close()

    def _leave(self, consumer: Consumer) -> None:
        """A member with a name of its own keeps its partitions when it just goes: for as long as a session lasts."""
        consumer.unsubscribe()
        until = self._clock.monotonic() + REVOKE_WITHIN
        while self._assigned and self._clock.monotonic() < until:
            consumer.poll(0.1)

    def _take(self, linger: float) -> None:
        try:
            most = min(AT_ONCE, max(FEWEST, AT_ONCE_BYTES // self._message_size))
            batch = self._intake.take(min(most, self._settings.detector_batch), linger)
        except StrayMessageError as error:
            log.warning("a message went astray; beginning anew", error=str(error))
            self._rewind_at = self._clock.monotonic()
            return
        except KafkaException as error:
            log.warning("consuming failed; trying again", error=str(error))
            self._stopping.wait(RETRY_AFTER)
            return
        if len(batch):
            self._message_size = max(1, len(batch.texts.text) // len(batch))
        if len(batch) or batch.ends:
            # The generation may have moved on while they were fetched: then nobody takes them.
            now = self._clock.monotonic()
            self._put(self._batches, replace(batch, generation=self._generation, taken_at=now))

    def _put(self, to: queue.Queue[Any], item: object) -> None:
        while True:
            try:
                to.put(item, timeout=0.5)
                return
            except queue.Full:
                if self._stopping.is_set() and not isinstance(item, Revocation):
                    return

    def _should_rewind(self) -> bool:
        if self._rewind_wanted.is_set():
            self._rewind_wanted.clear()
            self._rewind_at = self._clock.monotonic()
        if self._rewind_at is None or self._clock.monotonic() < self._rewind_at:
            return False
        self._rewind_at = None
        return self._assigned

    def _on_assign(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        self._partitions, self._assigned = [one.partition for one in partitions], True
        log.info("partitions assigned", partitions=self._partitions)
        self._begin(consumer)

    def _on_revoke(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        log.info("partitions revoked", partitions=[one.partition for one in partitions])
        revocation = Revocation(self._generation)
        self._put(self._batches, revocation)
        if not revocation.done.wait(REVOKE_WITHIN):
            log.warning("partitions left before all was committed; it will be done again by their next owner")
        self._forget()

    def _on_lost(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        log.warning("partitions lost", partitions=[one.partition for one in partitions])
        self._forget()
        self._put(self._batches, Revocation(self._generation))

    def _forget(self) -> None:
        self._partitions, self._assigned = [], False
        self._rewind_at = None
        self.generation = next(self._generations)

    def _begin(self, consumer: Consumer) -> None:
        """Let the worker restore, then fetch from where it says."""
        self.generation = next(self._generations)
        self._generation = self.generation
        try:
            consumer.assign([])
            self._metadata = consumer.consumer_group_metadata()
            self._member = consumer.memberid() or self._member
            wanted = [TopicPartition(self._topic, partition) for partition in self._partitions]
            committed = consumer.committed(wanted, ASKED_WITHIN) if wanted else []
            for one in committed:
                if one.error is not None:
                    raise KafkaException(one.error)
        except KafkaException as error:
            self._later(f"committed offsets not known: {error}")
            return
        offsets = {one.partition: one.offset if one.offset >= 0 else None for one in committed}
        assignment = Assignment(self._generation, offsets, self._metadata)
        self._put(self._items, assignment)
        while not assignment.answered.wait(0.2):
            if self._stopping.is_set():
                return
        if assignment.start is None:
            self._later("state not restored")
            return
        self._intake.route(assignment.start)
        consumer.assign([TopicPartition(self._topic, at, offset) for at, offset in assignment.start.items()])

    def _later(self, why: str) -> None:
        log.warning("cannot begin yet; trying again", why=why)
        self._rewind_at = self._clock.monotonic() + RETRY_AFTER

    # --- the parsing thread ---

    def _parse(self) -> None:
        while not (self._closed.is_set() and self._batches.empty()):
            try:
                item = self._batches.get(timeout=0.2)
            except queue.Empty:
                continue
            if isinstance(item, Revocation):
                self._put(self._items, item)
            elif item.generation == self.generation:
                self._put(self._items, self._parser.parse(item, self._known()))

    def _guard(self, run: Callable[[], None]) -> None:
        try:
            run()
        except BaseException as error:
            if not isinstance(error, FencedError):
                log.exception("a thread has ended")
            self.failure = error
            self._stopping.set()
            self._closed.set()
