"""A million series in the detector: what they take in memory, and how soon it evaluates again after `kill -9`."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
from confluent_kafka import Producer

from tocsin.deploy.bench import detector
from tocsin.deploy.bench.common import Figure, broker, put_records
from tocsin.deploy.processes import Child, Supervisor
from tocsin.shared import kafka
from tocsin.shared.clock import SystemClock
from tocsin.shared.errors import TocsinError
from tocsin.shared.settings import CommonSettings
from tocsin.shared.topic_admin import apply_topics
from tocsin.shared.topics import SENSOR_READINGS

SERIES = 1_000_000
QUIET_SECONDS = 20.0
"""After the last reading: a checkpoint of all of them comes in this time, and takes memory, too."""


@dataclass
class _Running:
    """The detector, as often as it is started."""

    settings: CommonSettings
    supervisor: Supervisor
    folder: Path

    def __post_init__(self) -> None:
        self._start()

    def _start(self) -> None:
        self.child, self.port = detector.start(self.settings, self.supervisor, self.folder)

    def evaluated(self) -> int:
        return detector.committed(self.child, self.port)

    def kill_and_start(self) -> None:
        self.child.kill()
        self._start()


def measure(series: int = SERIES) -> Iterator[Figure]:
    """Memory beside that of the empty process; the start beside one with nothing to restore. Starts what it needs."""
    with broker() as (stack, folder), Supervisor() as supervisor:
        settings = detector.fresh_settings(stack, folder)
        apply_topics(settings)
        put_records(settings, detector.records(detector.CASES[0]))
        producer = kafka.producer(settings.kafka, linger_ms=50, queue_buffering_max_messages=1_000_000)
        send = _Sender(producer, settings.topic(SENSOR_READINGS))
        send(1)
        began = time.perf_counter()
        running = _Running(settings, supervisor, folder)
        empty_start, idle = _until(running.child, lambda: running.evaluated() >= 1, began)
        send(series)
        _, most = _until(running.child, lambda: running.evaluated() > series, began)
        # A checkpoint of all of them is part of it.
        quiet_until = time.perf_counter() + QUIET_SECONDS
        _, later = _until(running.child, lambda: time.perf_counter() > quiet_until, began)
        yield Figure(f"memory with {series:,} series, beside none", max(most, later), idle, "MB")
        send(series // 10)
        began = time.perf_counter()
        running.kill_and_start()
        start, _ = _until(running.child, lambda: running.evaluated() >= 1, began)
        yield Figure(f"evaluating again after kill -9 with {series:,} series, beside none", start, empty_start, "s")


@dataclass
class _Sender:
    producer: Producer
    topic: str

    def __call__(self, count: int) -> None:
        """One reading each of so many series."""
        now = SystemClock().now_ms()
        for number in range(count):
            system, metric = f"SYSTEM-{number // 4:06d}", detector.METRICS[number % 4]
            value = f'{{"system":"{system}","metric":"{metric}","value":{50 + number % 40},"time":{now}}}'
            while True:
                try:
                    self.producer.produce(self.topic, key=system, value=value)
                    break
                except BufferError:
                    self.producer.poll(0.1)
        self.producer.flush(120)


def _until(child: Child, done: Callable[[], bool], began: float) -> tuple[float, float]:
    """Seconds since it began, and the most memory seen meanwhile, MB."""
    most, process = 0.0, psutil.Process(child.pid)
    until = time.monotonic() + detector.LONGEST_SECONDS
    while not done():
        if time.monotonic() > until or not child.running:
            raise TocsinError(f"the detector did not get there\n{child.log_tail(20)}")
        most = max(most, process.memory_info().rss / 1e6)
        time.sleep(detector.ASKED_EVERY)
    took = time.perf_counter() - began
    return took, max(most, process.memory_info().rss / 1e6)
