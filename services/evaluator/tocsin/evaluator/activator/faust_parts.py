"""Parts of Faust that do otherwise here, each for a reason. With `faust_shell` the only file that imports Faust."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import suppress
from typing import Any, cast

import faust
from aiokafka.errors import IllegalStateError
from faust.tables.manager import TableManager
from faust.tables.recovery import Recovery
from faust.tables.table import Table
from faust.transport.drivers import aiokafka as driver
from faust.types import TP, EventT
from mode.utils.futures import notify

from tocsin.evaluator.activator.engine import Acknowledged
from tocsin.evaluator.activator.fence import end_at_once
from tocsin.evaluator.activator.rows import readable

_faust_log = logging.getLogger("faust")


class AckedTable(Table[Any, Any]):
    """Collects the futures of its changelog writes; in a recovery an older edition never replaces a newer one."""

    logger = _faust_log
    written: list[Acknowledged]
    editions: dict[bytes, int]
    read: int  # changelog records, ever
    recovered: Callable[[set[int]], Awaitable[None]]
    app: App

    def send_changelog(self, *args: Any, **kwargs: Any) -> Any:
        future = super().send_changelog(*args, **kwargs)
        self.written.append(future)
        return future

    def apply_changelog_batch(self, batch: Iterable[EventT[Any]]) -> None:
        super().apply_changelog_batch([event for event in batch if self._is_newer(event)])

    async def on_changelog_event(self, event: EventT[Any]) -> None:
        self.read += 1
        await super().on_changelog_event(event)

    async def on_recovery_completed(self, active_tps: set[TP], standby_tps: set[TP]) -> None:
        try:
            await super().on_recovery_completed(active_tps, standby_tps)
            self.editions.clear()
            await self.recovered({tp.partition for tp in active_tps})
        except Exception as error:  # noqa: BLE001  Faust would go on without the outboxes
            if not self.app.stopping:
                end_at_once(f"recovery failed: {error!r}", error)

    def _is_newer(self, event: EventT[Any]) -> bool:
        # A process that was cut off may still have written a row after its successor had.
        key, value = event.message.key, event.message.value
        if key is None:
            return False
        if value is None:
            self.editions.pop(key, None)
            return True
        row = readable(key, value)
        if row is None or row.edition < self.editions.get(key, 0):
            return False
        self.editions[key] = row.edition
        return True


class _NothingRead(dict[TP, int | None]):
    """Faust drops what it believes to have brought already, also what is read again. The engine knows better."""

    def __getitem__(self, tp: TP) -> None:
        return None


class SettledConsumer(driver.Consumer):
    """Commits what the engine has settled, in order, instead of what Faust makes of the acknowledgements."""

    logger = _faust_log
    done: dict[TP, int]  # the offset to go on from

    def on_init(self) -> None:
        super().on_init()
        self.done = {}
        self._read_offset = _NothingRead()

    def ack(self, message: Any) -> bool:
        if message.acked:
            return False
        message.acked = True
        self._unacked_messages.discard(message)
        notify(self._waiting_for_ack)
        return True

    def _filter_tps_with_pending_acks(self, topics: Any = None) -> Iterator[TP]:
        return iter(list(self.done))

    def _new_offset(self, tp: TP) -> int | None:
        return self.done.get(tp)

    async def _seek(self, partition: TP, offset: int) -> None:
        # On the thread that reads: from this one a seek is lost when a batch is just being handed over.
        with suppress(IllegalStateError):  # it is not ours any more
            await self._thread.call_thread(cast(Any, self._thread.seek), partition, offset)


class _Transport(driver.Transport):
    """Aiokafka with the consumer above."""

    Consumer = SettledConsumer


class _Recovery(Recovery):
    """Brings nothing of the streams before they have been sought to the commit; Faust clears that away, for a gap."""

    logger = _faust_log

    async def on_recovery_completed(self, generation_id: int = 0) -> None:
        self.app.consumer.stop_flow()
        await super().on_recovery_completed(generation_id)


class Tables(TableManager):
    """Faust's own waits a second before it looks at anything."""

    logger = _faust_log
    assignments = 0
    recovering = False

    @property
    def recovery(self) -> Recovery:
        if self._recovery is None:
            self._recovery = _Recovery(self.app, self, beacon=self.beacon, loop=self.loop)
        return self._recovery

    async def sleep(self, n: Any) -> None:
        await super().sleep(0 if n == 1.0 else n)

    def on_rebalance_start(self) -> None:
        self.recovering = False
        super().on_rebalance_start()

    async def on_rebalance(self, *args: Any, **kwargs: Any) -> None:
        self.assignments += 1
        self.recovering = True
        await super().on_rebalance(*args, **kwargs)

    def on_actives_ready(self) -> None:
        self.recovering = False
        super().on_actives_ready()


class App(faust.App):
    """Faust without its data folder, and without going on after a crash of a part."""

    logger = _faust_log
    stopping = False  # from then on parts may fail: what is not committed is read again

    async def on_first_start(self) -> None:
        pass

    def _new_transport(self) -> Any:
        return _Transport(self.conf.broker_consumer, self)

    def _crash(self, reason: BaseException) -> None:
        if not isinstance(reason, asyncio.CancelledError) and not self.stopping:
            end_at_once(f"a part of Faust crashed: {reason!r}", reason)
