"""How far each service is behind: what lies in its topics beyond the offsets that its group has committed."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from confluent_kafka import IsolationLevel, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec

from tocsin.shared import kafka
from tocsin.shared.clock import Clock
from tocsin.shared.errors import BrokerError, TocsinError
from tocsin.shared.settings import CommonSettings
from tocsin.shared.telemetry.logs import logger
from tocsin.shared.topics import (
    DELIVERIES,
    NOTIFICATION_EVENTS,
    NOTIFICATION_TALLIES,
    SENSOR_READINGS,
    retry_topic,
)

log = logger(__name__)

EVERY_SECONDS = 10.0
TIMEOUT_SECONDS = 10.0

Place = tuple[str, int]


@dataclass(frozen=True, slots=True)
class Lag:
    """What one service has not read yet of one topic (its name without prefix)."""

    service: str
    group: str
    topic: str
    behind: int
    members: int  # of the group, now


@dataclass(frozen=True, slots=True)
class Lags:
    """All services in the order in which data flows; `read_at` 0: not read yet."""

    read_at: int = 0
    rows: tuple[Lag, ...] = ()


def groups(settings: CommonSettings) -> dict[str, tuple[str, tuple[str, ...]]]:
    """Consumer group and topics, by service."""
    retries = tuple(retry_topic(delay) for delay in settings.retry_tiers)
    topics = {
        "detector": (SENSOR_READINGS,),
        "activator": (NOTIFICATION_TALLIES,),
        "router": (NOTIFICATION_EVENTS,),
        "dispatcher": (DELIVERIES, *retries),
    }
    return {service: (f"{settings.topic_prefix}tocsin-{service}", names) for service, names in topics.items()}


def read_lags(settings: CommonSettings, client: AdminClient) -> tuple[Lag, ...]:
    """Raises BrokerError, TopicError."""
    wanted = groups(settings)
    names = [name for _, topics in wanted.values() for name in topics]
    counts = kafka.check_topics(settings, names, client)
    places = [(settings.topic(name), number) for name in names for number in range(counts[name])]
    try:
        firsts = read_offsets(client, places, OffsetSpec.earliest())  # type: ignore[no-untyped-call]
        ends = read_offsets(client, places, OffsetSpec.latest())  # type: ignore[no-untyped-call]
        members = _members(client, [group for group, _ in wanted.values()])
        found = []
        for service, (group, topics) in wanted.items():
            where = {name: [(settings.topic(name), number) for number in range(counts[name])] for name in topics}
            committed = _committed(settings, group, [place for its in where.values() for place in its])
            for name, its in where.items():
                behind = sum(max(0, ends[place] - max(committed.get(place, 0), firsts[place])) for place in its)
                found.append(Lag(service, group, name, behind, members.get(group, 0)))
    except KafkaException as error:
        raise BrokerError(f"consumer lag cannot be read: {error.args[0].str()}") from None
    return tuple(found)


def read_offsets(client: AdminClient, places: Iterable[Place], spec: OffsetSpec) -> dict[Place, int]:
    """Of committed records. Raises KafkaException."""
    asked = {TopicPartition(*place): spec for place in places}
    answers = client.list_offsets(asked, isolation_level=IsolationLevel.READ_COMMITTED, request_timeout=TIMEOUT_SECONDS)
    return {(place.topic, place.partition): int(answer.result().offset) for place, answer in answers.items()}


def _committed(settings: CommonSettings, group: str, places: Iterable[Place]) -> dict[Place, int]:
    """Nothing of a group that has never been there.

    By a consumer that never joins. An admin client may ask, too, but where the group's coordinator has just moved, or
    has never been asked for yet, it ends the whole process (librdkafka 2.16, issue 5040: it expects to be a consumer).
    """
    reader = kafka.consumer(settings.kafka, group)
    try:
        found = reader.committed([TopicPartition(*place) for place in places], timeout=TIMEOUT_SECONDS)
    finally:
        reader.close()
    return {(one.topic, one.partition): one.offset for one in found if one.offset >= 0}


def _members(client: AdminClient, names: list[str]) -> Mapping[str, int]:
    answers: Any = client.describe_consumer_groups(names, request_timeout=TIMEOUT_SECONDS)
    found: dict[str, int] = {}
    for name, answer in answers.items():
        try:
            found[name] = len(answer.result().members)
        except KafkaException:  # a broker may know nothing of a group that has never been there
            found[name] = 0
    return found


class LagFeed:
    """Reads it now and then, on a thread of its own; `current` may be read from any thread."""

    def __init__(self, settings: CommonSettings, clock: Clock, changed: Callable[[set[str]], None]) -> None:
        self._settings = settings
        self._clock = clock
        self._changed = changed
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="lag", daemon=True)
        self.current = Lags()

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        self._closing.set()
        if self._thread.is_alive():
            self._thread.join(TIMEOUT_SECONDS)

    def _run(self) -> None:
        client = kafka.admin(self._settings.kafka)
        while not self._closing.is_set():
            try:
                rows = read_lags(self._settings, client)
            except TocsinError as error:
                log.warning("consumer lag is as it was", why=str(error))
            else:
                moved = rows != self.current.rows
                self.current = Lags(self._clock.now_ms(), rows)
                if moved:
                    self._changed({"lag"})
            self._closing.wait(EVERY_SECONDS)
