"""Tallies: how many systems match and report, by notification and input partition. Sent after each commit.

A plain idempotent producer sends them, because Faust cannot consume what is written in transactions. They are
absolute, and the next commit waits until they are acknowledged: at most the last ones are missing after a crash, and
those are sent again at the start.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from confluent_kafka import KafkaError, Message, Producer

from tocsin.evaluator.detector.columns import Bools, Ints
from tocsin.evaluator.detector.engine import Engine
from tocsin.evaluator.detector.settings import DetectorSettings
from tocsin.shared import kafka
from tocsin.shared.schemas.tally import MAX_SYSTEMS_LISTED, Tally
from tocsin.shared.telemetry.logs import logger
from tocsin.shared.topics import NOTIFICATION_TALLIES

EVERY = 60.0
"""Seconds after which a tally is sent again though nothing has changed, so that its age says something."""

EVERY_WHEN_WAITING = 5.0
"""The same where systems match and the notification has a `for`: it can be over only while we are heard."""

LINGER_MS = 1
"""The next commit waits for them, and they are handed over all at once."""

log = logger(__name__)


@dataclass(frozen=True, slots=True)
class _Count:
    revision: str
    matched: tuple[int, ...]  # systems
    reporting: int
    at: float  # monotonic


Due = tuple[str, int, _Count]
"""Notification, partition, what is counted there now."""


class TallyCounter:
    """Which tallies are due. Knows what was sent last, of this assignment."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._sent: dict[tuple[str, int], _Count] = {}
        self._counters: dict[int, int] = {}

    def due(self, now: float, tick: bool) -> list[Due]:
        """Without `tick`, only those whose matching systems have changed: reporting alone can wait for the tick."""
        engine, plan = self._engine, self._engine.plan
        heard, partition = engine.systems.heard, engine.systems.partition
        masks: dict[tuple[str, int], tuple[Bools, list[int]]] = {}
        due: list[Due] = []
        for notification in plan.notifications.values() if engine.owned else ():
            key = (notification.group, notification.within)
            if key not in masks:
                horizons = self._horizons(notification.within)
                masks[key] = engine.population.reporting(notification.group, heard, partition, horizons)
            mask, reporting = engine.population.with_silent(
                notification, masks[key], heard, partition, self._horizons(notification.forget_after)
            )
            matched = engine.population.matched(notification.id, mask, partition, engine.partitions)
            for at in engine.owned:
                new = _Count(notification.revision, tuple(matched[at]), reporting[at], now)
                every = EVERY_WHEN_WAITING if notification.waits and new.matched else EVERY
                if self._is_due(self._sent.get((notification.id, at)), new, every if tick else None):
                    due.append((notification.id, at, new))
        return due

    def take(self, due: Iterable[Due], wall: int) -> list[Tally]:
        """These are sent now."""
        there = self._engine.plan.notifications
        self._sent = {key: count for key, count in self._sent.items() if key[0] in there}
        tallies = []
        for notification_id, at, count in due:
            self._sent[notification_id, at] = count
            tallies.append(self._tally(notification_id, at, count, wall))
        return tallies

    def matched(self) -> dict[tuple[str, int], tuple[int, ...]]:
        """The systems that were counted last, by notification and partition."""
        return {key: count.matched for key, count in self._sent.items()}

    def _horizons(self, within: int) -> Ints:
        horizons = np.zeros(self._engine.partitions, np.int64)
        for at, owned in self._engine.owned.items():
            horizons[at] = owned.time.horizon(within)
        return horizons

    def _is_due(self, last: _Count | None, new: _Count, every: float | None) -> bool:
        if last is None or last.revision != new.revision or last.matched != new.matched:
            return True
        return every is not None and (last.reporting != new.reporting or new.at - last.at >= every)

    def _tally(self, notification_id: str, at: int, count: _Count, wall: int) -> Tally:
        names = self._engine.systems.names.names
        self._counters[at] = self._counters.get(at, 0) + 1
        return Tally(
            notification_id=notification_id,
            revision=count.revision,
            partition=at,
            partitions=self._engine.partitions,
            epoch=self._engine.owned[at].epoch,
            counter=self._counters[at],
            matched=len(count.matched),
            reporting=count.reporting,
            systems=tuple(names[system] for system in count.matched[:MAX_SYSTEMS_LISTED]),
            total=len(count.matched),
            truncated=len(count.matched) > MAX_SYSTEMS_LISTED,
            time=self._engine.owned[at].time.now,
            sent_at=wall,
        )


class TallySender:
    """Sends, and says when all is acknowledged."""

    def __init__(self, settings: DetectorSettings) -> None:
        self._settings = settings
        self._topic = settings.topic(NOTIFICATION_TALLIES)
        self._producer: Producer | None = None
        self._failed = False
        self._open = 0

    def send(self, tallies: Iterable[Tally]) -> None:
        if self._producer is None:
            # For ever: the broker may be away for long, and the next commit waits anyway.
            self._producer = kafka.producer(self._settings.kafka, message_timeout_ms=0, linger_ms=LINGER_MS)
        for tally in tallies:
            self._open += 1
            self._producer.produce(
                self._topic, key=tally.notification_id.encode(), value=tally.encode(), on_delivery=self._delivered
            )
        self._producer.poll(0)

    def settle(self, stop: Callable[[], bool]) -> bool:
        """Wait until all are acknowledged. False when `stop` says so first, or one is lost: begin anew."""
        while self._open and self._producer is not None and not self._failed:
            if stop():
                return False
            self._producer.poll(0.05)
        if self._failed:
            self._producer, self._failed, self._open = None, False, 0
            return False
        return True

    def close(self) -> None:
        if self._producer is not None:
            self._producer.flush(5)

    def _delivered(self, error: KafkaError | None, message: Message) -> None:
        self._open -= 1
        if error is not None:
            self._failed = True
            log.error("tally not sent", error=error.str())
