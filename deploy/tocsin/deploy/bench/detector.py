"""`tocsin bench detector`: the detector as it runs, everything on, beside plain `consume()` of the same topic."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

import click

from tocsin.deploy.bench.common import Figure, broker, fresh_prefix, put_records, show
from tocsin.deploy.processes import Child, Supervisor
from tocsin.deploy.stack.ports import HOST, free_port
from tocsin.shared import kafka
from tocsin.shared.clock import SystemClock
from tocsin.shared.configuration.records import Notification, Record, Sensor, SensorUse, ThresholdSpec
from tocsin.shared.errors import TocsinError
from tocsin.shared.settings import CommonSettings, KafkaSettings
from tocsin.shared.topic_admin import apply_topics
from tocsin.shared.topics import SENSOR_READINGS

SYSTEMS = 10_000
METRICS = ("cpu.percent", "memory.percent", "disk.percent", "network.rate")
PARTITIONS = 4

CROSSES_EVERY = 200
"""One reading in 200 crosses the lowest threshold and the next of its series comes back: 1 % change something."""

PER_REPORT = 20

MEAN = 70
"""One window in a hundred crosses it: the means of the series lie between 60 and 70."""

WARM_UP = 4
"""The first quarter is not counted: names are met for the first time there, which happens once."""

LONGEST_SECONDS = 600.0
ASKED_EVERY = 0.02


@dataclass(frozen=True, slots=True)
class Case:
    """What is measured."""

    name: str
    sensors_per_metric: int = 1
    per_message: int = 1
    window: str | None = None  # judge the mean of it


CASES = (
    Case("1 sensor per metric"),
    Case("1,000 sensors per metric", sensors_per_metric=1_000),
    Case(f"reports of {PER_REPORT} readings", per_message=PER_REPORT),
    Case("sliding 10 min average on every series", window="10m"),
)


@click.command()
@click.option(
    "--readings", default=2_000_000, type=click.IntRange(500_000), show_default=True, help="Readings per case."
)
@click.option("--case", "cases", multiple=True, type=click.IntRange(1, len(CASES)), help="Only these, by number.")
@click.option("--json", "as_json", is_flag=True, help="One object a line.")
def detector(readings: int, cases: tuple[int, ...], as_json: bool) -> None:
    """Readings a second, with transactions, changelog, changes and tallies, after the first quarter."""
    chosen = [CASES[number - 1] for number in cases] or list(CASES)
    show(measure(chosen, readings), "Detector: readings a second, beside plain consume()", as_json)


def measure(cases: list[Case], readings: int) -> Iterator[Figure]:
    """One figure a case, as it is measured."""
    with broker() as (stack, folder), Supervisor() as supervisor:
        for case in cases:
            settings = CommonSettings.load(
                {},
                state_dir=folder,
                topic_prefix=fresh_prefix(),
                partitions_readings=PARTITIONS,
                kafka=KafkaSettings({"bootstrap.servers": stack.bootstrap_servers}),
            )
            apply_topics(settings)
            put_records(settings, records(case))
            messages = fill(settings, case, readings)
            reference = consume_alone(settings, messages) * case.per_message
            rate = detect(settings, supervisor, folder, readings)
            yield Figure(case.name, rate, reference, "readings/s")


def records(case: Case) -> Iterator[Record]:
    """Sensors whose thresholds lie above each other, and a notification on each metric's lowest."""
    for metric in METRICS:
        for number in range(case.sensors_per_metric):
            text = f"> {90 + number * 0.01:.2f}" if case.window is None else f"> {MEAN}"
            id_ = f"{metric}-{number}"
            aggregate = {"function": "avg", "window": case.window} if case.window is not None else None
            yield Sensor.model_validate(
                {"id": id_, "name": id_, "metric": metric, "trigger": text, "aggregate": aggregate}
            )
        yield Notification(
            id=f"n-{metric}",
            name=f"n-{metric}",
            sensors=(SensorUse(sensor_id=f"{metric}-0"),),
            threshold=ThresholdSpec(value=Decimal(25), is_percent=True),
            recipient_ids=("nobody",),
        )


def fill(settings: CommonSettings, case: Case, readings: int) -> int:
    """The topic; returns the number of messages."""
    producer = kafka.producer(settings.kafka, linger_ms=50, queue_buffering_max_messages=1_000_000)
    topic, now = settings.topic(SENSOR_READINGS), SystemClock().now_ms() - 60_000
    messages = readings // case.per_message
    for number in range(messages):
        system = f"SYSTEM-{number % SYSTEMS:05d}"
        value = single(system, number, now) if case.per_message == 1 else report(system, number, case.per_message, now)
        while True:
            try:
                producer.produce(topic, key=system, value=value)
                break
            except BufferError:
                producer.poll(0.1)
    producer.flush(120)
    return messages


def level(number: int) -> float:
    """A value just above the lowest threshold now and then, each time on other systems, else well below."""
    crosses = (number + number // SYSTEMS) % CROSSES_EVERY == 0
    return 90.005 if crosses else 50 + number * 7919 % 3_000 / 100


def single(system: str, number: int, now: int) -> str:
    metric = METRICS[number // SYSTEMS % len(METRICS)]
    return f'{{"system":"{system}","metric":"{metric}","value":{level(number)},"time":{now + number // 1000}}}'


def report(system: str, number: int, count: int, now: int) -> str:
    """Several readings of each metric, one after the other."""
    first = number * count
    parts = ",".join(
        f'{{"metric":"{METRICS[place % len(METRICS)]}","value":{level(first + place)},'
        f'"time":{now + first // 1000 + place}}}'
        for place in range(count)
    )
    return f'{{"system":"{system}","time":{now + first // 1000},"readings":[{parts}]}}'


def environment(settings: CommonSettings) -> dict[str, str]:
    return {
        "KAFKA_BOOTSTRAP_SERVERS": settings.kafka.bootstrap_servers,
        "TOCSIN_TOPIC_PREFIX": settings.topic_prefix,
        "TOCSIN_STATE_DIR": str(settings.state_dir),
    }


def consume_alone(settings: CommonSettings, messages: int) -> float:
    """Messages a second."""
    done = subprocess.run(
        [sys.executable, "-m", "tocsin.deploy.bench.consume", settings.topic(SENSOR_READINGS), str(messages)],
        env={**os.environ, **environment(settings)},
        capture_output=True,
        text=True,
        timeout=LONGEST_SECONDS,
        check=False,
    )
    if done.returncode:
        raise TocsinError(f"consume() could not be measured: {done.stderr[-500:]}")
    return float(done.stdout)


def detect(settings: CommonSettings, supervisor: Supervisor, folder: Path, readings: int) -> float:
    """Readings a second, committed, from the first quarter to the last."""
    port = free_port()
    child = supervisor.start(
        "detector",
        [sys.executable, "-m", "tocsin.console.cli", "run", "detector"],
        env={**environment(settings), "TOCSIN_HTTP_PORT": str(port), "TOCSIN_LOG_FORMAT": "json"},
        log_path=folder / "detector.log",
    )
    try:
        began, counted_from, until = 0.0, 0, time.monotonic() + LONGEST_SECONDS
        while (count := committed(child, port)) < readings:
            if time.monotonic() > until or not child.running:
                raise TocsinError(f"the detector got to {count} of {readings} readings\n{child.log_tail(20)}")
            if not counted_from and count * WARM_UP >= readings:
                began, counted_from = time.perf_counter(), count
            time.sleep(ASKED_EVERY)
        return (count - counted_from) / (time.perf_counter() - began)
    finally:
        child.stop()


def committed(child: Child, port: int) -> int:
    """What the detector says it has evaluated and committed."""
    try:
        with urllib.request.urlopen(f"http://{HOST}:{port}/metrics", timeout=5) as answer:
            found = re.search(rb"^tocsin_detector_readings_total (\S+)", answer.read(), re.MULTILINE)
    except OSError:
        return 0
    return int(float(found.group(1))) if found else 0
