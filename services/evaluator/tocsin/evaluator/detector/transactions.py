"""Changes, rows, rejected readings and offsets: one Kafka transaction, or nothing."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Producer, TopicPartition

from tocsin.evaluator.detector.batch import Record
from tocsin.evaluator.detector.freeing import free_memory
from tocsin.evaluator.detector.output import Output
from tocsin.evaluator.detector.publishing import encode_change
from tocsin.evaluator.detector.rows import encode_key, encode_row
from tocsin.evaluator.detector.settings import DetectorSettings
from tocsin.shared import kafka
from tocsin.shared.bounded import BoundedCalls, OverrunError
from tocsin.shared.headers import Headers
from tocsin.shared.readings import Rejection, rejection_headers
from tocsin.shared.schemas.system import UNTIL_HEADER
from tocsin.shared.topics import (
    DETECTOR_STATE,
    MAX_RECORD_BYTES,
    NOTIFICATION_SYSTEMS,
    SENSOR_CHANGES,
    SENSOR_READINGS,
    SENSOR_READINGS_REJECTED,
)

COMMIT_WITHIN = 10.0
"""Seconds for each call; the broker ends a transaction after ten (kafka.SESSION_TIMEOUT_MS)."""

_OVERRUN = 5.0
"""Seconds after which a call that ignores its own timeout is given up; offsets at once: they are what gets stuck."""

_ROOM_FOR = 200_000
"""Records the client may hold; more are waited for."""

_ROOM_FOR_HEADERS = 64 << 10
_CUT_TO = 1 << 20


class Transactions:
    """Any KafkaException leaves it unusable until `renew`: nobody knows what became of the transaction."""

    def __init__(self, settings: DetectorSettings, at: Callable[[str], None]) -> None:
        self._settings = settings
        self._at = at
        self._producer: Producer | None = None
        self._calls = BoundedCalls("transaction")
        self._readings = settings.topic(SENSOR_READINGS)
        self._changes = settings.topic(SENSOR_CHANGES)
        self._state = settings.topic(DETECTOR_STATE)
        self._systems = settings.topic(NOTIFICATION_SYSTEMS)
        self._rejected = settings.topic(SENSOR_READINGS_REJECTED)

    @property
    def usable(self) -> bool:
        return self._producer is not None

    def renew(self) -> None:
        """A new producer; ends what the one before it, or a dead process of the same name, left open."""
        self.drop()
        producer = kafka.transactional_producer(
            self._settings.kafka,
            self._settings.transactional_id,
            queue_buffering_max_messages=_ROOM_FOR,
            queue_buffering_max_kbytes=1 << 18,
        )
        self._calls("init", partial(producer.init_transactions, COMMIT_WITHIN), COMMIT_WITHIN + _OVERRUN)
        self._producer = producer

    def drop(self) -> None:
        """Leave a transaction that may be open to the broker's timeout, or to the next `renew`."""
        self._producer = None

    def write(self, output: Output, metadata: Any, before_commit: Callable[[], None] = lambda: None) -> None:
        """Raises KafkaException, and what `before_commit` does; then nothing of it counts until `renew` has settled
        what does."""
        producer = self._producer
        assert producer is not None
        try:
            producer.begin_transaction()
            self._produce(producer, output)
            before_commit()
            if output.offsets:
                offsets = [TopicPartition(self._readings, at, offset) for at, offset in output.offsets.items()]
                self._insist(partial(producer.send_offsets_to_transaction, offsets, metadata, COMMIT_WITHIN), 0.0)
            self._at("before_commit")
            self._insist(partial(producer.commit_transaction, COMMIT_WITHIN), _OVERRUN)
            self._at("committed")
        except BaseException:
            self.drop()
            raise
        if any(key[0] == "order" for rows in output.rows.values() for key in rows):  # a checkpoint: now and then
            free_memory()

    def _insist(self, call: Callable[[], object], overrun: float, times: int = 2) -> None:
        """Again when the client says that the same call may be made again. Raises KafkaException."""
        for left in reversed(range(times)):
            try:
                self._calls("transaction", call, COMMIT_WITHIN + overrun)
                return
            except KafkaException as error:
                why = error.args[0]
                given_up = isinstance(error, OverrunError)
                again = isinstance(why, KafkaError) and why.retriable() and not why.txn_requires_abort()
                if given_up or not (left and again):
                    raise

    def _produce(self, producer: Producer, output: Output) -> None:
        for change in output.changes:
            key, value, headers = encode_change(change, self._readings)
            _send(producer, self._changes, key, value, headers=headers)
        for partition, rows in output.rows.items():
            for row_key, row in rows.items():
                value_or_none = None if row is None else encode_row(row)
                _send(producer, self._state, encode_key(row_key), value_or_none, partition=partition)
        for record, rejections in output.rejected:
            untouched, why = _rejected(record, self._readings, rejections)
            _send(producer, self._rejected, record.key, untouched, headers=why)
        for system_key, row_or_none, at in output.systems:
            until: Headers = [] if row_or_none is not None else [(UNTIL_HEADER, str(at).encode())]
            _send(producer, self._systems, system_key, row_or_none, headers=until)
        producer.poll(0)


def _rejected(record: Record, topic: str, rejections: list[Rejection]) -> tuple[bytes | None, Headers]:
    """The message as it came, and why. What no longer fits with its headers is cut, and says so."""
    own = rejection_headers(rejections, f"{topic}/{record.partition}@{record.offset}")
    size = len(record.value or b"") + len(record.key or b"")
    size += sum(len(name) + len(text or b"") for name, text in record.headers)
    if size > MAX_RECORD_BYTES - _ROOM_FOR_HEADERS:
        return (record.value or b"")[:_CUT_TO], [*own, ("cut-from", str(size).encode())]
    return record.value, [*record.headers, *own]


def _send(producer: Producer, topic: str, key: Any, value: Any, **more: Any) -> None:
    while True:
        try:
            producer.produce(topic, key=key, value=value, **more)
            return
        except BufferError:
            producer.poll(0.1)
