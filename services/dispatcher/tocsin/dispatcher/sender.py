"""The sending loop, on a thread of its own: lanes in, settlements out."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeVar

from tocsin.dispatcher.channels.base import Channel
from tocsin.dispatcher.core.lanes import Lanes
from tocsin.dispatcher.fence import Fence
from tocsin.dispatcher.partitions import Partitions
from tocsin.dispatcher.pipeline import Pipeline
from tocsin.dispatcher.stages.records import done_key, end_without_attempt, give_up
from tocsin.dispatcher.stages.steps import Settled, Taken
from tocsin.dispatcher.suppression import Suppression
from tocsin.shared.clock import Clock
from tocsin.shared.telemetry.logs import logger

log = logger(__name__)

T = TypeVar("T")
CLOSING_TIMEOUT = 5.0


def new_event_loop() -> asyncio.AbstractEventLoop:
    if sys.platform == "win32":
        return asyncio.new_event_loop()
    import uvloop  # noqa: PLC0415  not on Windows

    return uvloop.new_event_loop()


@dataclass(frozen=True, slots=True)
class SenderParts:
    """What the loop works with."""

    pipeline: Pipeline
    channels: Mapping[str, Channel]
    suppression: Suppression
    partitions: Partitions
    fence: Fence
    clock: Clock
    settle: Callable[[Settled], None]


class Sender:
    """`submit`, `resume`, `remember`, `idle` and the drains are for other threads; the rest stays on the loop."""

    def __init__(self, parts: SenderParts, per_recipient: int, in_all: int) -> None:
        self._parts = parts
        self._lanes: Lanes[Taken] = Lanes(per_recipient, in_all)
        self._tasks: set[asyncio.Task[None]] = set()
        self._loop = new_event_loop()
        self._cutting_off = False
        self._thread = threading.Thread(target=self._run, name="sender", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def submit(self, batch: Sequence[Taken]) -> None:
        """These wait for their turn. Each ends in one settlement, or is dropped with its partition."""
        self._soon(self._admit_soon, batch)

    def resume(self) -> None:
        """Something that held back new sends may be over."""
        self._soon(self._pump)

    def remember(self, keys: Sequence[str]) -> None:
        """These are durably done."""
        self._soon(lambda: self._spawn(self._parts.suppression.remember(keys)))

    def _soon(self, call: Callable[..., object], *arguments: object) -> None:
        with suppress(RuntimeError):  # the loop has been closed: nobody is there to do it
            self._loop.call_soon_threadsafe(call, *arguments)

    def drop_waiting(self) -> None:
        """What has not started stays where it is in Kafka."""
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

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _admit_soon(self, batch: Sequence[Taken]) -> None:
        self._spawn(self._admit(batch))

    async def _admit(self, batch: Sequence[Taken]) -> None:
        known = await self._known(batch)
        now = self._parts.clock.now_ms()
        for taken in batch:
            if known and done_key(taken.delivery) in known:
                self._parts.settle(end_without_attempt(taken, "suppressed", now, "delivered_before"))
            elif taken.not_before_ms > now:
                self._loop.call_later((taken.not_before_ms - now) / 1000, self._offer_late, taken)
            else:
                self._lanes.offer(taken.delivery.recipient.id, taken)
        self._pump()

    async def _known(self, batch: Sequence[Taken]) -> set[str]:
        try:
            return await self._parts.suppression.known([done_key(taken.delivery) for taken in batch])
        except Exception:
            # It is a hint; the batch must go on.
            log.exception("repeat suppression failed")
            return set()

    def _offer_late(self, taken: Taken) -> None:
        self._lanes.offer(taken.delivery.recipient.id, taken)
        self._pump()

    def _pump(self) -> None:
        while not self._cutting_off and not self._parts.fence.closed and (turn := self._lanes.take()):
            self._spawn(self._serve(*turn))

    async def _serve(self, lane: str, taken: Taken) -> None:
        # One task goes on with whatever is next: a new task for each would cost as much as the rest of this loop.
        turn: tuple[str, Taken] | None = (lane, taken)
        while turn is not None:
            lane, taken = turn
            try:
                if self._parts.partitions.start(taken.partition):
                    await self._deliver(taken)
            finally:
                self._lanes.done(lane)
            stopped = self._cutting_off or self._parts.fence.closed
            turn = None if stopped else self._lanes.take()
        self._pump()

    async def _deliver(self, taken: Taken) -> None:
        try:
            self._parts.settle(await self._parts.pipeline(taken))
        except Exception:
            log.exception("a delivery could not be worked on", delivery=taken.delivery.id)
            self._parts.settle(give_up(taken, self._parts.clock.now_ms(), "internal_error"))
        finally:
            self._parts.partitions.end(taken.partition)

    async def _drop_waiting(self) -> None:
        self._lanes.drop_waiting()

    async def _cut_off(self) -> None:
        self._cutting_off = True
        self._lanes.drop_waiting()
        for task in self._tasks - {asyncio.current_task()}:
            task.cancel()
        await asyncio.gather(*(self._tasks - {asyncio.current_task()}), return_exceptions=True)

    async def _close(self) -> None:
        for channel in self._parts.channels.values():
            await channel.close()
        await self._parts.suppression.close()
