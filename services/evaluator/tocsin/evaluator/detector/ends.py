"""Where the partitions end, asked of the broker once a second: its answer is also its sign of life."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from typing import Any

from confluent_kafka import IsolationLevel, KafkaException, TopicPartition
from confluent_kafka.admin import OffsetSpec

from tocsin.shared import kafka
from tocsin.shared.clock import Clock
from tocsin.shared.settings import CommonSettings, KafkaSettings
from tocsin.shared.telemetry.logs import logger
from tocsin.shared.topics import SENSOR_READINGS

ASKED_EVERY = 1.0
ANSWERED_WITHIN = 4.0
"""Seconds; less than the age at which an answer is too old to count."""

FAILURES_OF_ONE_CLIENT = 3
"""Then another asks: when partitions have been given their leader anew, as after a restart of the only broker, the
client goes on asking with the leader's old epoch, and is refused each time."""

log = logger(__name__)

_LATEST = OffsetSpec.latest()  # type: ignore[no-untyped-call]


class Ends:
    """`newest[partition]`: the end, and the wall clock when it was asked for."""

    def __init__(
        self, settings: CommonSettings, clock: Clock, connect: Callable[[KafkaSettings], Any] = kafka.admin
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._connect = connect
        self._topic = settings.topic(SENSOR_READINGS)
        self._closing = threading.Event()
        self._partitions: tuple[int, ...] = ()
        self.newest: dict[int, tuple[int, int]] = {}
        self._thread = threading.Thread(target=self._run, name="ends", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def watch(self, partitions: Iterable[int]) -> None:
        self._partitions = tuple(partitions)
        self.newest = {}

    def close(self) -> None:
        self._closing.set()

    def _run(self) -> None:
        client, failures = self._connect(self._settings.kafka), 0
        while not self._closing.wait(ASKED_EVERY):
            partitions = self._partitions
            if not partitions:
                continue
            asked_at = self._clock.now_ms()
            wanted = {TopicPartition(self._topic, at): _LATEST for at in partitions}
            try:
                futures = client.list_offsets(
                    wanted, isolation_level=IsolationLevel.READ_COMMITTED, request_timeout=ANSWERED_WITHIN
                )
                ends = {place.partition: future.result(2 * ANSWERED_WITHIN).offset for place, future in futures.items()}
            except (KafkaException, TimeoutError) as error:
                # No answer is what the reader of `newest` will see.
                failures += 1
                if failures == FAILURES_OF_ONE_CLIENT or isinstance(error, TimeoutError):
                    log.warning("the ends of the partitions are not known; asking with a new client", why=str(error))
                    client, failures = self._connect(self._settings.kafka), 0
                continue
            failures = 0
            if partitions == self._partitions:
                self.newest = {at: (end, asked_at) for at, end in ends.items()}
