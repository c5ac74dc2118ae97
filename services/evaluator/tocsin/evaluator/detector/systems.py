"""`notification-systems`: which systems match which notification, for whoever wants to list them.

Once a second the matching systems are compared with what the topic has; the difference goes into the transaction at
hand. On assignment the topic is read, so whatever a process that died had written is put right.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from confluent_kafka import Message

from tocsin.evaluator.detector.state_reader import StateReader
from tocsin.shared.errors import CodecError
from tocsin.shared.schemas.system import MatchedSystem, system_key
from tocsin.shared.telemetry.logs import logger
from tocsin.shared.topics import NOTIFICATION_SYSTEMS

log = logger(__name__)

Place = tuple[str, int]
"""Notification and input partition."""

Written = tuple[bytes, bytes | None, int]
"""Key, value or tombstone, and the event time at which it was noticed."""


class MatchedSystems:
    """What the topic has of the input partitions owned here, and what has to change."""

    def __init__(self, published: Mapping[Place, Iterable[str]] | None = None) -> None:
        self._published = {place: set(systems) for place, systems in (published or {}).items()}
        self._seen: dict[Place, Sequence[int]] = {}

    def changes(
        self, matched: Mapping[Place, Sequence[int]], names: Sequence[str], now: Mapping[int, int]
    ) -> list[Written]:
        """`matched`: systems by number, of every notification there is; `now`: event time by partition."""
        written: list[Written] = []
        for place in [place for place in self._published if place not in matched]:
            written += self._change(place, set(), now.get(place[1], 0))
            self._seen.pop(place, None)
        for place, systems in matched.items():
            if self._seen.get(place) is not systems:
                self._seen[place] = systems
                written += self._change(place, {names[system] for system in systems}, now[place[1]])
        return written

    def _change(self, place: Place, systems: set[str], now: int) -> list[Written]:
        notification_id, partition = place
        known = self._published.get(place, set())
        if systems:
            self._published[place] = systems
        else:
            self._published.pop(place, None)
        gone: list[Written] = [(system_key(notification_id, system), None, now) for system in sorted(known - systems)]
        come = (
            MatchedSystem(notification_id=notification_id, system=system, partition=partition, since=now)
            for system in sorted(systems - known)
        )
        return gone + [(system_key(one.notification_id, one.system), one.encode(), now) for one in come]


def read_published(reader: StateReader, topic: str, owned: Iterable[int]) -> dict[Place, set[str]]:
    """What the topic has of these input partitions. Raises KafkaException, BrokerError."""
    mine = set(owned)
    rows: dict[bytes, bytes | None] = {}
    for messages in reader.everything(topic):
        rows.update(_row(message) for message in messages)
    found: dict[Place, set[str]] = {}
    for value in rows.values():
        if value is None:
            continue
        try:
            row = MatchedSystem.decode(value)
        except CodecError as error:
            log.error("row of a matched system rejected", topic=NOTIFICATION_SYSTEMS, why=str(error))
            continue
        if row.partition in mine:
            found.setdefault((row.notification_id, row.partition), set()).add(row.system)
    return found


def _row(message: Message) -> tuple[bytes, bytes | None]:
    key = message.key()
    return (key.encode() if isinstance(key, str) else key or b""), message.value()
