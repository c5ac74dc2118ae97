"""The way to the broker: one producer, one thread that hears its acknowledgements, receipts for whoever waits.

`send` may be called from any thread. Callbacks of messages run in the outlet's thread. A producer that has failed for
good (`fatal`) is replaced; what it still held is reported as not delivered, so that its sender tries again.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from tocsin.shared import kafka
from tocsin.shared.headers import Headers
from tocsin.shared.settings import KafkaSettings
from tocsin.shared.telemetry.health import Health
from tocsin.shared.telemetry.logs import logger

Delivered = Callable[[KafkaError | None, Message], None]

_POLL_SECONDS = 0.1
_PROBE_SECONDS = 1.0

_log = logger(__name__)


@dataclass(frozen=True, slots=True)
class OutletPolicy:
    """How long a message may wait, and how much may wait."""

    delivery_timeout_ms: int
    max_messages: int
    max_bytes: int

    def settings(self) -> dict[str, object]:
        """For the producer. The whole timeout must be left for retries, so reconnecting is quick."""
        return {
            "delivery_timeout_ms": self.delivery_timeout_ms,
            "request_timeout_ms": max(1000, min(5000, self.delivery_timeout_ms)),
            "queue_buffering_max_messages": self.max_messages,
            "queue_buffering_max_kbytes": max(1, self.max_bytes // 1024),
            "reconnect_backoff_ms": 100,
            "reconnect_backoff_max_ms": 1000,
        }


class NotTakenError(Exception):
    """The producer takes no message now: its queue is full, or it is being replaced."""


class Outlet:
    """Sends until closed. `health` has a part `broker`, ready while the broker acknowledges."""

    def __init__(self, settings: KafkaSettings, policy: OutletPolicy, health: Health, probe_topic: str) -> None:
        self._settings = settings
        self._policy = policy
        self._health = health
        self._probe_topic = probe_topic
        self._lock = threading.Lock()
        self._fatal = threading.Event()
        self._stopping = threading.Event()
        self._unsettled = 0
        self.acknowledging = True
        self._producer = self._make()
        health.ready("broker")
        self._thread = threading.Thread(target=self._run, name="outlet", daemon=True)
        self._thread.start()

    def send(self, topic: str, key: bytes | None, value: bytes, headers: Headers, delivered: Delivered) -> None:
        """`delivered` is called once, unless this raises NotTakenError."""
        try:
            with self._lock:
                self._producer.produce(topic, value, key, on_delivery=delivered, headers=headers)
                self._unsettled += 1
        except BufferError:
            raise NotTakenError("the producer's queue is full") from None
        except KafkaException as error:
            if error.args[0].fatal():
                self._fatal.set()
            raise NotTakenError(error.args[0].str()) from None

    def waiting(self) -> int:
        """Messages not yet settled."""
        return self._unsettled

    def settled(self, error: KafkaError | None) -> None:
        """To be called by every `delivered`, so that the outlet knows how the broker does and what is left."""
        with self._lock:
            self._unsettled -= 1
        if error is None:
            if not self.acknowledging:
                self._recovered()
            return
        if error.fatal():
            self._fatal.set()
        if self.acknowledging:
            self.acknowledging = False
            self._health.waiting("broker", f"does not acknowledge: {error.str()}")
            _log.warning("broker does not acknowledge", error=error.str())

    def close(self, grace_seconds: float) -> int:
        """Wait for what is under way; the number of messages given up."""
        until = time.monotonic() + grace_seconds
        while self._unsettled and time.monotonic() < until:
            time.sleep(0.02)
        self._stopping.set()
        self._thread.join()
        left = self._unsettled
        if left:
            self._producer.purge()
            self._producer.flush(1)
        return left

    def _make(self) -> Producer:
        return kafka.producer(self._settings, **self._policy.settings(), error_cb=self._on_error)

    def _on_error(self, error: KafkaError) -> None:
        if error.fatal():
            self._fatal.set()

    def _recovered(self) -> None:
        self.acknowledging = True
        self._health.ready("broker")
        _log.info("broker acknowledges again")

    def _run(self) -> None:
        probe_at = 0.0
        while not self._stopping.is_set():
            self._producer.poll(_POLL_SECONDS)
            if self._fatal.is_set():
                self._replace()
            if not self.acknowledging and time.monotonic() > probe_at:
                self._probe()
                probe_at = time.monotonic() + _PROBE_SECONDS

    def _replace(self) -> None:
        _log.error("producer failed for good; making a new one")
        with self._lock:
            old, self._producer = self._producer, self._make()
            self._fatal.clear()
        old.purge()
        old.flush(1)

    def _probe(self) -> None:
        # Nobody sends to a gateway that is not ready, so no delivery would tell that the broker is back.
        try:
            self._producer.list_topics(self._probe_topic, timeout=0.5)
        except KafkaException:
            return
        self._recovered()


@dataclass(frozen=True, slots=True)
class Settled:
    """How the messages of one request ended."""

    failed: int
    error: str | None  # the first one's


class Receipt:
    """Waits for all messages of one request. Belongs to one event loop; `delivered` comes from the outlet's thread."""

    def __init__(self, outlet: Outlet) -> None:
        self._outlet = outlet
        self._loop = asyncio.get_running_loop()
        self._lock = threading.Lock()
        self._open = 1  # the sender's own, until it has sent everything
        self._failed = 0
        self._error: str | None = None
        self._done: asyncio.Future[Settled] = self._loop.create_future()

    def expect(self) -> None:
        """One more message is on its way."""
        with self._lock:
            self._open += 1

    def withdraw(self, why: str) -> None:
        """The message expected last was not taken."""
        self._close_one(why)

    def delivered(self, error: KafkaError | None, message: Message) -> None:
        self._outlet.settled(error)
        self._close_one(None if error is None else error.str())

    async def wait(self) -> Settled:
        """Once nothing more will be sent."""
        self._close_one(None)
        return await self._done

    def _close_one(self, error: str | None) -> None:
        with self._lock:
            self._open -= 1
            if error is not None:
                self._failed += 1
                self._error = self._error or error
            ended = self._open == 0
        if ended:
            with suppress(RuntimeError):  # the loop has been closed: nobody waits any more
                self._loop.call_soon_threadsafe(self._finish)

    def _finish(self) -> None:
        if not self._done.done():
            self._done.set_result(Settled(self._failed, self._error))
