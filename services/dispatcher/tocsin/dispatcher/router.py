"""The router's shell: events in, deliveries out, exactly once.

On assignment, in this order: the committed offset (the client waits while a dead predecessor's transaction is open);
the end of the same partition of `router-state`, uncommitted records counted; the rows, read committed, until past that
end; then events. Deliveries, audit, rows and offsets of a batch are one transaction. After any failure: a new producer
and a new assignment, so everything is restored from what is committed.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, assert_never

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaException, Message, Producer, TopicPartition

from tocsin.dispatcher.core import audit
from tocsin.dispatcher.core.routing import Known, Routed, RouterRow, route
from tocsin.dispatcher.producing import produce
from tocsin.dispatcher.router_state import read_rows
from tocsin.dispatcher.settings import RouterSettings
from tocsin.dispatcher.stages.records import audit_out, delivery_out, trace_of
from tocsin.dispatcher.stages.steps import Out
from tocsin.dispatcher.unclaimed import Unclaimed
from tocsin.shared import kafka
from tocsin.shared.bounded import BoundedCalls
from tocsin.shared.clock import Clock
from tocsin.shared.configuration.snapshot import Configuration
from tocsin.shared.errors import CodecError
from tocsin.shared.schemas.base import Source
from tocsin.shared.schemas.event import NotificationEvent
from tocsin.shared.telemetry import metrics
from tocsin.shared.telemetry.logs import logger
from tocsin.shared.topics import NOTIFICATION_EVENTS, ROUTER_STATE

log = logger(__name__)

BATCH = 200
DELIVERIES_AT_ONCE = 2_000  # a transaction may last ten seconds and should not last one
POLL_S = 0.1
CALL_TIMEOUT = 15.0
OVERRUN = CALL_TIMEOUT + 5.0  # after this a call that ignores its own timeout is given up
OFFSETS_WITHIN = kafka.SESSION_TIMEOUT_MS / 1000  # by then the broker has ended the transaction
PAUSE_AFTER_FAILURE = 0.25
SOURCE = "/router"

ConfigurationOf = Callable[[int], Configuration]
"""The configuration, once it is at least as new as this change, or what there is when that takes too long."""


class Router:
    """Everything runs on the thread that calls `step`."""

    def __init__(
        self,
        settings: RouterSettings,
        configuration: ConfigurationOf,
        clock: Clock,
        stopping: Callable[[], bool],
        at: Callable[[str], None],
    ) -> None:
        self._settings = settings
        self._configuration = configuration
        self._clock = clock
        self._stopping = stopping
        self._at = at
        self._topic = settings.topic(NOTIFICATION_EVENTS)
        self._partitions: dict[int, dict[str, RouterRow]] = {}  # the rows of each
        self._producer: Producer | None = None
        self._calls = BoundedCalls("transaction")
        self._consumer: Consumer = kafka.consumer(
            settings.kafka, settings.router_group, group_protocol="classic", fetch_wait_max_ms=100
        )
        self._unclaimed = Unclaimed(kafka.admin(settings.kafka), settings.router_group, [self._topic], clock)
        self._start_over = False
        self._assigned = False

    @property
    def assigned(self) -> bool:
        """Whether the group has given this process its share, which may be none."""
        return self._assigned

    def join(self) -> None:
        self._renew_producer()
        self._consumer.subscribe([self._topic], on_assign=self._on_assign, on_revoke=self._drop, on_lost=self._drop)

    def step(self) -> None:
        """One batch: poll, route, commit."""
        if self._unclaimed.found():
            log.warning("partitions were given to nobody; joining anew")
            self._start_over = True
        if self._start_over:
            self._start_over = False
            self._consumer.unsubscribe()
            self._partitions.clear()
            self.join()
        first = self._consumer.poll(POLL_S)
        if first is None:
            return
        messages = [one for one in (first, *self._consumer.consume(BATCH - 1, 0)) if self._is_ours(one)]
        if not messages or self._start_over:
            return
        try:
            self._transact(messages)
        except KafkaException as error:
            log.warning("routing failed; starting over from what is committed", error=str(error))
            self._start_over = True

    def close(self) -> None:
        self._consumer.close()

    def _is_ours(self, message: Message) -> bool:
        if problem := message.error():
            log.warning("consuming", error=problem.str())
            return False
        return message.partition() in self._partitions

    def _transact(self, messages: Sequence[Message]) -> None:
        # Waiting for the configuration comes first: a transaction must not grow old.
        decoded = [(message, self._decode(message)) for message in messages]
        newest = max((event.configuration_change for _, event in decoded if event is not None), default=0)
        configuration = self._configuration(newest)
        left = deque(decoded)
        while left:
            self._transaction(left, configuration)

    def _transaction(self, left: deque[tuple[Message, NotificationEvent | None]], configuration: Configuration) -> None:
        """As many of these as make a transaction of a good size; they are taken off the front."""
        producer = self._producer
        assert producer is not None
        producer.begin_transaction()
        touched: dict[tuple[int, str], RouterRow] = {}
        moved: dict[int, int] = {}
        made = 0
        while left and made < DELIVERIES_AT_ONCE:
            message, event = left.popleft()
            number, offset = message.partition() or 0, message.offset() or 0
            moved[number] = offset + 1
            if event is not None:
                made += self._route(producer, Source(topic=self._topic, partition=number, offset=offset), event,
                                    configuration, touched)  # fmt: skip
        for (number, key), row in touched.items():
            produce(producer, self._settings, Out(ROUTER_STATE, key.encode(), row.encode(), [], number))
        offsets = [TopicPartition(self._topic, number, offset) for number, offset in moved.items()]
        membership = self._consumer.consumer_group_metadata()
        send = partial(producer.send_offsets_to_transaction, offsets, membership, CALL_TIMEOUT)
        self._calls("offsets", send, OFFSETS_WITHIN)
        self._at("before_commit")
        self._calls("commit", lambda: producer.commit_transaction(CALL_TIMEOUT), OVERRUN)
        self._at("committed")

    def _decode(self, message: Message) -> NotificationEvent | None:
        """None for poison: it has no recipient, so there is no one to write a dead letter for."""
        try:
            return NotificationEvent.decode(message.value())
        except CodecError as error:
            metrics.EVENTS_REJECTED.labels(error.reason).inc()
            log.error(
                "record rejected",
                topic=message.topic(),
                partition=message.partition(),
                offset=message.offset(),
                reason=error.reason,
                why=error.detail,
            )
            return None

    def _route(
        self,
        producer: Producer,
        source: Source,
        event: NotificationEvent,
        configuration: Configuration,
        touched: dict[tuple[int, str], RouterRow],
    ) -> int:
        """How many deliveries it makes."""
        rows = self._partitions[source.partition]
        key = event.notification.id
        match route(event, rows.get(key, RouterRow()), configuration, self._clock.now_ms()):
            case Known():
                metrics.EVENTS_ROUTED.labels("known").inc()
                return 0
            case Routed() as routed:
                _report(event, routed)
                rows[key] = touched[(source.partition, key)] = routed.row
                for delivery in routed.deliveries:
                    line = audit.routed(delivery, audit.Origin(source, self._settings.instance))
                    produce(producer, self._settings, delivery_out(delivery))
                    produce(producer, self._settings, audit_out(line, trace_of(delivery), SOURCE))
                return len(routed.deliveries)
            case other:
                assert_never(other)

    def _renew_producer(self) -> None:
        """Ends what a predecessor of the same name left open; waits for the broker as long as it takes."""
        while not self._stopping():
            producer = kafka.transactional_producer(
                self._settings.kafka, f"{self._settings.router_group}-{self._settings.instance}"
            )
            try:
                self._calls("init", partial(producer.init_transactions, CALL_TIMEOUT), OVERRUN)
            except KafkaException as error:
                log.warning("the broker does not take a producer yet", error=str(error))
                time.sleep(PAUSE_AFTER_FAILURE)
            else:
                self._producer = producer
                return

    def _on_assign(self, consumer: Consumer, assigned: list[TopicPartition]) -> None:
        try:
            committed = consumer.committed(assigned, timeout=CALL_TIMEOUT)
            restored = {one.partition: read_rows(self._settings, one.partition, self._stopping) for one in committed}
        except KafkaException as error:
            log.warning("state cannot be restored yet; joining anew", error=str(error))
            consumer.assign([])
            self._start_over = True
            return
        self._partitions = restored
        self._assigned = True
        consumer.assign([TopicPartition(one.topic, one.partition, _start_of(one)) for one in committed])
        log.info("partitions assigned", count=len(assigned), rows=sum(map(len, restored.values())))

    def _drop(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        # Each batch is committed before the next poll, so nothing is under way when this is called.
        self._assigned = False
        for one in partitions:
            self._partitions.pop(one.partition, None)


def _start_of(committed: TopicPartition) -> Any:
    return OFFSET_BEGINNING if committed.offset < 0 else committed.offset


def _report(event: NotificationEvent, routed: Routed) -> None:
    metrics.EVENTS_ROUTED.labels(routed.nobody_because or "routed").inc()
    metrics.DELIVERIES_ROUTED.inc(len(routed.deliveries))
    if routed.oddity:
        log.warning(
            "event out of order",
            oddity=routed.oddity,
            notification=event.notification.name,
            event_id=event.id,
            ordinal=event.ordinal,
        )
    if routed.unknown_recipients:
        log.warning(
            "recipients do not exist", notification=event.notification.name, recipients=routed.unknown_recipients
        )
    log.info(
        "event routed",
        notification=event.notification.name,
        event_kind=event.kind,
        event_id=event.id,
        deliveries=len(routed.deliveries),
        nobody_because=routed.nobody_because,
    )
