"""Messages out of the client without a Python object each: librdkafka's own functions, called by address.

`Consumer.consume()` makes an object, its key and its value of every message: that alone costs more than everything the
detector does with it. So the partitions' queues are forwarded to a queue of ours, as librdkafka's public interface
allows; whole batches are taken from it, copied into one piece of memory, and given back, all without the interpreter's
lock. The consumer itself goes on doing what it does: group, rebalances, errors, all through `poll`.

The client does not give out its handle. It is read from the consumer's object, and believed only if the memory it
points to holds the client's own name, as the system shows it (Linux). Otherwise, messages come through `consume()`.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Protocol

import confluent_kafka
import numpy as np
from confluent_kafka import Consumer, KafkaError, Message

from tocsin.evaluator.detector.batch import Batch
from tocsin.evaluator.detector.columns import Ints
from tocsin.evaluator.detector.compiling import (
    address_of,
    ask_with,
    call_with,
    compiled,
    copy_bytes,
    half_at,
    long_at,
    part,
    put_long,
)
from tocsin.evaluator.detector.scan_names import PADDING
from tocsin.evaluator.detector.scanning import Texts
from tocsin.shared.errors import FencedError
from tocsin.shared.headers import Headers
from tocsin.shared.telemetry.logs import logger

_MEMORY = Path("/proc/self/mem")
_HANDLE_BYTES = 4096
"""Of librdkafka's handle, looked through for the client's name."""

_PARTITION_EOF = -191

_O_PARTITION, _O_OFFSET, _O_HEADERS, _O_FIELDS = range(4)
_LONG = 8

# rd_kafka_message_t, as rdkafka.h declares it on 64-bit machines.
_ERR, _PARTITION, _PAYLOAD, _LEN, _KEY, _KEY_LEN, _OFFSET = 0, 16, 24, 32, 40, 48, 56

_FUNCTIONS: dict[str, tuple[Any, list[Any]]] = {
    "rd_kafka_queue_new": (ctypes.c_void_p, [ctypes.c_void_p]),
    "rd_kafka_queue_destroy": (None, [ctypes.c_void_p]),
    "rd_kafka_queue_get_partition": (ctypes.c_void_p, [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int32]),
    "rd_kafka_queue_forward": (None, [ctypes.c_void_p, ctypes.c_void_p]),
    "rd_kafka_consume_batch_queue": (
        ctypes.c_ssize_t,
        [ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p, ctypes.c_size_t],
    ),
    "rd_kafka_message_destroy": (None, [ctypes.c_void_p]),
    "rd_kafka_message_timestamp": (ctypes.c_int64, [ctypes.c_void_p, ctypes.c_void_p]),
    "rd_kafka_message_detach_headers": (ctypes.c_int, [ctypes.c_void_p, ctypes.c_void_p]),
    "rd_kafka_header_get_all": (
        ctypes.c_int,
        [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p],
    ),
    "rd_kafka_headers_destroy": (None, [ctypes.c_void_p]),
}

log = logger(__name__)


class StrayMessageError(Exception):
    """A message came past the queue of ours: it has to be fetched again, in its place."""


class Intake(Protocol):
    """Of the consuming thread."""

    def route(self, partitions: Iterable[int]) -> None:
        """These are about to be assigned; what came before is gone."""

    def take(self, most: int, timeout: float) -> Batch:
        """At most so many messages, of what comes within `timeout` seconds.

        Raises KafkaException, StrayMessageError; FencedError when the client has ended.
        """

    def close(self) -> None:
        """Before the consumer is."""


class PlainIntake:
    """Through the client's own objects."""

    def __init__(self, consumer: Consumer) -> None:
        self._consumer = consumer

    def route(self, partitions: Iterable[int]) -> None:
        pass

    def take(self, most: int, timeout: float) -> Batch:
        messages = self._consumer.consume(most, timeout)
        _check(messages)
        return Batch.of(messages)

    def close(self) -> None:
        pass


class DirectIntake:
    """Through a queue of its own."""

    def __init__(self, consumer: Consumer, library: Any, handle: int, topic: str) -> None:
        self._consumer = consumer
        self._library = library
        self._handle = handle
        self._topic = topic.encode()
        self._queue = library.rd_kafka_queue_new(handle)
        self._routes: list[int] = []
        self._pointers = np.zeros(0, np.int64)
        self._free = _address(library.rd_kafka_message_destroy)
        self._timestamp = _address(library.rd_kafka_message_timestamp)
        self._detach = _address(library.rd_kafka_message_detach_headers)

    def route(self, partitions: Iterable[int]) -> None:
        while len(self._gather(1 << 14, 0)):
            pass
        self._let_go()
        for partition in partitions:
            queue = self._library.rd_kafka_queue_get_partition(self._handle, self._topic, partition)
            self._library.rd_kafka_queue_forward(queue, self._queue)
            self._routes.append(queue)

    def take(self, most: int, timeout: float) -> Batch:
        messages = self._consumer.consume(1, 0)  # group, errors, log
        _check(messages)
        for message in messages:
            if message.error() is None:
                raise StrayMessageError(f"partition {message.partition()}, offset {message.offset()}")
            log.warning("the consumer says", error=str(message.error()))
        return self._gather(most, timeout)

    def close(self) -> None:
        self._let_go()
        self._library.rd_kafka_queue_destroy(self._queue)

    def _let_go(self) -> None:
        for queue in self._routes:
            self._library.rd_kafka_queue_destroy(queue)
        self._routes = []

    def _gather(self, most: int, timeout: float) -> Batch:
        if len(self._pointers) < most:
            self._pointers = np.zeros(most, np.int64)
        pointers = self._pointers
        count = self._library.rd_kafka_consume_batch_queue(self._queue, int(timeout * 1000), address_of(pointers), most)
        records, size = _measure(address_of(pointers), count)
        texts = Texts(np.empty(size + PADDING, np.uint8), np.empty((Texts.FIELDS, records), np.int64))
        others = np.zeros((_O_FIELDS, records), np.int64)
        ends = np.empty((max(count, 0) - records, 3), np.int64)
        detached = np.zeros(1, np.int64)
        _unload(
            (address_of(pointers), count, records * _LONG),
            (self._free, self._timestamp, self._detach, address_of(detached)),
            (address_of(texts.text), address_of(texts.places), address_of(others), address_of(ends)),
        )
        headers = _Detached(self._library, others[_O_HEADERS])
        return Batch(texts, others[_O_PARTITION], others[_O_OFFSET], headers, _ends(ends))


class _Detached:
    """The headers of a batch's messages; freed with it. Addresses, 0 where there are none."""

    def __init__(self, library: Any, addresses: Ints) -> None:
        self._library = library
        self._addresses = addresses if addresses.any() else addresses[:0]

    def __call__(self, place: int) -> Headers:
        found: Headers = []
        if not len(self._addresses) or not (headers := int(self._addresses[place])):
            return found
        name, value, size = ctypes.c_char_p(), ctypes.c_void_p(), ctypes.c_size_t()
        where = [ctypes.addressof(one) for one in (name, value, size)]
        while not self._library.rd_kafka_header_get_all(headers, len(found), *where):
            data = None if value.value is None else ctypes.string_at(value.value, size.value)
            found.append(((name.value or b"").decode("utf-8", "replace"), data))
        return found

    def __del__(self) -> None:
        for address in self._addresses[self._addresses != 0].tolist():
            self._library.rd_kafka_headers_destroy(address)


def open_intake(consumer: Consumer, topic: str, client_id: str) -> Intake:
    """The direct one where it can be had."""
    handle = _handle(consumer, client_id)
    if handle is None:
        log.warning("messages are taken through the client's objects, at a third of the speed")
        return PlainIntake(consumer)
    library = ctypes.CDLL(confluent_kafka.cimpl.__file__)
    for name, (result, arguments) in _FUNCTIONS.items():
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return DirectIntake(consumer, library, handle, topic)


def compile_intake() -> None:
    """Before there are messages."""
    _measure(0, 0)
    _unload((0, 0, 0), (0, 0, 0, 0), (0, 0, 0, 0))


def _check(messages: list[Message]) -> None:
    """The one thing that is fatal to a consumer: its name is another's now. It still delivers, and commits nothing."""
    for message in messages:
        error = message.error()
        if error is not None and error.code() == KafkaError._FATAL:  # noqa: SLF001  the client's public constant
            raise FencedError(f"two running detectors may not share one TOCSIN_INSTANCE ({error.str()})")


def _handle(consumer: Consumer, client_id: str) -> int | None:
    """librdkafka's handle: what stands first in the client's object."""
    if ctypes.sizeof(ctypes.c_void_p) != 8 or consumer.__sizeof__() < object.__basicsize__ + 8:
        return None
    handle = ctypes.c_void_p.from_address(id(consumer) + object.__basicsize__).value
    try:
        with _MEMORY.open("rb", buffering=0) as memory:
            memory.seek(handle or 0)
            found = memory.read(_HANDLE_BYTES)
    except (OSError, OverflowError, ValueError):
        return None
    return handle if f"{client_id}#consumer-".encode() in found else None


def _address(function: Any) -> int:
    address = ctypes.cast(function, ctypes.c_void_p).value
    assert address is not None
    return address


def _ends(rows: Ints) -> dict[int, int]:
    ends: dict[int, int] = {}
    for error, partition, offset in rows.tolist():
        if error == _PARTITION_EOF:
            ends[partition] = max(offset, ends.get(partition, 0))
        else:
            log.warning("the consumer says", error=error, partition=partition)
    return ends


@compiled
def _measure(pointers: int, count: int) -> tuple[int, int]:
    """How many are messages, and how long their keys and values are together."""
    records, size = 0, 0
    for place in range(count):
        message = long_at(pointers + place * _LONG)
        if half_at(message + _ERR) == 0:
            records += 1
            size += long_at(message + _LEN) + long_at(message + _KEY_LEN)
    return records, size


@part
def _copied(source: int, size: int, text: int, at: int, row: int, column: int) -> int:
    """A key or a value, and its place and size; the place after it."""
    put_long(row, at)
    if source == 0:
        put_long(row + column, -1)
        return at
    put_long(row + column, size)
    copy_bytes(text + at, source, size)
    return at + size


@compiled
def _unload(messages: tuple[int, int, int], calls: tuple[int, int, int, int], to: tuple[int, int, int, int]) -> None:
    """Everything out of the messages, which are given back. What is no message goes to the ends."""
    pointers, count, column = messages
    free, timestamp, detach, detached = calls
    text, row, other, end = to
    at = 0
    for place in range(count):
        message = long_at(pointers + place * _LONG)
        error, partition, offset = half_at(message + _ERR), half_at(message + _PARTITION), long_at(message + _OFFSET)
        if error:
            put_long(end, error)
            put_long(end + _LONG, partition)
            put_long(end + 2 * _LONG, offset)
            end += 3 * _LONG
        else:
            put_long(other + _O_PARTITION * column, partition)
            put_long(other + _O_OFFSET * column, offset)
            at = _copied(long_at(message + _KEY), long_at(message + _KEY_LEN), text, at, row, column)
            at = _copied(long_at(message + _PAYLOAD), long_at(message + _LEN), text, at, row + 2 * column, column)
            put_long(row + 4 * column, ask_with(timestamp, message, 0))
            if ask_with(detach, message, detached) & 0xFFFFFFFF == 0:
                put_long(other + _O_HEADERS * column, long_at(detached))
            row += _LONG
            other += _LONG
        call_with(free, message)
