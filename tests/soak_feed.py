"""What a soak runs on: its sensors and notifications, and a stream of readings that crosses their thresholds."""

from __future__ import annotations

import json
import random
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from typing import Any

from recordings import cpu_values
from tocsin.shared import kafka
from tocsin.shared.configuration.condition import parse_condition
from tocsin.shared.configuration.records import (
    Matcher,
    Notification,
    Record,
    Sensor,
    SensorUse,
    Settings,
    Silence,
    ThresholdSpec,
)
from tocsin.shared.settings import CommonSettings
from tocsin.shared.topics import SENSOR_READINGS

SYSTEMS = tuple(f"PC-{number:02d}" for number in range(24))

PULSE_EVERY = 12
"""Sends between two pulses: a quarter of a second."""

SENSORS = (
    Sensor(id="weak", name="Weak", metric="cpu", trigger=parse_condition("< 90"), clear=parse_condition("> 95")),
    Sensor(id="low", name="Low", metric="cpu", trigger=parse_condition("< 92")),
    Sensor(id="hot", name="Hot", metric="temp", trigger=parse_condition("> 70"), clear=parse_condition("<= 66")),
    Sensor(id="long", name="Long", metric="temp", trigger=parse_condition("outside 20 and 64"), for_=400),
    # Each of its series has two readings, up and down: only a timer makes it clear, with whoever owns it then.
    Sensor(id="pulse", name="Pulse", metric="pulse", trigger=parse_condition("> 90"), keep=3_000),
)


def notification(id_: str, *sensors: str, threshold: str, **options: Any) -> Notification:
    return Notification(
        id=id_,
        name=id_,
        sensors=tuple(SensorUse(sensor_id=sensor) for sensor in sensors),
        threshold=ThresholdSpec(value=Decimal(threshold.rstrip("%")), is_percent=threshold.endswith("%")),
        recipient_ids=(),
        reporting_within=3_600_000,
        **options,
    )


NOTIFICATIONS = (
    notification("one", "weak", threshold="1"),
    notification("third", "weak", threshold="33.3%"),
    notification("both", "low", "hot", threshold="3"),
    notification("waits", "hot", threshold="40%", for_=700),
    notification("reminds", "low", threshold="8", remind_every=1_300, cooldown=900),
    notification("quiet", "long", threshold="5", remind_every=2_000),
)


def records(rng: random.Random) -> list[Record]:
    """All that has to be configured; one notification is silenced for a while."""
    now = time.time_ns() // 1_000_000
    start, until = now + rng.randrange(5_000, 15_000), now + rng.randrange(20_000, 30_000)
    matcher = Matcher(field="notification", pattern="quiet")
    silence = Silence(id="q", name="q", matchers=(matcher,), starts_at=start, until=until)
    deployment = Settings(id="d", name="deployment", tenant_id="11111111-1111-1111-1111-111111111111")
    return [deployment, silence, *SENSORS, *NOTIFICATIONS]


class Feed:
    """Readings of now, 300 a second, from a thread of its own."""

    def __init__(self, settings: CommonSettings, rng: random.Random) -> None:
        self._topic = settings.topic(SENSOR_READINGS)
        self._rng = rng
        self._producer = kafka.producer(settings.kafka, message_timeout_ms=300_000)
        self._recorded = cpu_values()[1]
        self._at = 0
        self._sends = 0

    @contextmanager
    def running(self) -> Iterator[None]:
        """All of them acknowledged afterwards."""
        stop = threading.Event()
        failures: list[BaseException] = []

        def feed() -> None:
            try:
                while not stop.wait(0.02):
                    self._send()
            except BaseException as error:
                failures.append(error)
                raise

        thread = threading.Thread(target=feed)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()
        assert not failures, failures
        assert self._producer.flush(60) == 0

    def _send(self) -> None:
        """Some readings of now; a few late, repeated, or of the same time with another value."""
        now = time.time_ns() // 1_000_000
        self._pulse(now)
        for _ in range(6):
            self._at += 1
            system = self._rng.choice(SYSTEMS)
            # All systems swing together, slowly, so that thresholds of many systems are crossed as well.
            swing = self._at // 400 % 2 * 4.0
            value = self._recorded[self._at % len(self._recorded)] - swing
            metric = "cpu"
            if self._rng.random() < 0.5:
                metric, value = "temp", round(self._rng.gauss(60 + swing * 3, 8), 1)
            dice = self._rng.random()
            at = now - self._rng.randrange(1, 2_000) if dice < 0.03 else now
            self._put(system, metric, value, at)
            if dice > 0.97:
                self._put(system, metric, value if dice < 0.985 else value + 3, at)
        self._producer.poll(0)

    def _pulse(self, now: int) -> None:
        """Up, and with the next send down, on an instance that is never heard of again."""
        number, phase = divmod(self._sends, PULSE_EVERY)
        self._sends += 1
        if phase < 2:
            value = 50.0 if phase else 95.0
            self._put(SYSTEMS[number % len(SYSTEMS)], "pulse", value, now, instance=f"p{number}")

    def _put(self, system: str, metric: str, value: float, at: int, **more: Any) -> None:
        reading = {"system": system, "metric": metric, "value": value, "time": at, **more}
        self._producer.produce(self._topic, key=system.encode(), value=json.dumps(reading).encode())
