"""The sending loop, on a thread of its own: deliveries in, settlements out. Who is next, the desk says."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine, Iterable, Sequence
from typing import Any, TypeVar

from msgspec.structs import replace

from tocsin.dispatcher.core.desk import LOOK_EVERY, Desk, DeskPolicy, Fetch, Leaves, Seat, Turn
from tocsin.dispatcher.core.flow import ended_of
from tocsin.dispatcher.core.outcomes import Accepted
from tocsin.dispatcher.core.waiting import Entry
from tocsin.dispatcher.parked_reader import Seen
from tocsin.dispatcher.partitions import Partition
from tocsin.dispatcher.sender_parts import SenderParts
from tocsin.dispatcher.stages.records import (
    done_key,
    end_without_attempt,
    give_up,
    parked_key,
    parked_out,
    unparked_out,
)
from tocsin.dispatcher.stages.steps import Settled, Taken, in_lane
from tocsin.dispatcher.strangers import Strangers
from tocsin.dispatcher.suppression import TIMEOUT
from tocsin.shared.configuration.snapshot import Configuration
from tocsin.shared.event_loop import new_event_loop
from tocsin.shared.partitioning import partition_for
from tocsin.shared.schemas.recipient_state import RecipientState
from tocsin.shared.telemetry import metrics
from tocsin.shared.telemetry.logs import logger

log = logger(__name__)

T = TypeVar("T")
CLOSING_TIMEOUT = 5.0
MOST_UNSEEN = 4
"""Batches of parked records read ahead of the loop, of 500 each."""


class Sender:
    """What has no underscore is for other threads; the rest stays on the loop."""

    def __init__(self, parts: SenderParts, policy: DeskPolicy) -> None:
        self._parts = parts
        self._desk: Desk[Taken] = Desk(policy)
        self._strangers = Strangers(parts.clock)
        self._tasks: set[asyncio.Task[None]] = set()
        self._admission: asyncio.Task[None] | None = None  # of the last batch
        self._loop = new_event_loop()
        self._draining = self._cutting_off = self._going_round = False
        self._configured: Configuration | None = None
        self._parked: dict[int, Partition] = {}  # of `delivery-parked`, those that are known
        self._seeing = threading.Semaphore(MOST_UNSEEN)
        self._starts: dict[str, tuple[int, float]] = {}  # of recipients with a rate, to be told to other processes
        self._wake: asyncio.TimerHandle | None = None
        self._thread = threading.Thread(target=self._run, name="sender", daemon=True)

    def start(self) -> None:
        self._thread.start()
        self._loop.call_soon_threadsafe(self._tick)

    def submit(self, batch: Sequence[Taken]) -> None:
        """These wait for their turn. Each ends in one settlement, or is dropped with its partition."""
        self._loop.call_soon_threadsafe(self._admit_soon, batch)

    def resume(self) -> None:
        """Something that held back new sends may be over."""
        self._loop.call_soon_threadsafe(self._pump)

    def remember(self, keys: Sequence[str]) -> None:
        """These are durably done."""
        self._loop.call_soon_threadsafe(lambda: self._spawn(self._parts.suppression.remember(keys)))

    def publish(self, records: Sequence[bytes]) -> None:
        """For the live feed."""
        if self._parts.suppression.shared:
            self._loop.call_soon_threadsafe(lambda: self._spawn(self._parts.suppression.publish(records)))

    def parked_seen(self, partition: Partition, seen: Sequence[Seen]) -> None:
        """These are in `delivery-parked` now. Waits while much of it has not been looked at yet."""
        self._seeing.acquire(timeout=CLOSING_TIMEOUT)
        self._loop.call_soon_threadsafe(self._see_and_go_on, partition, seen)

    def parked_restored(self, partition: Partition, rows: dict[str, RecipientState]) -> None:
        """All that waited in this partition has been seen."""
        self._loop.call_soon_threadsafe(self._restored, partition, rows)

    def parked_fetched(self, fetched: Sequence[tuple[Fetch, Taken | None]]) -> None:
        """These were asked for."""
        self._loop.call_soon_threadsafe(self._arrived, fetched)

    def forget(self, numbers: Iterable[int]) -> None:
        """These partitions have left."""
        self._call(self._forget(list(numbers)))

    def drop_waiting(self) -> None:
        """Forget what has not started; it stays where it is in Kafka. Nothing new is started from here on."""
        self._call(self._drop_waiting())

    def cut_off(self, timeout: float) -> None:
        """End what is still in flight; each ends as unknown."""
        self._call(self._cut_off(), timeout)

    def close(self) -> None:
        """Close the channels and end the thread."""
        if self._thread.is_alive():
            self._call(self._close(), CLOSING_TIMEOUT)
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(CLOSING_TIMEOUT)

    def _call(self, work: Coroutine[Any, Any, T], timeout: float = CLOSING_TIMEOUT) -> T | None:
        try:
            return asyncio.run_coroutine_threadsafe(work, self._loop).result(timeout)
        except TimeoutError:
            log.warning("the sending loop did not answer in time")
            return None

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()
        self._loop.close()

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    # What comes in

    def _admit_soon(self, batch: Sequence[Taken]) -> None:
        self._admission = self._spawn(self._admit(batch, self._admission))

    async def _admit(self, batch: Sequence[Taken], before: asyncio.Task[None] | None) -> None:
        known = await self._known(batch)
        if before is not None and not before.done():
            await asyncio.wait([before])  # in the order in which they were read
        now = self._parts.clock.now_ms()
        for taken in batch:
            if known and done_key(taken.delivery) in known:
                self._parts.settle(end_without_attempt(taken, "suppressed", now, "delivered_before"))
            elif taken.not_before_ms > now:
                self._loop.call_later((taken.not_before_ms - now) / 1000, self._offer_late, taken)
            else:
                self._offer(taken)
        self._pump()

    async def _known(self, batch: Sequence[Taken]) -> set[str]:
        try:
            return await self._parts.suppression.known([done_key(taken.delivery) for taken in batch])
        except Exception:
            # It is a hint; the batch must go on.
            log.exception("repeat suppression failed")
            return set()

    def _offer_late(self, taken: Taken) -> None:
        self._offer(taken)
        self._pump()

    def _offer(self, taken: Taken) -> None:
        self._follow_configuration()
        if not self._strangers.keep(taken):
            self._seat_it(taken)

    def _seat_it(self, taken: Taken) -> None:
        if self._draining or not taken.partition.active:
            return
        recipient = self._parts.configuration.current.recipients.get(taken.delivery.recipient.id)
        if recipient is not None and recipient.ordered is not None:
            taken = in_lane(taken, recipient.ordered)
        seat = self._seat(taken.delivery.recipient.id, taken.number)
        entry = Entry(taken, taken.lane, len(taken.value))
        self._park(self._desk.offer(seat, entry, self._parts.clock.monotonic(), self._parts.clock.now_ms()))

    def _seat(self, recipient: str, number: int) -> Seat[Taken]:
        if (found := self._desk.seat(recipient, number)) is None:
            found = self._desk.add(recipient, number, self._parts.standings.terms(recipient))
            if found.flow.interval and self._parts.suppression.shared:
                found.flow.not_before(self._parts.clock.monotonic() + TIMEOUT)
                self._spawn(self._keep_distance(found))
        return found

    async def _keep_distance(self, seat: Seat[Taken]) -> None:
        """From what another process has sent to this recipient before."""
        last_ms = await self._parts.suppression.last_start(seat.id)
        if last_ms is not None:
            ago = max(0.0, (self._parts.clock.now_ms() - last_ms) / 1000)
            seat.flow.not_before(self._parts.clock.monotonic() + seat.flow.interval - ago)

    def _park(self, leaves: Sequence[Leaves[Taken]]) -> None:
        for one in leaves:
            taken = one.entry.item
            if one.entry.parked_at is not None:
                self._parts.partitions.give_back(taken.partition, taken.offset)
                continue
            seat = self._seat(taken.delivery.recipient.id, taken.number)
            self._desk.leaves(seat, parked_key(taken.delivery), taken.lane)
            out = parked_out(taken, taken.number, taken.lane)
            self._parts.settle(Settled(taken.partition, taken.offset, (out,)))
            metrics.PARKED.labels(one.because).inc()

    def _see_and_go_on(self, partition: Partition, seen: Sequence[Seen]) -> None:
        self._seeing.release()
        self._see(partition, seen)

    def _see(self, partition: Partition, seen: Sequence[Seen]) -> None:
        if not partition.active:
            return
        number = partition.key[1]
        touched: dict[str, Seat[Taken]] = {}
        for one in seen:
            seat = touched[one.recipient] = self._seat(one.recipient, number)
            if one.instead_of is not None:
                seat.parked.gone(one.instead_of, one.lane)
            if not one.tombstone:
                self._desk.seen(seat, one.key, one.offset, one.lane, one.due_ms, one.front)
        if partition.ready:
            self._fetch(touched.values())

    def _restored(self, partition: Partition, rows: dict[str, RecipientState]) -> None:
        if not partition.active:
            return
        number = partition.key[1]
        self._parts.standings.restore(rows)
        self._parked[number] = partition
        self._reconcile()
        partition.ready = True

    def _arrived(self, fetched: Sequence[tuple[Fetch, Taken | None]]) -> None:
        self._follow_configuration()
        for fetch, taken in fetched:
            if taken is None or not self._strangers.keep(taken, fetch):
                self._take_back(fetch, taken)
        self._pump()

    def _take_back(self, fetch: Fetch, taken: Taken | None) -> None:
        seat = self._desk.seat(fetch.recipient, fetch.partition)
        if seat is None or (taken is not None and not taken.partition.active):
            return
        if taken is None:
            self._park(self._desk.lost(seat, fetch.offset, fetch.lane))
        else:
            self._park(self._desk.arrived(seat, Entry(taken, taken.lane, len(taken.value), taken.offset)))

    # What goes out

    def _pump(self) -> None:
        while not self._stopped() and (turn := self._desk.take(self._parts.clock.monotonic())):
            self._spawn(self._serve(turn))
        if self._desk.held_back and not self._going_round:
            self._going_round = True
            self._loop.call_soon(self._go_round)
        at = self._desk.wakes_at()
        if at is not None and (self._wake is None or self._wake.cancelled()):
            self._wake = self._loop.call_later(max(0.0, at - self._parts.clock.monotonic()), self._woken)

    def _woken(self) -> None:
        self._wake = None
        self._pump()

    def _go_round(self) -> None:
        # What ends in this round goes on with what is next; what there is still room for after that, the pump starts.
        self._going_round = False
        self._desk.next_round()
        self._loop.call_soon(self._pump)

    def _stopped(self) -> bool:
        return self._draining or self._cutting_off or self._parts.fence.closed

    async def _serve(self, first: Turn[Taken]) -> None:
        # One task goes on with whatever is next: a new task for each would cost as much as the rest of this loop.
        turn: Turn[Taken] | None = first
        while turn is not None:
            taken = turn.entry.item
            if turn.seat.flow.interval and self._parts.suppression.shared:
                self._starts[turn.seat.id] = (self._parts.clock.now_ms(), turn.seat.flow.interval)
            settled: Settled | None = None
            if self._parts.partitions.start(taken.partition):
                try:
                    settled = await self._deliver(taken)
                finally:
                    self._parts.partitions.end(taken.partition, taken.offset)
            self._finish(turn, settled)
            turn = None if self._stopped() else self._desk.take(self._parts.clock.monotonic())
        self._pump()

    async def _deliver(self, taken: Taken) -> Settled:
        try:
            settled = await self._parts.pipeline(taken)
        except Exception:
            log.exception("a delivery could not be worked on", delivery=taken.delivery.id)
            settled = give_up(taken, self._parts.clock.now_ms(), "internal_error")
        if taken.delivery.event.kind == "activated":
            # With an order what comes after it waits, and so need not be told.
            failed = settled.attempt is not None and not isinstance(settled.attempt, Accepted)
            still = failed and settled.terminal is None and taken.lane is None
            rows = self._parts.standings.retried(taken.delivery, taken.number, still=still)
            settled = replace(settled, records=(*settled.records, *rows)) if rows else settled
        if taken.parked and not settled.parked_again:
            out = unparked_out(parked_key(taken.delivery), taken.offset, taken.lane, taken.number)
            settled = replace(settled, records=(*settled.records, out))
        self._parts.settle(settled)
        return settled

    def _finish(self, turn: Turn[Taken], settled: Settled | None) -> None:
        attempt, again = (settled.attempt, settled.parked_again) if settled is not None else (None, False)
        seat = turn.seat
        left = self._desk.done(turn, self._parts.clock.monotonic(), ended_of(attempt), again=again)
        if seat.id in self._parts.standings.changed:
            self._parts.standings.changed.discard(seat.id)
            left += self._desk.set_terms(seat, self._parts.standings.terms(seat.id))
        if left:
            self._park(left)
        if seat.fetching or len(seat.parked):
            self._fetch([seat])

    def _fetch(self, seats: Iterable[Seat[Taken]]) -> None:
        if self._draining:
            return
        at, now = self._parts.clock.monotonic(), self._parts.clock.now_ms()
        wanted = [fetch for seat in seats for fetch in self._desk.wanted(seat, at, now)]
        if wanted:
            self._parts.fetcher.want(wanted)

    # Every tenth of a second

    def _tick(self) -> None:
        if self._cutting_off:
            return
        self._loop.call_later(LOOK_EVERY, self._tick)
        try:
            self._follow_configuration()
            for taken, fetch in self._strangers.leave():
                if fetch is None:
                    self._seat_it(taken)
                else:
                    self._take_back(fetch, taken)
            self._park(self._desk.tick(self._parts.clock.monotonic()))
            self._fetch([seat for seat in self._desk.busy() if self._is_ready(seat.partition)])
            if self._starts:
                self._spawn(self._parts.suppression.started(self._starts))
                self._starts = {}
            metrics.RECIPIENTS_HELD.set(self._desk.held())
        except Exception:
            log.exception("looking after the recipients failed")
        self._pump()

    def _follow_configuration(self) -> None:
        if self._parts.configuration.current is not self._configured:
            self._reconcile()

    def _is_ready(self, number: int) -> bool:
        return number in self._parked and self._parked[number].ready

    def _reconcile(self) -> None:
        """What the configuration says now of all recipients here."""
        self._configured = configuration = self._parts.configuration.current
        self._strangers.configuration = configuration
        now, standings = self._parts.clock.now_ms(), self._parts.standings
        for recipient in configuration.recipients.values():
            number = partition_for(recipient.id.encode(), self._parts.partitions.count or 1)
            partition = self._parked.get(number)
            if partition is not None:
                outs = standings.reconcile(recipient, now, number)
                if outs:
                    self._parts.settle(Settled(partition, None, outs))
        standings.changed.clear()
        for number in self._parked:
            for seat in self._desk.seats(number):
                self._park(self._desk.set_terms(seat, standings.terms(seat.id)))

    # Leaving

    async def _forget(self, numbers: Sequence[int]) -> None:
        for number in numbers:
            self._parked.pop(number, None)
            self._parts.standings.forget({seat.id for seat in self._desk.seats(number)})
            self._desk.forget(number)

    async def _drop_waiting(self) -> None:
        self._draining = True
        self._desk.drop_waiting()

    async def _cut_off(self) -> None:
        self._cutting_off = True
        self._desk.drop_waiting()
        for task in self._tasks - {asyncio.current_task()}:
            task.cancel()
        await asyncio.gather(*(self._tasks - {asyncio.current_task()}), return_exceptions=True)

    async def _close(self) -> None:
        self._cutting_off = True
        for channel in self._parts.channels.values():
            await channel.close()
        await self._parts.suppression.close()
