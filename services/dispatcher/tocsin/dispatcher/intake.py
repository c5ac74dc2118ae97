"""The consuming thread: takes deliveries and due retries, holds back what has no room or is not due.

A partition that has no room goes on from a little that was read ahead, and is paused only when there is enough of it.
One that is not due, or has too much, is held by pausing it and seeking back to the record that could not be taken, so
that waiting costs no memory; polling goes on meanwhile.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaException, Message, TopicPartition

from tocsin.dispatcher.core.audit import Origin, Place
from tocsin.dispatcher.core.flow import MOST_WAITING
from tocsin.dispatcher.core.offsets import Progress
from tocsin.dispatcher.core.quick_delivery import decode_delivery
from tocsin.dispatcher.core.retries import jitter_ms
from tocsin.dispatcher.parked_reader import ParkedReader
from tocsin.dispatcher.partitions import Partition, PartitionKey, Partitions
from tocsin.dispatcher.sender import Sender
from tocsin.dispatcher.settings import DispatcherSettings
from tocsin.dispatcher.settler import Settler
from tocsin.dispatcher.stages.records import DUE_HEADER
from tocsin.dispatcher.stages.steps import Settled, Taken
from tocsin.dispatcher.unclaimed import Unclaimed
from tocsin.shared import kafka
from tocsin.shared.clock import Clock
from tocsin.shared.errors import CodecError
from tocsin.shared.headers import header
from tocsin.shared.telemetry import metrics
from tocsin.shared.telemetry.logs import logger
from tocsin.shared.topics import DELIVERIES, DELIVERY_PARKED, retry_topic

log = logger(__name__)

BATCH = 500
KEPT_BYTES, ENOUGH_BYTES = 2 << 20, 1 << 20
"""Of one partition that has no room, read already: at most; and from when on no more is read. Going on after a pause
costs a fetch of its own, most of which was fetched before."""

POLL_S = 0.1
COMMITTED_TIMEOUT = 15.0  # longer than a dead predecessor's transaction may stay open


@dataclass(slots=True)
class _Hold:
    """A partition that waits: where it goes on, and when (None: when there is room)."""

    offset: int
    due_ms: int | None
    sought: bool
    paused: bool
    kept: deque[Message] = field(default_factory=deque)  # read already: taken first when it goes on
    kept_bytes: int = 0


class Intake:
    """Everything here runs on the thread that calls `step`."""

    def __init__(
        self,
        settings: DispatcherSettings,
        partitions: Partitions,
        sender: Sender,
        parked: ParkedReader,
        settler: Settler,
        clock: Clock,
    ) -> None:
        self._settings = settings
        self._partitions = partitions
        self._sender = sender
        self._parked = parked
        self._settler = settler
        self._clock = clock
        self._tiers = {settings.topic(retry_topic(tier)): tier for tier in settings.retry_tiers}
        self._deliveries = settings.topic(DELIVERIES)
        self._parked_topic = settings.topic(DELIVERY_PARKED)
        self._topics = [self._deliveries, *self._tiers]
        self._held: dict[PartitionKey, _Hold] = {}
        self._joined_anew = False
        self._rejoin = False
        self._draining = False
        self._assigned = False
        admin = kafka.admin(settings.kafka)
        self._unclaimed = Unclaimed(admin, settings.dispatcher_group, self._topics, clock)
        self._consumer: Consumer = kafka.consumer(
            settings.kafka,
            settings.dispatcher_group,
            group_protocol="classic",
            partition_assignment_strategy="range",  # the same partition of every topic to the same process
            queued_max_messages_kbytes=16_384,
            queued_min_messages=5_000,
            # Of each partition: what compresses well grows many times when it is unpacked.
            fetch_message_max_bytes=1 << 20,
            fetch_wait_max_ms=100,
            fetch_queue_backoff_ms=10,
        )

    @property
    def assigned(self) -> bool:
        """Whether the group has given this process its share, which may be none."""
        return self._assigned

    def join(self) -> None:
        if not self._partitions.count:
            # Not asked in a callback: the client forgets that it is in one, and the next callback ends the process.
            topics = kafka.existing_partitions(kafka.admin(self._settings.kafka), COMMITTED_TIMEOUT)
            self._partitions.count = topics.get(self._deliveries, 1)
        self._consumer.subscribe(
            self._topics, on_assign=self._on_assign, on_revoke=self._on_revoke, on_lost=self._on_lost
        )

    def step(self) -> None:
        """One round: release what may go on, poll, take."""
        if self._unclaimed.found():
            log.warning("partitions were given to nobody; joining anew")
            self._rejoin = True
        if self._rejoin:
            self._rejoin = False
            self._consumer.unsubscribe()
            self.join()
        gone_on = list(self._release())
        if gone_on:
            self._sender.submit(gone_on)  # before the poll: it may take partitions away
        polled = self._consumer.consume(BATCH, 0) if gone_on else self._poll()
        if self._joined_anew:
            # Taken here because asking from another thread hangs while this one polls.
            self._joined_anew = False
            self._settler.joined(self._consumer.consumer_group_metadata())
        if batch := [taken for message in polled if (taken := self._take(message))]:
            self._sender.submit(batch)
        metrics.IN_FLIGHT.set(self._partitions.open)

    def drain(self, grace_s: float) -> None:
        """Finish what is in flight, start nothing new, settle, leave the group."""
        self._draining = True
        keys = self._partitions.keys()
        self._partitions.stop_starting(keys)
        self._sender.drop_waiting()
        until = self._clock.monotonic() + grace_s
        while not self._partitions.wait_until_idle(keys, 0.05) and self._clock.monotonic() < until:
            self._pause_all()
            self._consumer.poll(0)  # or the group takes us for dead
        if not self._partitions.wait_until_idle(keys, 0):
            log.warning("the grace is over; what is in flight is cut off and audited as unknown")
            self._sender.cut_off(1.0)
        if not self._settler.flush(max(5.0, grace_s)):
            log.error("the last results could not be written; they will be sent again")
        self._consumer.close()

    def _poll(self) -> Sequence[Message]:
        first = self._consumer.poll(self._wait_s())
        return [] if first is None else [first, *self._consumer.consume(BATCH - 1, 0)]

    def _wait_s(self) -> float:
        dues = [hold.due_ms for hold in self._held.values() if hold.due_ms is not None]
        if not dues:
            return POLL_S if not self._held else POLL_S / 10
        return min(POLL_S, max(0.0, (min(dues) - self._clock.now_ms()) / 1000))

    def _take(self, message: Message) -> Taken | None:
        topic, number, offset = message.topic(), message.partition(), message.offset()
        if problem := message.error():
            log.warning("consuming", error=problem.str())
            return None
        assert topic is not None
        assert number is not None
        assert offset is not None
        partition = self._partitions.get((topic, number))
        if partition is None or self._draining:
            return None
        if (held := self._held.get(partition.key)) is not None:
            self._keep(partition.key, held, message)
            return None
        return self._begin(partition, message, offset)

    def _begin(self, partition: Partition, message: Message, offset: int) -> Taken | None:
        topic, number = partition.key
        progress = partition.progress
        assert isinstance(progress, Progress)
        if progress.seen(offset):
            return None
        if progress.settled(offset):
            progress.skip(offset)
            return None
        tier = self._tiers.get(topic)
        due = _due(message) if tier is not None else 0
        if due > self._clock.now_ms():
            self._hold(partition, offset, due)
            return None
        if not self._has_room(partition, offset):
            self._hold(partition, offset, None, message)
            return None
        value = message.value()
        self._partitions.take(partition, offset, len(value or b""))
        try:
            delivery = decode_delivery(value)
        except CodecError as error:
            self._reject(partition, offset, error)
            return None
        jitter = 0 if tier is None else jitter_ms(delivery.id, delivery.attempts, tier)
        origin = Origin(Place(topic, number, offset), self._settings.instance)
        return Taken(delivery, partition, offset, origin, due + jitter, value or b"")

    def _reject(self, partition: Partition, offset: int, error: CodecError) -> None:
        """Poison is nobody's delivery: it has no ids to audit it under. Said, counted, passed over."""
        topic, number = partition.key
        metrics.DELIVERIES_REJECTED.labels(error.reason).inc()
        log.error(
            "record rejected", topic=topic, partition=number, offset=offset, reason=error.reason, why=error.detail
        )
        self._settler.put(Settled(partition, offset))

    def _has_room(self, partition: Partition, offset: int) -> bool:
        progress = partition.progress
        assert isinstance(progress, Progress)
        if not progress.admits(offset) or self._partitions.open_bytes > self._settings.in_flight_bytes:
            return False
        # One recipient may have them all, and what waits for it beyond that would be parked.
        return partition.unsent < MOST_WAITING or progress.inherited(offset)

    def _hold(self, partition: Partition, offset: int, due_ms: int | None, message: Message | None = None) -> None:
        """Without the message it is read again later; with it, it is kept with what is read behind it."""
        hold = _Hold(offset, due_ms, sought=message is not None, paused=False)
        self._held[partition.key] = hold
        if message is None:
            self._pause(partition.key, hold)
            self._seek(partition.key, hold)
        else:
            self._keep(partition.key, hold, message)

    def _keep(self, key: PartitionKey, hold: _Hold, message: Message) -> None:
        """A little of what stands behind a held record; where it is much, everything is read again later."""
        if not hold.kept and (hold.offset != message.offset() or not hold.sought or hold.due_ms is not None):
            return
        hold.kept.append(message)
        hold.kept_bytes += len(message.value() or b"")
        if hold.kept_bytes > ENOUGH_BYTES:
            self._pause(key, hold)
        if hold.kept_bytes > KEPT_BYTES:
            hold.kept.clear()
            hold.kept_bytes, hold.sought = 0, False
            self._seek(key, hold)

    def _pause(self, key: PartitionKey, hold: _Hold) -> None:
        if not hold.paused:
            hold.paused = True
            self._consumer.pause([TopicPartition(*key)])

    def _seek(self, key: PartitionKey, hold: _Hold) -> None:
        try:
            self._consumer.seek(TopicPartition(*key, hold.offset))
            hold.sought = True
        except KafkaException as error:
            # Being assigned or fetched just now; without having sought back it is not resumed.
            log.info("seek will be tried again", topic=key[0], partition=key[1], error=str(error))

    def _release(self) -> Iterator[Taken]:
        """What may go on, goes on; of what is kept, as much as there is room for."""
        now = self._clock.now_ms()
        for key, hold in list(self._held.items()):
            partition = self._partitions.get(key)
            if partition is None:
                del self._held[key]
                continue
            if not hold.sought:
                self._seek(key, hold)
            elif self._may_go_on(partition, hold, now) and self._ready(key[1]):
                yield from self._go_on(partition, hold)

    def _go_on(self, partition: Partition, hold: _Hold) -> Iterator[Taken]:
        while hold.kept and self._has_room(partition, hold.offset):
            message = hold.kept.popleft()
            hold.kept_bytes -= len(message.value() or b"")
            if taken := self._begin(partition, message, hold.offset):
                yield taken
            if self._held.get(partition.key) is not hold:
                return  # held anew: it is not due
            if hold.kept:
                hold.offset = hold.kept[0].offset() or 0
        if hold.paused and hold.kept_bytes <= ENOUGH_BYTES // 2:
            hold.paused = False
            self._consumer.resume([TopicPartition(*partition.key)])
        if not hold.kept:
            del self._held[partition.key]

    def _may_go_on(self, partition: Partition, hold: _Hold, now: int) -> bool:
        if hold.due_ms is not None:
            return hold.due_ms <= now
        if hold.kept:
            return self._has_room(partition, hold.offset)
        progress = partition.progress
        assert isinstance(progress, Progress)
        bytes_free = self._partitions.open_bytes <= self._settings.in_flight_bytes // 2
        return bytes_free and (progress.nearly_empty or progress.inherited(hold.offset))

    def _ready(self, number: int) -> bool:
        """Whether it is known what waits for the recipients of this partition, and how they stand."""
        parked = self._partitions.get((self._parked_topic, number))
        return parked is not None and parked.ready

    def _pause_all(self) -> None:
        keys = [
            key
            for key in self._partitions.keys()  # noqa: SIM118  not a mapping
            if key[0] != self._parked_topic and not ((hold := self._held.get(key)) and hold.paused)
        ]
        if keys:
            self._consumer.pause([TopicPartition(*key) for key in keys])

    def _on_assign(self, consumer: Consumer, assigned: list[TopicPartition]) -> None:
        self._held.clear()
        numbers = [one.partition for one in assigned if one.topic == self._deliveries]
        parked = [TopicPartition(self._parked_topic, number) for number in numbers]
        try:
            committed = self._retrying(lambda: consumer.committed([*assigned, *parked], timeout=COMMITTED_TIMEOUT))
        except KafkaException as error:
            log.warning("committed offsets cannot be read; joining anew", error=str(error))
            consumer.assign([])
            self._rejoin = True
            return
        starts = []
        for one in committed:
            known = None if one.offset < 0 else one.offset
            if one.topic == self._parked_topic:
                self._parked.assign(self._partitions.assign_parked((one.topic, one.partition), known))
                continue
            self._partitions.assign((one.topic, one.partition), known, one.metadata or "")
            starts.append(TopicPartition(one.topic, one.partition, OFFSET_BEGINNING if known is None else known))
        consumer.assign(starts)
        # Until it is known what waits for their recipients, and how those stand.
        if starts:
            consumer.pause(starts)
        for one in starts:
            self._held[one.topic, one.partition] = _Hold(one.offset, None, sought=False, paused=True)
        self._joined_anew = self._assigned = True
        log.info("partitions assigned", count=len(starts))

    def _retrying(self, ask: Callable[[], list[TopicPartition]]) -> list[TopicPartition]:
        attempts_left = 3
        while True:
            try:
                return ask()
            except KafkaException:
                attempts_left -= 1
                if not attempts_left:
                    raise

    def _on_revoke(self, consumer: Consumer, revoked: list[TopicPartition]) -> None:
        keys = self._with_parked(revoked)
        bound = self._settings.rebalance_drain / 1000
        self._partitions.stop_starting(keys)
        if not self._partitions.wait_until_idle(keys, bound):
            log.warning("partitions leave with deliveries in flight; their results are dropped, they go out again")
        self._settler.flush(bound)
        self._forget(keys)

    def _on_lost(self, consumer: Consumer, lost: list[TopicPartition]) -> None:
        log.warning("partitions lost: cut off from the group; nothing of them is sent any more", count=len(lost))
        self._forget(self._with_parked(lost))

    def _with_parked(self, leaving: Sequence[TopicPartition]) -> list[PartitionKey]:
        """What waits for the recipients of a partition leaves with it."""
        numbers = [one.partition for one in leaving if one.topic == self._deliveries]
        keys = [(one.topic, one.partition) for one in leaving]
        return [*keys, *((self._parked_topic, number) for number in numbers)]

    def _forget(self, keys: Sequence[PartitionKey]) -> None:
        self._assigned = False
        self._partitions.remove(keys)
        for key in keys:
            self._held.pop(key, None)
        numbers = [number for topic, number in keys if topic == self._parked_topic]
        for number in numbers:
            self._parked.revoke(number)
        self._sender.forget(numbers)


def _due(message: Message) -> int:
    """A retry without a readable due time is due now."""
    try:
        return int(header(message.headers(), DUE_HEADER) or b"0")
    except ValueError:
        return 0
