"""`tocsin bench detector`: the detector as it runs, everything on, beside plain `consume()` of the same topic.

Some cases stand beside something else measured in the same run: reports beside single readings, the first case beside a
Faust agent that does the same, two processes beside one.
"""

from __future__ import annotations

import re
import sys
import time
import urllib.request
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from enum import Enum, auto
from pathlib import Path

import click
import psutil

from tocsin.deploy.bench.common import Figure, broker, fresh_prefix, put_records, show
from tocsin.deploy.fleet import Fleet, Member
from tocsin.deploy.processes import Supervisor
from tocsin.deploy.stack import Stack
from tocsin.deploy.stack.ports import HOST
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

REPORTED = 4
"""So many times as many readings in reports: so that both forms are measured for about as long, and neither only while
the broker is still compiling itself."""

MEAN = 70
"""One window in a hundred crosses it: the means of the series lie between 60 and 70."""

WARM_UP = 4
"""The first quarter is not counted: names are met for the first time there, which happens once."""

FAUST_READINGS = 100_000
"""It is given a part of the topic: it takes its time."""

LONGEST_SECONDS = 600.0
ASKED_EVERY = 0.02


class Beside(Enum):
    """What a case is measured beside."""

    CONSUME = auto()
    FAUST = auto()
    ONE_PROCESS = auto()


@dataclass(frozen=True, slots=True)
class Case:
    """What is measured."""

    name: str
    sensors_per_metric: int = 1
    per_message: int = 1
    window: str | None = None  # judge the mean of it
    processes: int = 1
    beside: Beside = Beside.CONSUME


CASES = (
    Case("1 sensor per metric"),
    Case("1,000 sensors per metric", sensors_per_metric=1_000),
    Case(f"reports of {PER_REPORT} readings, beside single ones", per_message=PER_REPORT),
    Case("sliding 10 min average on every series", window="10m"),
    Case("1 sensor per metric, beside a Faust agent", beside=Beside.FAUST),
    Case("CPU of two processes, beside one", processes=2, beside=Beside.ONE_PROCESS),
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
        bench = _Bench(stack, folder, supervisor, readings)
        for case in cases:
            yield bench.measure(case)


class _Bench:
    """One run: the first case is measured once, however many others stand beside it."""

    def __init__(self, stack: Stack, folder: Path, supervisor: Supervisor, readings: int) -> None:
        self._stack = stack
        self._folder = folder
        self._supervisor = supervisor
        self._readings = readings
        self._first: float | None = None
        self._first_settings: CommonSettings | None = None

    def measure(self, case: Case) -> Figure:
        if case.beside is Beside.FAUST:
            first = self._of_the_first()
            assert self._first_settings is not None
            faust = self._beside("faust_agent", self._first_settings, FAUST_READINGS)
            return Figure(case.name, first, faust, "readings/s")
        if case.beside is Beside.ONE_PROCESS:
            one, several = (self._cpu(processes) for processes in (1, case.processes))
            return Figure(case.name, several, one, "CPU s/million readings")
        if case == CASES[0]:
            return Figure(case.name, self._of_the_first(), self._consume_alone(self._first_settings), "readings/s")
        if case.per_message > 1:
            return self._beside_single_ones(case)
        settings = self._filled(case)
        reference = self._consume_alone(settings)
        return Figure(case.name, self._detect(settings, self._readings), reference, "readings/s")

    def _beside_single_ones(self, case: Case) -> Figure:
        """Twice each, in turn, and the faster: a run takes a second, and a disturbance only ever makes it slower."""
        readings = REPORTED * self._readings
        single, reports = [self._of_the_first()], [self._detect(self._filled(case, readings), readings)]
        single.append(self._detect(self._filled(CASES[0]), self._readings))
        reports.append(self._detect(self._filled(case, readings), readings))
        return Figure(case.name, max(reports), max(single), "readings/s")

    def _of_the_first(self) -> float:
        if self._first is None:
            self._first_settings = self._filled(CASES[0])
            self._first = self._detect(self._first_settings, self._readings)
        return self._first

    def _filled(self, case: Case, readings: int | None = None) -> CommonSettings:
        settings = self._prepared(case)
        fill(settings, case, 0, readings or self._readings)
        return settings

    def _prepared(self, case: Case) -> CommonSettings:
        return a_place(self._stack, self._folder, case)

    def _consume_alone(self, settings: CommonSettings | None) -> float:
        assert settings is not None
        return self._beside("consume", settings, self._readings)

    def _beside(self, module: str, settings: CommonSettings, readings: int) -> float:
        return figure_of(module, settings, self._supervisor, self._folder, str(readings))

    def _detect(self, settings: CommonSettings, readings: int) -> float:
        """Readings a second, committed, from the first quarter to the last."""
        with running_detectors(settings, self._supervisor, self._folder) as running:
            counted_from = wait_for(running, readings // WARM_UP)
            began = time.perf_counter()
            return (wait_for(running, readings) - counted_from) / (time.perf_counter() - began)

    def _cpu(self, processes: int) -> float:
        """Seconds a million readings, user and system, of all processes, as the readings come in."""
        settings, warm = self._prepared(CASES[0]), self._readings // WARM_UP
        with running_detectors(settings, self._supervisor, self._folder, processes) as running:
            fill(settings, CASES[0], 0, warm)
            wait_for(running, warm)
            before = sum(map(cpu_of, running))
            fill(settings, CASES[0], warm, self._readings)
            wait_for(running, self._readings)
            if not all(committed(one.http_port) for one in running):
                raise TocsinError("one process had all the readings to itself")
            return (sum(map(cpu_of, running)) - before) * 1_000_000 / (self._readings - warm)


def a_place(stack: Stack, folder: Path, case: Case) -> CommonSettings:
    """Topics of their own, with the case's sensors and notifications, and no reading."""
    settings = CommonSettings.load(
        {},
        state_dir=folder,
        topic_prefix=fresh_prefix(),
        partitions_readings=PARTITIONS,
        kafka=KafkaSettings({"bootstrap.servers": stack.bootstrap_servers}),
    )
    apply_topics(settings)
    put_records(settings, records(case))
    return settings


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


def fill(settings: CommonSettings, case: Case, first: int, end: int) -> None:
    """The topic, with the readings of these numbers."""
    now = SystemClock().now_ms() - 60_000

    def messages() -> Iterator[tuple[str, str]]:
        for number in range(first // case.per_message, end // case.per_message):
            system = f"SYSTEM-{number % SYSTEMS:05d}"
            one = (
                single(system, number, now) if case.per_message == 1 else report(system, number, case.per_message, now)
            )
            yield system, one

    send_all(settings, messages())


def send_all(settings: CommonSettings, messages: Iterable[tuple[str, str]]) -> None:
    """Systems and what they say, acknowledged."""
    producer = kafka.producer(settings.kafka, linger_ms=50, queue_buffering_max_messages=1_000_000)
    topic = settings.topic(SENSOR_READINGS)
    for system, value in messages:
        while True:
            try:
                producer.produce(topic, key=system, value=value)
                break
            except BufferError:
                producer.poll(0.1)
    producer.flush(120)


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


def figure_of(module: str, settings: CommonSettings, supervisor: Supervisor, folder: Path, *arguments: str) -> float:
    """Messages a second, as another process measures them on the same topic; it ends when this one does."""
    child = supervisor.start(
        module,
        [sys.executable, "-m", f"tocsin.deploy.bench.{module}", settings.topic(SENSOR_READINGS), *arguments],
        env=environment(settings),
        log_path=folder / f"{module}.log",
    )
    try:
        code = child.wait(timedelta(seconds=LONGEST_SECONDS))
    finally:
        child.stop()
    if code:
        raise TocsinError(f"{module} could not be measured: {child.log_tail(10)}")
    return float(child.log_tail(1).split()[-1])


@contextmanager
def running_detectors(
    settings: CommonSettings, supervisor: Supervisor, folder: Path, processes: int = 1
) -> Iterator[list[Member]]:
    """So many of them, ended afterwards."""
    own = {"TOCSIN_LOG_FORMAT": "json"}
    fleet = Fleet(supervisor, folder, {**environment(settings), **own})
    names = [f"detector-{place}" for place in range(1, processes + 1)]
    running = [
        fleet.start("detector", name=name, environment={"TOCSIN_INSTANCE": str(place)})
        for place, name in enumerate(names, 1)
    ]
    try:
        fleet.wait_ready(LONGEST_SECONDS)
        yield running
    finally:
        for one in running:
            one.child.stop()


def wait_for(running: list[Member], readings: int) -> int:
    """Until at least so many are evaluated and committed; how many are."""
    until = time.monotonic() + LONGEST_SECONDS
    while (count := sum(committed(one.http_port) for one in running)) < readings:
        for one in running:
            if time.monotonic() > until or not one.child.running:
                raise TocsinError(f"the detector got to {count} of {readings} readings\n{one.child.log_tail(20)}")
        time.sleep(ASKED_EVERY)
    return count


def cpu_of(member: Member) -> float:
    """Seconds so far, user and system."""
    times = psutil.Process(member.child.pid).cpu_times()
    return float(times.user + times.system)


def committed(port: int | None) -> int:
    """What a detector says it has evaluated and committed."""
    try:
        with urllib.request.urlopen(f"http://{HOST}:{port}/metrics", timeout=5) as answer:
            found = re.search(rb"^tocsin_detector_readings_total (\S+)", answer.read(), re.MULTILINE)
    except OSError:
        return 0
    return int(float(found.group(1))) if found else 0
