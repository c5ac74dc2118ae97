"""Reads `delivery-parked` and `recipient-state` of the partitions this process has, on a thread of its own.

1. On assignment, both are read from their beginnings to ends that were asked for after the committed offset was
   stable: then the sending loop knows what waits and how each recipient stands, and the partition may begin.
2. From then on it follows `delivery-parked`: what this process has parked is known to wait once it is read here.
3. Deliveries that are wanted are fetched by their offsets. What was read and not asked for yet is kept a while, so
   that what has just been parked need not be read twice.
"""

from __future__ import annotations

import heapq
import queue
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from tocsin.dispatcher.core.audit import Origin, Place
from tocsin.dispatcher.core.desk import Fetch
from tocsin.dispatcher.core.quick_delivery import decode_delivery
from tocsin.dispatcher.partitions import Partition, Partitions
from tocsin.dispatcher.reading import ends_of
from tocsin.dispatcher.settings import DispatcherSettings
from tocsin.dispatcher.stages.records import DUE_HEADER, FRONT_HEADER, INSTEAD_HEADER, LANE_HEADER, unparked_out
from tocsin.dispatcher.stages.steps import Settled, Taken
from tocsin.shared import kafka
from tocsin.shared.errors import CodecError
from tocsin.shared.headers import header
from tocsin.shared.schemas.recipient_state import RecipientState
from tocsin.shared.telemetry import metrics
from tocsin.shared.telemetry.logs import logger
from tocsin.shared.topics import DELIVERY_PARKED, RECIPIENT_STATE

log = logger(__name__)

BATCH = 500
IDLE_WAIT, BUSY_WAIT = 0.05, 0.005
PAUSE_AFTER_FAILURE = 0.5
FAR_AHEAD = 5_000
"""Records worth reading through; beyond that, seeking is quicker."""

KEPT_BYTES = 4 << 20


@dataclass(frozen=True, slots=True)
class Seen:
    """A record of `delivery-parked`; a tombstone has no recipient's turn to wait for."""

    recipient: str
    key: str
    offset: int
    lane: str | None
    due_ms: int
    front: bool
    instead_of: int | None
    tombstone: bool


class Listener(Protocol):
    """Called from the reader's thread."""

    def parked_seen(self, partition: Partition, seen: Sequence[Seen]) -> None: ...

    def parked_restored(self, partition: Partition, rows: dict[str, RecipientState]) -> None: ...

    def parked_fetched(self, fetched: Sequence[tuple[Fetch, Taken | None]]) -> None:
        """None for what is not there any more."""
        ...


@dataclass(slots=True)
class _Place:
    """One partition number of both topics."""

    partition: Partition
    ends: dict[str, int] = field(default_factory=dict)  # by topic, those not reached yet
    rows: dict[str, RecipientState] = field(default_factory=dict)
    restored: bool = False
    wanted: dict[int, Fetch] = field(default_factory=dict)
    order: list[int] = field(default_factory=list)  # of the wanted; a heap
    position: int | None = None  # of the fetching consumer; none: it does not read this one
    missed: set[int] = field(default_factory=set)  # wanted, and not there once


class ParkedReader:
    """`assign`, `revoke`, `want` and `close` are for other threads."""

    def __init__(self, settings: DispatcherSettings, partitions: Partitions, settle: Callable[[Settled], None]) -> None:
        self._settings = settings
        self._partitions = partitions
        self._settle = settle
        self._parked = settings.topic(DELIVERY_PARKED)
        self._states = settings.topic(RECIPIENT_STATE)
        self._listener: Listener | None = None
        self._commands: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._places: dict[int, _Place] = {}
        self._kept: OrderedDict[tuple[int, int], Message] = OrderedDict()
        self._kept_bytes = 0
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="parked", daemon=True)

    def start(self, listener: Listener) -> None:
        self._listener = listener
        self._thread.start()

    def assign(self, partition: Partition) -> None:
        self._commands.put(lambda: self._assign(partition))

    def revoke(self, number: int) -> None:
        self._commands.put(lambda: self._revoke(number))

    def want(self, fetches: Sequence[Fetch]) -> None:
        self._commands.put(lambda: self._want(fetches))

    def close(self) -> None:
        self._closing.set()
        if self._thread.is_alive():
            self._thread.join(10)

    def _run(self) -> None:
        shared = {
            "enable_partition_eof": True,
            "fetch_wait_max_ms": 50,
            # Of each partition: a million that wait are read through at every start, and what compresses well
            # grows many times when it is unpacked.
            "queued_max_messages_kbytes": 1_024,
            "queued_min_messages": 500,
            "fetch_message_max_bytes": 256 << 10,
        }
        group = f"{self._settings.dispatcher_group}-parked"  # never joined nor committed
        self._tail: Consumer = kafka.consumer(self._settings.kafka, group, **shared)
        self._fetcher: Consumer = kafka.consumer(self._settings.kafka, group, **shared)
        try:
            while not self._closing.is_set():
                try:
                    self._step()
                except Exception:
                    # Nothing is lost by it: what waits stays where it is.
                    log.exception("reading what is parked failed")
                    self._closing.wait(PAUSE_AFTER_FAILURE)
        finally:
            self._tail.close()
            self._fetcher.close()

    def _step(self) -> None:
        while not self._commands.empty():
            self._commands.get()()
        busy = any(place.wanted for place in self._places.values())
        self._follow(self._tail.consume(BATCH, BUSY_WAIT if busy else IDLE_WAIT))
        if busy:
            self._place_fetcher()
            self._fetch(self._fetcher.consume(BATCH, BUSY_WAIT))

    # What waits, and how recipients stand

    def _assign(self, partition: Partition) -> None:
        number = partition.key[1]
        self._revoke(number)
        if not partition.active:
            return
        keys = [(self._parked, number), (self._states, number)]
        try:
            ends = ends_of(self._settings, keys)
        except KafkaException as error:
            log.warning("the ends of what is parked cannot be read yet", partition=number, error=str(error))
            self._closing.wait(PAUSE_AFTER_FAILURE)
            self.assign(partition)
            return
        reach = {topic: ends[topic, number][1] for topic, _ in keys}
        place = _Place(partition, {topic: end for topic, end in reach.items() if end > ends[topic, number][0]})
        self._places[number] = place
        self._tail.incremental_assign([TopicPartition(topic, number, ends[topic, number][0]) for topic, _ in keys])
        self._restore(place)

    def _revoke(self, number: int) -> None:
        place = self._places.pop(number, None)
        if place is None:
            return
        self._tail.incremental_unassign([TopicPartition(topic, number) for topic in (self._parked, self._states)])
        if place.position is not None:
            self._fetcher.incremental_unassign([TopicPartition(self._parked, number)])
        for key in [key for key in self._kept if key[0] == number]:
            self._kept_bytes -= len(self._kept.pop(key).value() or b"")

    def _follow(self, messages: Sequence[Message]) -> None:
        assert self._listener is not None
        seen: dict[int, list[Seen]] = {}
        for message in messages:
            number, topic = message.partition() or 0, message.topic() or ""
            place = self._places.get(number)
            if place is None:
                continue
            if problem := message.error():
                if problem.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001  the client's public constant
                    self._reached(place, topic, message.offset() or 0, seen)
                else:
                    log.warning("reading what is parked", error=problem.str())
                continue
            if topic == self._states:
                _take_row(place, message)
            elif one := _seen(message):
                seen.setdefault(number, []).append(one)
                if place.restored:
                    self._keep(number, message)
            self._reached(place, topic, (message.offset() or 0) + 1, seen)
        for number, found in seen.items():
            self._listener.parked_seen(self._places[number].partition, found)

    def _reached(self, place: _Place, topic: str, position: int, seen: dict[int, list[Seen]]) -> None:
        if place.restored or topic not in place.ends or position < place.ends[topic]:
            return
        del place.ends[topic]
        if not place.ends and (found := seen.pop(place.partition.key[1], None)):
            assert self._listener is not None
            self._listener.parked_seen(place.partition, found)
        self._restore(place)

    def _restore(self, place: _Place) -> None:
        if place.ends or place.restored:
            return
        place.restored = True
        assert self._listener is not None
        self._listener.parked_restored(place.partition, place.rows)
        place.rows = {}

    # Deliveries that are wanted

    def _want(self, fetches: Sequence[Fetch]) -> None:
        assert self._listener is not None
        at_hand: list[tuple[Fetch, Taken | None]] = []
        for fetch in fetches:
            place = self._places.get(fetch.partition)
            if place is None:
                continue
            kept = self._kept.pop((fetch.partition, fetch.offset), None)
            if kept is not None:
                self._kept_bytes -= len(kept.value() or b"")
                at_hand.append((fetch, self._taken(place, fetch, kept)))
            elif fetch.offset not in place.wanted:
                place.wanted[fetch.offset] = fetch
                heapq.heappush(place.order, fetch.offset)
        if at_hand:
            self._listener.parked_fetched(at_hand)

    def _place_fetcher(self) -> None:
        """Let it read where something is wanted, and only there."""
        for number, place in self._places.items():
            if not place.wanted:
                if place.position is not None:
                    self._fetcher.incremental_unassign([TopicPartition(self._parked, number)])
                    place.position = None
                continue
            first = place.order[0]
            if place.position is not None and 0 <= place.position <= first <= place.position + FAR_AHEAD:
                continue
            if place.position is not None:
                self._fetcher.incremental_unassign([TopicPartition(self._parked, number)])
            self._fetcher.incremental_assign([TopicPartition(self._parked, number, first)])
            place.position = first

    def _fetch(self, messages: Sequence[Message]) -> None:
        assert self._listener is not None
        found: list[tuple[Fetch, Taken | None]] = []
        for message in messages:
            number, offset = message.partition() or 0, message.offset() or 0
            place = self._places.get(number)
            if place is None or place.position is None or place.position < 0 or offset < place.position:
                continue
            if problem := message.error():
                if problem.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001
                    self._pass(place, offset, found)
                else:
                    log.warning("fetching what is parked", error=problem.str())
                continue
            place.position = offset + 1
            self._pass(place, offset, found)
            if place.position < 0:
                continue
            fetch = place.wanted.pop(offset, None)
            if fetch is None:
                self._keep(number, message)
            else:
                heapq.heappop(place.order)
                found.append((fetch, self._taken(place, fetch, message)))
        if found:
            self._listener.parked_fetched(found)

    def _pass(self, place: _Place, offset: int, found: list[tuple[Fetch, Taken | None]]) -> None:
        """What was wanted before this offset and has not come is not there: believed when it was looked for twice."""
        while place.order and place.order[0] < offset:
            first = place.order[0]
            if first not in place.missed:
                place.missed.add(first)
                place.position = -1  # to be sought again
                return
            heapq.heappop(place.order)
            place.missed.discard(first)
            log.error("a parked record is not there any more", partition=place.partition.key[1], offset=first)
            found.append((place.wanted.pop(first), None))

    def _taken(self, place: _Place, fetch: Fetch, message: Message) -> Taken | None:
        value, offset = message.value() or b"", fetch.offset
        self._partitions.take(place.partition, offset, len(value))
        try:
            delivery = decode_delivery(value)
        except CodecError as error:
            metrics.DELIVERIES_REJECTED.labels(error.reason).inc()
            log.error("parked record rejected", partition=fetch.partition, offset=offset, why=error.detail)
            key = (message.key() or b"").decode(errors="replace")
            tombstone = unparked_out(key, offset, fetch.lane, fetch.partition)
            self._settle(Settled(place.partition, offset, (tombstone,)))
            return None
        origin = Origin(Place(self._parked, fetch.partition, offset), self._settings.instance)
        return Taken(delivery, place.partition, offset, origin, value=value, parked=True, lane=fetch.lane)

    def _keep(self, number: int, message: Message) -> None:
        if message.value() is None or (number, message.offset() or 0) in self._kept:
            return
        self._kept[number, message.offset() or 0] = message
        self._kept_bytes += len(message.value() or b"")
        while self._kept_bytes > KEPT_BYTES:
            _, oldest = self._kept.popitem(last=False)
            self._kept_bytes -= len(oldest.value() or b"")


def _seen(message: Message) -> Seen | None:
    """None for what is not one of ours."""
    key = (message.key() or b"").decode(errors="replace")
    recipient, first, rest = key.partition("/")
    if not (first and "/" in rest):
        log.error("a parked record without a key of ours is passed over", offset=message.offset())
        return None
    headers = message.headers()
    lane = header(headers, LANE_HEADER)
    instead = _number(header(headers, INSTEAD_HEADER))
    return Seen(
        recipient,
        key,
        message.offset() or 0,
        None if lane is None else lane.decode(errors="replace"),
        _number(header(headers, DUE_HEADER)) or 0,
        header(headers, FRONT_HEADER) is not None,
        instead,
        message.value() is None,
    )


def _number(text: bytes | None) -> int | None:
    return int(text) if text is not None and text.isdigit() else None


def _take_row(place: _Place, message: Message) -> None:
    if place.restored:
        return  # our own
    key = (message.key() or b"").decode(errors="replace")
    if message.value() is None:
        place.rows.pop(key, None)
        return
    try:
        place.rows[key] = RecipientState.decode(message.value())
    except CodecError as error:
        log.error("a row of recipient-state cannot be read and is forgotten", key=key, why=str(error))
