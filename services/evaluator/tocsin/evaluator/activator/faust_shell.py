"""The Faust app: one agent over `notification-tallies`, one table. Only this and `faust_parts` know Faust.

Faust brings records, keeps the table and its changelog, and shares the partitions among processes. It orders nothing
between changelog, outputs and offsets: that does the engine. Whatever is not expected ends the process; it is started
anew and reads again from the last commit, which changes nothing twice.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, cast

import faust
from aiokafka import errors as kafka_errors
from faust.exceptions import ProducerSendError
from faust.streams import Stream

from tocsin.evaluator.activator.broker import Broker
from tocsin.evaluator.activator.engine import MAX_WINDOW, Acknowledged, Delivered, Engine, NotTaken, Ticker
from tocsin.evaluator.activator.faust_parts import AckedTable, App, SettledConsumer, Tables
from tocsin.evaluator.activator.fence import Fence, end_at_once
from tocsin.evaluator.activator.offsets import LogView
from tocsin.evaluator.activator.rows import Rows
from tocsin.evaluator.activator.settings import ActivatorSettings
from tocsin.evaluator.core.activation import Place
from tocsin.evaluator.core.activation_partition import Record
from tocsin.evaluator.core.notification import Rulebook
from tocsin.shared.clock import Clock
from tocsin.shared.headers import Headers
from tocsin.shared.kafka import SESSION_TIMEOUT_MS
from tocsin.shared.topics import ACTIVATOR_CHANGELOG, ACTIVATOR_TABLE, MAX_RECORD_BYTES

APP_ID = ACTIVATOR_CHANGELOG.removesuffix(f"-{ACTIVATOR_TABLE}-changelog")
"""Faust names the changelog after the app and the table; it is the consumer group as well."""

MAX_BATCH_BYTES = 1 << 20
"""Of a produce request to one partition; aiokafka's 16 KiB hold four rows with events in them."""


class FaustShell:
    """The engine's bus. Runs until told to stop."""

    def __init__(
        self,
        settings: ActivatorSettings,
        broker: Broker,
        partitions: int,
        view: LogView,
        book: Callable[[], Rulebook],
        clock: Clock,
    ) -> None:
        self._settings = settings
        self._tallies = view.topic
        self._fence = Fence(clock, SESSION_TIMEOUT_MS / 1000 * 0.9)
        self.engine = Engine(self, Rows(partitions), view, book, self._fence.check)
        self._ticker = Ticker(self, clock, settings.activator_tick / 1000, self.owned)
        self._app = self._build_app(broker, partitions)
        self._table = self._build_agent(partitions)

    def _build_app(self, broker: Broker, partitions: int) -> App:
        settings = self._settings
        app = App(
            settings.topic(APP_ID),
            broker=[f"kafka://{server}" for server in broker.servers],
            broker_credentials=credentials(broker),
            broker_client_id=broker.client_id,
            broker_session_timeout=SESSION_TIMEOUT_MS / 1000,
            broker_heartbeat_interval=2.0,
            broker_commit_interval=settings.activator_commit / 1000,
            consumer_auto_offset_reset="earliest",
            consumer_max_fetch_size=MAX_RECORD_BYTES,
            producer_acks=-1,
            producer_compression_type="lz4",
            producer_linger=0.002,
            producer_max_batch_size=MAX_BATCH_BYTES,
            producer_max_request_size=MAX_RECORD_BYTES,
            store="memory://",
            table_standby_replicas=0,
            topic_partitions=partitions,
            topic_allow_declare=False,
            topic_disable_leader=True,
            web_enabled=False,
            autodiscover=False,
            TableManager=Tables,
        )
        app.conf.Table = AckedTable  # type: ignore[assignment]
        app.producer.buffer.max_messages = MAX_WINDOW
        return app

    def _build_agent(self, partitions: int) -> AckedTable:
        raw: dict[str, Any] = {
            "key_type": bytes,
            "key_serializer": "raw",
            "value_type": bytes,
            "value_serializer": "raw",
        }
        topic = self._app.topic(self._tallies, partitions=partitions, allow_empty=True, **raw)
        table: Any = self._app.Table(ACTIVATOR_TABLE, partitions=partitions, key_type=bytes, value_type=bytes)
        table.written, table.editions, table.read, table.recovered = [], {}, 0, self._recovered
        self._app.agent(topic, name="activator", concurrency=1)(cast(Any, self._judge))
        return cast(AckedTable, table)

    async def run(self, stop: asyncio.Event, on_state: Callable[[bool], None]) -> None:
        """Until `stop` is set; then drain: what was taken is finished, committed, and the group left."""
        self._fence.start()
        flusher, ticker = (asyncio.create_task(_guarded(part)) for part in (self.engine.flush, self._ticker.run))
        starting = asyncio.create_task(self._app.start())
        while not stop.is_set():
            if starting.done() and starting.exception() is not None:
                end_at_once("Faust did not start", starting.exception())
            on_state(self.owned() is not None)
            with suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), 0.1)
        on_state(False)
        ticker.cancel()
        self._app.stopping = True
        try:
            await asyncio.wait_for(self._app.stop(), self._settings.shutdown_grace / 1000)
        except TimeoutError:
            end_at_once("stopping took longer than the grace; what is not committed is read again", code=0)
        self._fence.close()
        for task in (starting, flusher):
            task.cancel()
        await asyncio.gather(starting, flusher, ticker, return_exceptions=True)

    def owned(self) -> set[int] | None:
        """Partitions worked on here; None while joining the group or recovering. Safe from any thread."""
        if self._app.rebalancing or not self._app.tables.actives_ready:
            return None
        return {tp.partition for tp in self._app.consumer.assignment() if tp.topic == self._tallies}

    def step(self) -> int | None:
        """Changes whenever a recovery gets on; None when none is under way. Safe from any thread."""
        tables = cast(Tables, self._app.tables)
        return tables.assignments + self._table.read if tables.recovering else None

    def poke(self) -> None:
        """The configuration has changed."""
        self._ticker.poke()

    def rows(self) -> dict[bytes, bytes]:
        return dict(self._table.items())

    def write(self, key: bytes, row: bytes | None) -> list[Acknowledged]:
        if row is None:
            self._table.pop(key, None)
        else:
            self._table[key] = row
        written, self._table.written = self._table.written, []
        return written

    async def send(
        self, topic: str, key: bytes, value: bytes, headers: Headers | None = None, partition: int | None = None
    ) -> Acknowledged:
        name = self._settings.topic(topic)
        # This client takes bytes only, where the others encode text themselves.
        encoded = [(one, text.encode() if isinstance(text, str) else text) for one, text in headers or ()]
        try:
            sent = await self._app.producer.send(name, key, value, partition, None, cast(Any, encoded))
        except ProducerSendError as error:
            raise _not_taken(error.__cause__) or error from error
        return asyncio.ensure_future(_taken(sent))

    async def settle(self, delivered: Delivered, *, commit: bool) -> None:
        event, stream = delivered.handle
        await stream.ack(event)
        if commit:
            self._consumer.done[event.message.tp] = event.message.offset + 1

    async def read_again(self, delivered: Delivered, offset: int) -> None:
        event, _ = delivered.handle
        await self._consumer.seek(event.message.tp, offset)

    @property
    def _consumer(self) -> SettledConsumer:
        return cast(SettledConsumer, self._app.consumer)

    async def _recovered(self, partitions: set[int]) -> None:
        self._consumer.done.clear()
        await self.engine.recovered(partitions)

    async def _judge(self, stream: Stream[Any]) -> None:
        try:
            async for event in stream.noack().events():
                message = event.message
                place = Place(message.partition, message.offset, round(message.timestamp * 1000))
                record = Record(cast(Any, message.key), cast(Any, message.value), place)
                await self.engine.take(Delivered(record, (event, stream)))
        except Exception as error:  # noqa: BLE001  Faust would acknowledge the record and go on
            end_at_once(f"unexpected: {error!r}", error)


_PASSING = (
    kafka_errors.UnknownError,  # what a broker answers that is being stopped
    kafka_errors.KafkaTimeoutError,
    kafka_errors.BrokerNotAvailableError,
    kafka_errors.ReplicaNotAvailableError,
    kafka_errors.CorruptRecordException,
)
"""Not called retriable by the client, though the same record may be taken later."""


def _not_taken(error: BaseException | None) -> NotTaken | None:
    passing = isinstance(error, kafka_errors.KafkaError) and (error.retriable or isinstance(error, _PASSING))
    return NotTaken(repr(error)) if passing else None


async def _taken(sent: Acknowledged) -> None:
    try:
        await sent
    except kafka_errors.KafkaError as error:
        raise _not_taken(error) or error from error


async def _guarded(part: Callable[[], Awaitable[None]]) -> None:
    try:
        await part()
    except Exception as error:  # noqa: BLE001  no failure may leave half of the process running
        end_at_once(f"unexpected: {error!r}", error)


def credentials(broker: Broker) -> Any:
    """As Faust wants them; None for a broker that asks for none."""
    sasl = broker.sasl
    if sasl is None:
        return faust.SSLCredentials(context=broker.tls) if broker.tls is not None else None
    if sasl.mechanism == "GSSAPI":
        return faust.GSSAPICredentials(kerberos_service_name=sasl.kerberos_service, ssl_context=broker.tls)
    return faust.SASLCredentials(
        username=sasl.username, password=sasl.password, ssl_context=broker.tls, mechanism=sasl.mechanism
    )
