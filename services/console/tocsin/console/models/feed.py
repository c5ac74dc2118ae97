"""Reads the topics from their beginnings into the read models, then goes on live; on a thread of its own."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable, Iterator

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, Message, TopicPartition

from tocsin.console.models.database import Database
from tocsin.console.models.folding import TOPICS, Batch, Stands
from tocsin.console.models.hub import RELOAD
from tocsin.console.models.keeping import forget, retentions
from tocsin.dispatcher.reading import PartitionKey, ends_of
from tocsin.shared import kafka
from tocsin.shared.clock import Clock
from tocsin.shared.headers import header
from tocsin.shared.schemas.system import UNTIL_HEADER
from tocsin.shared.settings import CommonSettings
from tocsin.shared.telemetry.health import Health
from tocsin.shared.telemetry.logs import logger

log = logger(__name__)

BATCH, FIRST_BATCH = 5_000, 20_000
"""Messages of one transaction, and of one before what was there at the start has been read."""

QUEUED = {"queued_max_messages_kbytes": 8 << 10, "fetch_queue_backoff_ms": 20}
"""Of each partition, in the client: its own default would be 64 MB. Full, it would wait a second before it goes on."""

FORGET_EVERY_SECONDS = 600.0
PAUSE_SECONDS = 5.0
"""Before starting over when the broker or the disk has failed in a way the client does not mend by itself."""


class Feed:
    """`progress` is safe to read from any thread."""

    def __init__(
        self,
        settings: CommonSettings,
        database: Database,
        health: Health,
        clock: Clock,
        changed: Callable[[set[str]], None],
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._database = database
        self._health = health
        self._changed = changed
        self._closing = threading.Event()
        self._names = {settings.topic(name): name for name in TOPICS}
        self._ends: dict[PartitionKey, int] = {}
        self._total = 1
        self._read = 0
        self.caught_up = threading.Event()
        self._thread = threading.Thread(target=self._run, name="read-models", daemon=True)

    @property
    def progress(self) -> float:
        """From 0 to 1: how much of what was there at the start has been read."""
        return 1.0 if self.caught_up.is_set() else min(0.999, self._read / self._total)

    def start(self) -> None:
        self._health.waiting("read models", "starting")
        self._thread.start()

    def close(self) -> None:
        self._closing.set()
        if self._thread.is_alive():
            self._thread.join(10)

    def _run(self) -> None:
        while not self._closing.is_set():
            try:
                self._follow()
            except Exception as error:
                # Rows are written so that reading again changes nothing: from the beginning is always right.
                log.exception("the read models start over")
                self._health.waiting("read models", f"starting over: {error}")
                self.caught_up.clear()
                self._closing.wait(PAUSE_SECONDS)

    def _follow(self) -> None:
        reader = kafka.consumer(
            self._settings.kafka,
            f"tocsin-console-{uuid.uuid4()}",
            enable_partition_eof=True,
            fetch_wait_max_ms=50,
            **QUEUED,
        )
        forgetting: Iterator[int] = iter(())
        forget_at = 0.0
        try:
            kept = retentions(self._settings)
            self._assign(reader)
            while not self._closing.is_set():
                self._take(reader.consume(BATCH if self.caught_up.is_set() else FIRST_BATCH, 0.1))
                if self.caught_up.is_set() and next(forgetting, None) is None and time.monotonic() >= forget_at:
                    forget_at = time.monotonic() + FORGET_EVERY_SECONDS
                    forgetting = forget(self._database, kept, self._clock.now_ms())
        finally:
            reader.close()

    def _assign(self, reader: Consumer) -> None:
        counts = kafka.check_topics(self._settings, TOPICS)
        places = [(self._settings.topic(name), number) for name, count in counts.items() for number in range(count)]
        found = ends_of(self._settings, places)
        self._ends = {place: end for place, (first, end) in found.items() if end > first}
        self._total = max(1, sum(end - first for first, end in found.values()))
        self._read = 0
        # Rows without a key of their own, and those that compaction may have taken away with their tombstones.
        self._database.write([("DELETE FROM steps WHERE ?", [(1,)]), ("DELETE FROM matched WHERE ?", [(1,)])])
        reader.assign([TopicPartition(*place, OFFSET_BEGINNING) for place in places])
        self._note_caught_up()

    def _take(self, messages: list[Message]) -> None:
        batch = Batch(watched=self.caught_up.is_set())
        for message in messages:
            error = message.error()
            if error is None:
                batch.add(self._names[message.topic() or ""], message.key(), message.value(), stands_of(message))
                self._read += 1
                self._passed(message, (message.offset() or 0) + 1)
            elif error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001  the client's public constant
                self._passed(message, message.offset() or 0)
            elif error.fatal():
                raise KafkaException(error)
        if batch.unreadable:
            log.warning("records that cannot be read are skipped", count=batch.unreadable)
        if statements := batch.statements():
            self._database.write(statements)
        self._note_caught_up()
        if self.caught_up.is_set() and batch.touched:
            self._changed(batch.touched)

    def _passed(self, message: Message, offset: int) -> None:
        place = (message.topic() or "", message.partition() or 0)
        if place in self._ends and offset >= self._ends[place]:
            del self._ends[place]

    def _note_caught_up(self) -> None:
        if self.caught_up.is_set():
            return
        if not self._ends:
            self._health.ready("read models")
            self.caught_up.set()
            self._changed({RELOAD})
        else:
            self._health.waiting("read models", f"{self.progress:.0%} read")


def stands_of(message: Message) -> Stands:
    """Of a record with a value, that says when it is from."""
    time = 0
    if message.value() is None:
        until = header(message.headers(), UNTIL_HEADER)
        time = int(until) if until is not None and until.isdigit() else message.timestamp()[1]
    return Stands(message.offset() or 0, time)
