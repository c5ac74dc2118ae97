"""`tocsin bench series`: what a million series take in the detector's memory, and how soon it goes on after `kill -9`.

Each beside the same of a detector with one series.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import click
import psutil
from confluent_kafka import Producer

from tocsin.deploy.bench.common import Figure, broker, fresh_prefix, put_records, show
from tocsin.deploy.bench.detector import (
    ASKED_EVERY,
    CASES,
    LONGEST_SECONDS,
    METRICS,
    PARTITIONS,
    committed,
    environment,
    records,
)
from tocsin.deploy.processes import Child, Supervisor
from tocsin.deploy.stack.ports import free_port
from tocsin.shared import kafka
from tocsin.shared.clock import SystemClock
from tocsin.shared.errors import TocsinError
from tocsin.shared.settings import CommonSettings, KafkaSettings
from tocsin.shared.topic_admin import apply_topics
from tocsin.shared.topics import SENSOR_READINGS

QUIET_SECONDS = 40.0
"""After the last reading: two checkpoints come in this time; the first one is of all of them."""


@dataclass
class _Running:
    """The detector, as often as it is started."""

    settings: CommonSettings
    supervisor: Supervisor
    folder: Path

    def __post_init__(self) -> None:
        self._start()

    def _start(self) -> None:
        self.port = free_port()
        self.child = self.supervisor.start(
            "detector",
            [sys.executable, "-m", "tocsin.console.cli", "run", "detector"],
            env={**environment(self.settings), "TOCSIN_HTTP_PORT": str(self.port), "TOCSIN_LOG_FORMAT": "json"},
            log_path=self.folder / "detector.log",
        )

    def evaluated(self) -> int:
        return committed(self.port)

    def kill_and_start(self) -> None:
        self.child.kill()
        self._start()


@click.command()
@click.option(
    "--series", default=1_000_000, type=click.IntRange(10_000), show_default=True, help="With one sensor each."
)
@click.option("--json", "as_json", is_flag=True, help="One object a line.")
def command(series: int, as_json: bool) -> None:
    """Memory of the detector with many series, and its start with them after kill -9."""
    show(measure(series), f"Detector: {series:,} series, beside one", as_json)


def measure(series: int) -> Iterator[Figure]:
    """Starts what it needs, and stops it."""
    with broker() as (stack, folder), Supervisor() as supervisor:
        settings = CommonSettings.load(
            {},
            state_dir=folder,
            topic_prefix=fresh_prefix(),
            partitions_readings=PARTITIONS,
            kafka=KafkaSettings({"bootstrap.servers": stack.bootstrap_servers}),
        )
        apply_topics(settings)
        put_records(settings, records(CASES[0]))
        producer = kafka.producer(settings.kafka, linger_ms=50, queue_buffering_max_messages=1_000_000)
        send = _Sender(producer, settings.topic(SENSOR_READINGS))
        send(1)
        began = time.perf_counter()
        running = _Running(settings, supervisor, folder)
        empty_start, idle = _until(running.child, lambda: running.evaluated() >= 1, began)
        send(series)
        _, most = _until(running.child, lambda: running.evaluated() > series, began)
        quiet_until = time.perf_counter() + QUIET_SECONDS
        _, later = _until(running.child, lambda: time.perf_counter() > quiet_until, began)
        yield Figure(f"memory with {series:,} series, beside one", _megabytes(running.child), idle, "MB")
        yield Figure("the most while they came at full speed, and in a checkpoint", max(most, later), idle, "MB")
        send(series // 10)
        began = time.perf_counter()
        running.kill_and_start()
        start, _ = _until(running.child, lambda: running.evaluated() >= 1, began)
        yield Figure(f"evaluating again after kill -9 with {series:,} series, beside one", start, empty_start, "s")


@dataclass
class _Sender:
    producer: Producer
    topic: str

    def __call__(self, count: int) -> None:
        """One reading each of so many series."""
        now = SystemClock().now_ms()
        for number in range(count):
            system, metric = f"SYSTEM-{number // 4:06d}", METRICS[number % 4]
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
    most, until = 0.0, time.monotonic() + LONGEST_SECONDS
    while not done():
        if time.monotonic() > until or not child.running:
            raise TocsinError(f"the detector did not get there\n{child.log_tail(20)}")
        most = max(most, _megabytes(child))
        time.sleep(ASKED_EVERY)
    return time.perf_counter() - began, max(most, _megabytes(child))


def _megabytes(child: Child) -> float:
    return float(psutil.Process(child.pid).memory_info().rss) / 1e6
