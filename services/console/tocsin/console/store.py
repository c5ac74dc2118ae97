"""The only writer of `configuration`.

A write, step by step:

1. Take the transactional id `tocsin-configuration`. That fences any other writer and ends what a dead one left open.
2. Read the topic to the end as it stands after that: nobody else can write now.
3. Check names, expected revisions and references against what was read.
4. Write all records of the change, with its number and count in their headers, and one audit record for each changed
   record, in one transaction.
5. Commit, and only then answer.

A writer fenced on its way, or one whose commit got no answer, starts over once: step 1 settles what became of the
transaction and step 2 shows it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial

from confluent_kafka import Consumer, IsolationLevel, KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import OffsetSpec

from tocsin.console.audit import audit_change, audit_headers
from tocsin.console.state import Change, Operation, State, compose
from tocsin.console.yaml_export import names_of
from tocsin.shared import kafka
from tocsin.shared.bounded import bounded
from tocsin.shared.clock import Clock, SystemClock
from tocsin.shared.configuration.codec import CHANGE_HEADER, COUNT_HEADER, change_headers
from tocsin.shared.configuration.follower import Assembler
from tocsin.shared.errors import BrokerError
from tocsin.shared.headers import header
from tocsin.shared.settings import CommonSettings
from tocsin.shared.topics import CONFIGURATION, CONFIGURATION_AUDIT

TRANSACTIONAL_ID = "tocsin-configuration"
TRIES = 2
INIT_TIMEOUT = 30.0
COMMIT_TIMEOUT = 15.0
READ_TIMEOUT = 30.0
OVERRUN = 5.0  # after this a call that ignores its own timeout is given up

Build = Callable[[State], Sequence[Operation]]


class WriterFencedError(BrokerError):
    """Another writer has taken over in the middle, twice: nothing of this change was written. Try again."""

    def __init__(self) -> None:
        super().__init__(" ".join((type(self).__doc__ or "").split()))


class Store:
    """Reads and writes the configuration. Holds no connection between calls."""

    def __init__(
        self,
        settings: CommonSettings,
        actor: str,
        clock: Clock | None = None,
        before_commit: Callable[[Change], None] = lambda change: None,
    ) -> None:
        """`before_commit` is called when all is sent and nothing is committed: a test's way to interfere."""
        self._settings = settings
        self._actor = actor
        self._clock = clock or SystemClock()
        self._before_commit = before_commit

    def read(self) -> State:
        """The configuration as committed up to now. Raises BrokerError or TopicError."""
        kafka.check_topics(self._settings, [CONFIGURATION, CONFIGURATION_AUDIT])
        return self._read()[0]

    def write(self, build: Build) -> Change | None:
        """One change, made by `build` of the newest state; None when `build` has nothing to change.

        Whatever `build` raises ends the write with nothing written; it may be called again when another writer came
        between. Raises ConflictError, BrokerError, WriterFencedError.
        """
        kafka.check_topics(self._settings, [CONFIGURATION, CONFIGURATION_AUDIT])
        doubtful: Change | None = None
        fenced = False
        for _ in range(TRIES):
            producer = self._take_over()
            state, end = self._read()
            if doubtful is not None and _landed(doubtful, state):
                return doubtful
            operations = build(state)
            if not operations:
                return None
            # The log's end only grows, whatever compaction removes, so no number is ever used twice.
            change = compose(state, operations, max(state.change, end) + 1, self._clock.now_ms())
            try:
                self._send(producer, change, state)
                return change
            except KafkaException as error:
                fenced = _is_fenced(error)
                if not fenced and not _is_doubtful(error):
                    raise _broker_error(error) from None
                doubtful = change
        if fenced:
            raise WriterFencedError
        raise BrokerError("the broker did not confirm the change; look with `tocsin get`, then try again")

    def _take_over(self) -> Producer:
        transactional_id = f"{self._settings.topic_prefix}{TRANSACTIONAL_ID}"
        try:
            producer = kafka.transactional_producer(self._settings.kafka, transactional_id, linger_ms=0)
            bounded("init", partial(producer.init_transactions, INIT_TIMEOUT), INIT_TIMEOUT + OVERRUN)
        except KafkaException as error:
            raise _broker_error(error) from None
        return producer

    def _send(self, producer: Producer, change: Change, state: State) -> None:
        headers = change_headers(change.number, len(change.entries))
        producer.begin_transaction()
        for entry in change.entries:
            value = None if entry.after is None else entry.after.encode()
            producer.produce(
                self._settings.topic(CONFIGURATION), key=entry.key.encode(), value=value, headers=headers, partition=0
            )
        for record in audit_change(change, names_of(state), self._actor, self._clock.now_ms()):
            producer.produce(
                self._settings.topic(CONFIGURATION_AUDIT),
                key=record.record_id.encode(),
                value=record.encode(),
                headers=audit_headers(record),
            )
        self._before_commit(change)
        bounded("commit", partial(producer.commit_transaction, COMMIT_TIMEOUT), COMMIT_TIMEOUT + OVERRUN)

    def _read(self) -> tuple[State, int]:
        """The state, and the offset up to which it was read."""
        topic = TopicPartition(self._settings.topic(CONFIGURATION), 0, 0)
        try:
            end = self._end(topic)
            consumer = kafka.consumer(
                self._settings.kafka,
                f"{TRANSACTIONAL_ID}-reader",  # never joined nor committed
                enable_partition_eof=True,
                fetch_wait_max_ms=20,
            )
            try:
                consumer.assign([topic])
                return self._read_to(consumer, end), end
            finally:
                consumer.close()
        except KafkaException as error:
            raise _broker_error(error) from None

    def _end(self, topic: TopicPartition) -> int:
        # Asked read-uncommitted: a read-committed client would be told the last stable offset.
        client = kafka.admin(self._settings.kafka)
        latest = OffsetSpec.latest()  # type: ignore[no-untyped-call]
        until = time.monotonic() + READ_TIMEOUT
        while True:
            asked = client.list_offsets(
                {topic: latest}, isolation_level=IsolationLevel.READ_UNCOMMITTED, request_timeout=10
            )
            try:
                return int(next(iter(asked.values())).result().offset)
            except KafkaException as error:
                # A topic just created, or a broker just started, has no leader for a moment.
                if not kafka.is_retriable(error.args[0]) or time.monotonic() > until:
                    raise
                time.sleep(0.05)

    def _read_to(self, consumer: Consumer, end: int) -> State:
        assembler = Assembler()
        until = time.monotonic() + READ_TIMEOUT
        while True:
            for message in kafka.arrived(consumer, 1000, 0.1):
                error = message.error()
                if error is None:
                    headers = message.headers()
                    change, count = (int(header(headers, name) or b"0") for name in (CHANGE_HEADER, COUNT_HEADER))
                    assembler.add(message.key(), message.value(), change, count)
                elif error.code() == KafkaError._PARTITION_EOF and (message.offset() or 0) >= end:  # noqa: SLF001
                    assembler.flush()
                    return State(assembler.change, dict(assembler.records), dict(assembler.unreadable))
            if time.monotonic() > until:
                raise BrokerError(
                    f"{CONFIGURATION} could not be read to its end within {READ_TIMEOUT:.0f} s: "
                    "either the broker is slow, or something holds a transaction open on it"
                )


def _landed(change: Change, state: State) -> bool:
    """Whether this change, whose commit got no answer, is what the topic shows."""
    return state.change == change.number and all(
        state.records.get(entry.key) == entry.after for entry in change.entries
    )


def _is_fenced(error: KafkaException) -> bool:
    return error.args[0].code() in (
        KafkaError._FENCED,  # noqa: SLF001  the client's public constant
        KafkaError.INVALID_PRODUCER_EPOCH,
        KafkaError.PRODUCER_FENCED,
    )


def _is_doubtful(error: KafkaException) -> bool:
    """No answer, or the transaction was aborted under us: a new producer finds out."""
    problem: KafkaError = error.args[0]
    return bool(problem.retriable() or problem.txn_requires_abort()) or problem.code() == KafkaError._TIMED_OUT  # noqa: SLF001


def _broker_error(error: KafkaException) -> BrokerError:
    return BrokerError(f"the configuration cannot be read or written: {error.args[0].str()}")
