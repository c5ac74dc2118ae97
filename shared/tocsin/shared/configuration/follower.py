"""How a process follows `configuration`: from the start to the end, then live, on a thread of its own.

1. Records of one change are kept back until all of them have come (the headers say how many), a newer change begins
   (compaction may have taken some), or the end has been read; then they take effect together.
2. A record that cannot be read keeps the last good one of its key in effect, is logged and counted.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Protocol

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from tocsin.shared import kafka
from tocsin.shared.configuration.codec import CHANGE_HEADER, COUNT_HEADER, decode_record
from tocsin.shared.configuration.records import Record
from tocsin.shared.configuration.snapshot import Configuration
from tocsin.shared.errors import BrokerError, CodecError
from tocsin.shared.headers import header
from tocsin.shared.settings import CommonSettings
from tocsin.shared.telemetry import metrics
from tocsin.shared.telemetry.logs import logger
from tocsin.shared.topics import CONFIGURATION

log = logger(__name__)

Listener = Callable[[Configuration], None]


class ConfigurationSource(Protocol):
    """What a service needs of the configuration; a test passes a constant."""

    @property
    def current(self) -> Configuration: ...


class Assembler:
    """Turns records, in log order, into configurations. Pure but for counting what it could not read."""

    def __init__(self) -> None:
        self.records: dict[str, Record] = {}
        self.unreadable: dict[str, str] = {}
        self.change = 0
        self._pending: list[tuple[str, Record | None]] = []
        self._pending_change = 0
        self._seen = 0  # records of the pending change, unreadable ones too

    def add(self, key: bytes | None, value: bytes | None, change: int, count: int) -> bool:
        """Whether a new configuration is in effect."""
        moved = False
        if change != self._pending_change:
            moved = self.flush()
        self._pending_change = change
        self._seen += 1
        text = (key or b"").decode(errors="replace")
        try:
            record = None if value is None else decode_record(key or b"", value)
            self._pending.append((text, record))
            self.unreadable.pop(text, None)
        except CodecError as error:
            self.unreadable[text] = str(error)
            log.error("configuration record cannot be read; the last good one stays", key=text, why=str(error))
        if self._seen >= count:
            moved = self.flush() or moved
        return moved

    def flush(self) -> bool:
        """Let what is kept back take effect."""
        self._seen = 0
        if not self._pending:
            return False
        # A rename is a tombstone and a put of the same id in one change: tombstones first.
        for key, record in sorted(self._pending, key=lambda item: item[1] is not None):
            if record is None:
                self.records.pop(key, None)
            else:
                self.records[key] = record
        self.change = max(self.change, self._pending_change)
        self._pending = []
        return True

    def configuration(self) -> Configuration:
        return Configuration.of(self.change, self.records)


def _number(message: Message, name: str) -> int:
    try:
        return int(header(message.headers(), name) or b"0")
    except ValueError:
        return 0


class ConfigurationFollower:
    """Follows until closed. `current` is safe to read from any thread."""

    def __init__(self, settings: CommonSettings, listener: Listener | None = None) -> None:
        self._settings = settings
        self._assembler = Assembler()
        self._current = Configuration()
        self._listeners: list[Listener] = [listener] if listener else []
        self._caught_up = threading.Event()
        self._moved = threading.Condition()
        self._closing = threading.Event()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="configuration", daemon=True)

    @property
    def current(self) -> Configuration:
        return self._current

    @property
    def unreadable(self) -> dict[str, str]:
        """Keys of records that could not be read, and why."""
        return dict(self._assembler.unreadable)

    def start(self, timeout: float = 30.0) -> Configuration:
        """Read to the end, then go on in the background. Raises BrokerError when that takes longer."""
        self._thread.start()
        if not self._caught_up.wait(timeout):
            raise BrokerError(f"{CONFIGURATION} could not be read to its end within {timeout:.0f} s")
        if self._failure is not None:
            raise BrokerError(f"{CONFIGURATION} cannot be read: {self._failure}")
        return self._current

    def wait_for(self, change: int, timeout: float) -> bool:
        """Wait until this change is in effect here; False when the time ran out."""
        with self._moved:
            return self._moved.wait_for(lambda: self._current.change >= change, timeout)

    def listen(self, listener: Listener) -> None:
        """Called on this follower's thread with each new configuration."""
        self._listeners.append(listener)

    def close(self) -> None:
        self._closing.set()
        if self._thread.is_alive():
            self._thread.join(10)

    def _run(self) -> None:
        try:
            consumer = kafka.consumer(
                self._settings.kafka,
                f"tocsin-configuration-{self._settings.instance}",  # never joined nor committed
                enable_partition_eof=True,
                fetch_wait_max_ms=100,
            )
        except KafkaException as error:
            self._failure = error
            self._caught_up.set()
            return
        try:
            consumer.assign([TopicPartition(self._settings.topic(CONFIGURATION), 0, 0)])
            while not self._closing.is_set():
                self._take(consumer)
        finally:
            consumer.close()

    def _take(self, consumer: Consumer) -> None:
        moved = False
        for message in kafka.arrived(consumer, 500, 0.2):
            error = message.error()
            if error is None:
                moved |= self._assembler.add(
                    message.key(), message.value(), _number(message, CHANGE_HEADER), _number(message, COUNT_HEADER)
                )
            elif error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001  the client's public constant
                moved |= self._assembler.flush()
                if not self._caught_up.is_set():
                    self._publish()
                    self._caught_up.set()
                    moved = False
            elif error.code() not in (KafkaError._TRANSPORT, KafkaError._ALL_BROKERS_DOWN):  # noqa: SLF001
                log.warning("configuration", error=error.str())
        metrics.CONFIGURATION_UNREADABLE.set(len(self._assembler.unreadable))
        if moved and self._caught_up.is_set():
            self._publish()

    def _publish(self) -> None:
        with self._moved:
            self._current = self._assembler.configuration()
            self._moved.notify_all()
        metrics.CONFIGURATION_CHANGE.set(self._current.change)
        for listener in self._listeners:
            try:
                listener(self._current)
            except Exception:
                log.exception("a listener failed on a new configuration")
