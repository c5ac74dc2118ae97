"""What the activator does with a record, whoever brings it: the order on which guarantee 4 rests.

For every record:

1. its rows are written, with their events in their outboxes; the changelog acknowledges them;
2. its events go out and are acknowledged;
3. it is acknowledged itself, after all records before it.

After a recovery every event left in an outbox is sent again before the first record is taken.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

from tocsin.evaluator.activator.offsets import Offsets, Position, Seen
from tocsin.evaluator.activator.rows import Rows
from tocsin.evaluator.core.activation_partition import TICK_KEY, Record, Refused
from tocsin.evaluator.core.activation_row import Pending, encode_row
from tocsin.evaluator.core.notification import Rulebook
from tocsin.shared.clock import Clock
from tocsin.shared.headers import Headers, cloud_event, traceparent
from tocsin.shared.lifecycle import nowhere
from tocsin.shared.schemas.tally import Tick
from tocsin.shared.telemetry import metrics
from tocsin.shared.telemetry.logs import logger
from tocsin.shared.topics import ACTIVATIONS, NOTIFICATION_EVENTS, NOTIFICATION_TALLIES

log = logger(__name__)

MAX_WINDOW = 5_000
"""Records judged and not yet acknowledged; more wait in the client's queue, and then in Kafka."""

MAX_OUTBOX = 8
"""Events of one notification on their way. Each is written with its row again and again until it is out."""

BROKER_RETRY_S = 0.2

READ_AGAIN_S = 1.0
"""A gap is looked into once in so long: behind it come, one by one, all the records that were queued already."""

Acknowledged = Awaitable[Any]


class NotTaken(Exception):  # noqa: N818  no error yet: it is sent again
    """The broker did not take a record now, and may take it later."""


@dataclass(frozen=True, slots=True)
class Delivered:
    """A record, and the client's own handle of it."""

    record: Record
    handle: Any


class Bus(Protocol):
    """What the engine needs of Kafka. Nothing is acknowledged before its future is done."""

    def rows(self) -> dict[bytes, bytes]:
        """The table as it stands."""
        ...

    def write(self, key: bytes, row: bytes | None) -> list[Acknowledged]:
        """Put a row of the record at hand into the table; None removes it."""
        ...

    async def send(
        self, topic: str, key: bytes, value: bytes, headers: Headers | None = None, partition: int | None = None
    ) -> Acknowledged:
        """Both this and what it returns raise NotTaken, or what cannot be helped by waiting."""
        ...

    async def settle(self, delivered: Delivered, *, commit: bool) -> None:
        """The record is done with. `commit`: reading goes on behind it after a restart."""
        ...

    async def read_again(self, delivered: Delivered, offset: int) -> None:
        """Go back to this offset in the record's partition."""
        ...


class View(Protocol):
    """The log as the broker tells it. None: no answer."""

    def positions(self, partitions: set[int]) -> dict[int, Position] | None: ...

    def first_from(self, partition: int, offset: int) -> int | None: ...


@dataclass(frozen=True, slots=True)
class _Taken:
    """A record that is judged and not yet acknowledged. `more`: it is judged again after this."""

    delivered: Delivered
    written: list[Acknowledged]
    events: list[tuple[str, Pending]]
    more: bool


class Engine:
    """Runs on one event loop. `check` raises, or ends the process, when we may no longer be the owner."""

    def __init__(
        self, bus: Bus, rows: Rows, view: View, book: Callable[[], Rulebook], check: Callable[[], None]
    ) -> None:
        self._bus = bus
        self._rows = rows
        self._view = view
        self._book = book
        self._check = check
        self.at: Callable[[str], None] = nowhere
        self._offsets = Offsets()
        self._reading_again: dict[int, tuple[int, float]] = {}  # by partition: from where, since when
        self._window: list[_Taken] = []
        self._recoveries = 0
        self._filled = asyncio.Event()
        self._flushed = asyncio.Event()

    async def recovered(self, partitions: set[int]) -> None:
        """The table is complete and these partitions are ours; no record of them has been taken yet."""
        self._recoveries += 1
        this = self._recoveries
        positions = await asyncio.to_thread(self._view.positions, partitions)
        while positions is None:
            await asyncio.sleep(BROKER_RETRY_S)
            positions = await asyncio.to_thread(self._view.positions, partitions)
        if this != self._recoveries:  # Faust starts the next recovery without an end to this one
            return
        self._offsets.begin({partition: position.start for partition, position in positions.items()})
        left = self._rows.restore(self._bus.rows(), partitions)
        if left:
            log.info("sending again what was not known to be sent", events=len(left))
        await self._publish(left)

    async def take(self, delivered: Delivered) -> None:
        """Judge a record, unless it has been judged or is not the next; returns before anything is acknowledged."""
        if not await self._is_next(delivered):
            await self._bus.settle(delivered, commit=False)
            return
        record = delivered.record
        more = True
        while more:
            unsent = partial(self._rows.unsent, record.key, record.place.partition)
            while len(self._window) >= MAX_WINDOW or unsent() >= MAX_OUTBOX:
                self._flushed.clear()
                await self._flushed.wait()
            self._check()
            more = self._judge(delivered)

    def _judge(self, delivered: Delivered) -> bool:
        """Whether the record has to be judged again, because not all of it could go out at once."""
        record = delivered.record
        taken = self._rows.take(record, self._book())
        written: list[Acknowledged] = []
        events: list[tuple[str, Pending]] = []
        more = False
        if isinstance(taken, Refused):
            _log_refused(record, taken)
        else:
            metrics.TALLIES_TAKEN.labels(taken.outcome).inc()
            more = taken.more
            for write in taken.writes:
                row = None if write.row is None else encode_row(write.row)
                written += self._bus.write(write.notification_id.encode(), row)
                events += [(write.notification_id, event) for event in write.events]
        self._window.append(_Taken(delivered, written, events, more))
        self._filled.set()
        return more

    async def flush(self) -> None:
        """For ever: acknowledge what has been taken, together and in order."""
        while True:
            await self._filled.wait()
            self._filled.clear()
            window, self._window = self._window, []
            await asyncio.gather(*(future for taken in window for future in taken.written))
            events = [event for taken in window for event in taken.events]
            if events:
                self.at("rows_written")
            await self._publish(events)
            if events:
                self.at("events_sent")
            for taken in window:
                if not taken.more:
                    await self._bus.settle(taken.delivered, commit=True)
            self._flushed.set()

    async def _is_next(self, delivered: Delivered) -> bool:
        place = delivered.record.place
        seen = self._offsets.see(place.partition, place.offset)
        if seen is not Seen.GAP:
            return seen is Seen.NEXT
        expected = self._offsets.expected(place.partition)
        now = asyncio.get_running_loop().time
        since = self._reading_again.get(place.partition)
        if since is not None and since[0] == expected and now() - since[1] < READ_AGAIN_S:
            return False
        first = await asyncio.to_thread(self._view.first_from, place.partition, expected)
        if first == place.offset:  # what was between has gone by its age, or never was a record
            self._offsets.skip_to(place.partition, place.offset)
            return self._offsets.see(place.partition, place.offset) is Seen.NEXT
        log.info(
            "a record was left out; reading again", partition=place.partition, expected=expected, came=place.offset
        )
        await self._bus.read_again(delivered, expected)
        self._reading_again[place.partition] = (expected, now())
        return False

    async def _publish(self, events: list[tuple[str, Pending]]) -> None:
        left = events
        while left:
            self._check()
            left = await self._attempt(left)
            if left:
                log.warning("the broker did not take events; sending them again", events=len(left))
                await asyncio.sleep(BROKER_RETRY_S)
        self._rows.sent(events)
        for notification_id, event in events:
            log.info(
                f"notification {event.kind}" if event.event else f"activation {event.kind}, nobody told",
                notification_id=notification_id,
                activation_id=event.activation_id,
                event_id=event.id,
                ordinal=event.ordinal,
            )

    async def _attempt(self, events: list[tuple[str, Pending]]) -> list[tuple[str, Pending]]:
        """What has to be sent again: an event that was not taken, and those of its notification after it."""
        sent = []
        with suppress(NotTaken):
            for notification_id, event in events:
                futures = await self._send(notification_id, event)
                sent.append(asyncio.gather(*futures, return_exceptions=True))
        outcomes = await asyncio.gather(*sent)
        outcomes += [[NotTaken()]] * (len(events) - len(outcomes))
        broken: set[str] = set()
        left = []
        for one, outcome in zip(events, outcomes, strict=True):
            for error in (each for each in outcome if isinstance(each, BaseException)):
                if not isinstance(error, NotTaken):
                    raise error
                broken.add(one[0])
            if one[0] in broken:
                left.append(one)
        return left

    async def _send(self, notification_id: str, event: Pending) -> list[Acknowledged]:
        key = event.activation_id.encode()
        sent = [await self._bus.send(ACTIVATIONS, key, event.activation.encode(), _JSON)]
        if event.event:
            key = notification_id.encode()
            sent.append(await self._bus.send(NOTIFICATION_EVENTS, key, event.event.encode(), event_headers(event)))
        return sent


class Ticker:
    """Lets time pass: a tick record into every owned partition, at intervals and when poked."""

    def __init__(self, bus: Bus, clock: Clock, interval_s: float, owned: Callable[[], set[int] | None]) -> None:
        self._bus = bus
        self._clock = clock
        self._interval = interval_s
        self._owned = owned
        self._poked = asyncio.Event()
        self._under_way: dict[int, asyncio.Future[Any]] = {}

    def poke(self) -> None:
        """Now: the configuration has changed."""
        self._poked.set()

    async def run(self) -> None:
        while True:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._poked.wait(), self._interval)
            self._poked.clear()
            for partition in self._owned() or ():
                # While the broker is away one tick waits, not one a second.
                if partition not in self._under_way or self._under_way[partition].done():
                    self._under_way[partition] = asyncio.ensure_future(self._tick(partition))
                    self._under_way[partition].add_done_callback(_tick_done)

    async def _tick(self, partition: int) -> None:
        tick = Tick(time=self._clock.now_ms()).encode()
        await (await self._bus.send(NOTIFICATION_TALLIES, TICK_KEY, tick, partition=partition))


_JSON: Headers = [("content-type", b"application/json")]


def event_headers(event: Pending) -> Headers:
    """CloudEvents headers; the trace is the activation, the span the event."""
    trace = traceparent(event.activation_id, event.id)
    return cloud_event(event.id, f"notification.{event.kind}", "/activator", event.time, trace)


def _tick_done(tick: asyncio.Future[Any]) -> None:
    if not tick.cancelled() and tick.exception() is not None:
        log.warning("tick not sent", why=str(tick.exception()))


def _log_refused(record: Record, refused: Refused) -> None:
    metrics.TALLIES_TAKEN.labels("refused").inc()
    log.warning(
        "record passed over",
        topic=NOTIFICATION_TALLIES,
        partition=record.place.partition,
        offset=record.place.offset,
        reason=refused.reason,
        detail=refused.detail,
    )
