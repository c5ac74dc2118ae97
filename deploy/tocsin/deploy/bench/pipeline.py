"""`tocsin bench pipeline`: from the moment a reading is produced to the arrival of the webhook it leads to.

All four services run as they are, beside a loop that consumes the same readings and posts at once. Forty systems swing
across a threshold, each with a notification of its own, so that every crossing is one webhook: its reading, change,
tally, event and delivery are the ones of the same number on their topics.
"""

from __future__ import annotations

import itertools
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from statistics import quantiles

import click
from confluent_kafka import Message

from tocsin.deploy.bench.bare_pipeline import TURN
from tocsin.deploy.bench.common import Figure, broker, put_records, show
from tocsin.deploy.bench.delivering import Receiver, fresh_settings, receiver, recipient_of
from tocsin.deploy.bench.detector import CASES, METRICS, SYSTEMS, environment, records, single
from tocsin.deploy.fleet import PIPELINE, Fleet
from tocsin.deploy.processes import Child, Supervisor
from tocsin.deploy.stack import Stack
from tocsin.dispatcher.reading import ends_of, read_until
from tocsin.dispatcher.settings import DispatcherSettings
from tocsin.shared import kafka
from tocsin.shared.clock import SystemClock
from tocsin.shared.configuration.records import Group, Notification, Recipient, SensorUse, ThresholdSpec
from tocsin.shared.errors import TocsinError
from tocsin.shared.schemas.change import SensorChange
from tocsin.shared.schemas.delivery import Delivery
from tocsin.shared.schemas.event import NotificationEvent
from tocsin.shared.schemas.tally import Tally
from tocsin.shared.topics import (
    DELIVERIES,
    NOTIFICATION_EVENTS,
    NOTIFICATION_TALLIES,
    SENSOR_CHANGES,
    SENSOR_READINGS,
)

SWINGING = tuple(f"SWING-{number:02d}" for number in range(40))
WEBHOOKS_A_SECOND = 20
"""One reading in a hundred at 2,000/s; each system crosses every two seconds."""

RECIPIENTS = 4
WARM_UP_SECONDS = 8.0
"""Not counted: a broker that has just begun compiles itself."""

SLICE = 0.005
"""Seconds between two handfuls of readings."""

READY_WITHIN, ARRIVED_WITHIN = 120.0, 60.0

STAGES = (
    "the reading in the broker",
    "its change, judged",
    "the tally, after the commit",
    "the notification's event",
    "the delivery, routed",
    "the webhook's arrival",
)


@dataclass(frozen=True, slots=True)
class Load:
    """Readings a second, for so long."""

    rate: int
    seconds: float

    @property
    def warm_up(self) -> int:
        """Crossings that are not counted."""
        return int(WARM_UP_SECONDS * WEBHOOKS_A_SECOND)

    @property
    def crossings(self) -> int:
        """Whole rounds, so that every system has as many."""
        wanted = self.warm_up + int(self.seconds * WEBHOOKS_A_SECOND)
        return -(-wanted // len(SWINGING)) * len(SWINGING)


Crossing = tuple[str, int]
"""System, and which of its crossings, from 0."""


@click.command(name="pipeline")
@click.option("--rate", default=2_000, type=click.IntRange(100), show_default=True, help="Readings a second.")
@click.option("--seconds", default=30.0, type=click.FloatRange(2.0), show_default=True, help="After the warm-up.")
@click.option("--json", "as_json", is_flag=True, help="One object a line.")
def command(rate: int, seconds: float, as_json: bool) -> None:
    """Latency from a reading to its webhook, with its stages, beside a bare produce-consume-post loop."""
    show(measure(Load(rate, seconds)), f"From reading to webhook, at {rate:,} readings a second", as_json)


def measure(load: Load) -> Iterator[Figure]:
    """Starts what it needs, and stops it."""
    with broker() as (stack, folder), receiver() as hooks, Supervisor() as supervisor:
        reference = _bare(stack, folder, supervisor, hooks, load)
        whole, stages = _pipeline(stack, folder, supervisor, hooks, load)
    for percent in (50, 99):
        name = f"from reading to webhook: p{percent}, beside a bare produce-consume-post loop"
        yield Figure(name, _percentile(whole, percent), _percentile(reference, percent), "ms")
    for name, took in zip(STAGES, stages, strict=True):
        yield Figure(f"to {name}: p50, beside its p99", _percentile(took, 50), _percentile(took, 99), "ms")


def _bare(stack: Stack, folder: Path, supervisor: Supervisor, hooks: Receiver, load: Load) -> list[float]:
    """The same readings through a loop that posts what crosses."""
    settings = fresh_settings(stack, folder)
    hooks.begin()
    child = supervisor.start(
        "bare_pipeline",
        [sys.executable, "-m", "tocsin.deploy.bench.bare_pipeline", settings.topic(SENSOR_READINGS), hooks.url],
        env=environment(settings),
        log_path=folder / "bare_pipeline.log",
    )
    _until(lambda: "ready" in child.log_tail(), READY_WITHIN, [child])
    sent = send(settings, load)
    arrivals = _arrivals(hooks, load, [child])
    child.stop()
    return [arrivals[f"{system}/{number}"] - at for (system, number), at in _counted(sent, load)]


def _pipeline(
    stack: Stack, folder: Path, supervisor: Supervisor, hooks: Receiver, load: Load
) -> tuple[list[float], list[list[float]]]:
    settings = fresh_settings(stack, folder)
    targets = [recipient_of(settings, f"{hooks.url}/timed", number) for number in range(RECIPIENTS)]
    put_records(settings, [*targets, *records(CASES[0]), *_swinging(targets)])
    hooks.begin()
    egress = {"TOCSIN_EGRESS_ALLOW": settings.egress_allow, "TOCSIN_EGRESS_HTTP": "true"}
    fleet = Fleet(supervisor, folder, {**environment(settings), **egress, "TOCSIN_LOG_FORMAT": "json"})
    for service in PIPELINE:
        fleet.start(service)
    fleet.wait_ready(READY_WITHIN)
    sent = send(settings, load)
    arrivals = _arrivals(hooks, load, [one.child for one in fleet.members.values()])
    places = _Trail(settings).followed(arrivals)
    whole: list[float] = []
    stages: list[list[float]] = [[] for _ in STAGES]
    for crossing, began in _counted(sent, load):
        times = [began, *places[crossing]]
        whole.append(times[-1] - began)
        for took, (before, after) in zip(stages, itertools.pairwise(times), strict=True):
            took.append(after - before)
    return whole, stages


def _swinging(targets: list[Recipient]) -> Iterator[Group | Notification]:
    for number, system in enumerate(SWINGING):
        yield Group(id=system, name=system, systems=(system,))
        yield Notification(
            id=system,
            name=f"{system} swings",
            sensors=(SensorUse(sensor_id=f"{METRICS[0]}-0"),),
            group_id=system,
            threshold=ThresholdSpec(value=Decimal(1), is_percent=False),
            recipient_ids=(targets[number % RECIPIENTS].id,),
        )


def send(settings: DispatcherSettings, load: Load) -> dict[Crossing, float]:
    """Readings at a steady rate; when each of those that cross was produced, epoch ms, in order."""
    producer, topic, now = kafka.producer(settings.kafka), settings.topic(SENSOR_READINGS), SystemClock().now_ms
    sent: dict[Crossing, float] = {}
    crossings = iter(range(load.crossings))
    began, count, every = time.monotonic(), 0, load.rate // WEBHOOKS_A_SECOND
    while True:
        due = int((time.monotonic() - began) * load.rate)
        for number in range(count, due):
            at = now()
            if number % every:
                system = f"SYSTEM-{number % SYSTEMS:05d}"
                producer.produce(topic, key=system, value=single(system, number, at - number // 1000))
                continue
            crossing = next(crossings, None)
            if crossing is None:
                producer.flush(30)
                return sent
            turn, place = divmod(crossing, len(SWINGING))
            system, value = SWINGING[place], 95 - turn % 2 * 30
            sent[system, turn] = at
            producer.produce(
                topic,
                key=system,
                value=f'{{"system":"{system}","metric":"{METRICS[0]}","value":{value},"time":{at}}}',
                headers=[(TURN, str(turn).encode())],
            )
        count = due
        producer.poll(0)
        time.sleep(SLICE)


def _arrivals(hooks: Receiver, load: Load, processes: list[Child]) -> dict[str, float]:
    """Epoch ms of each webhook, by its id."""
    _until(lambda: hooks.ask()["count"] >= load.crossings, ARRIVED_WITHIN, processes)
    return {id_: at * 1000 for id_, at in hooks.ask("arrivals").items()}


def _until(done: Callable[[], bool], within: float, processes: list[Child]) -> None:
    until = time.monotonic() + within
    while not done():
        for process in processes:
            if time.monotonic() > until or not process.running:
                raise TocsinError(f"it did not get there; {process.name} says: {process.log_tail(10)}")
        time.sleep(0.05)


def _counted(sent: dict[Crossing, float], load: Load) -> list[tuple[Crossing, float]]:
    return list(sent.items())[load.warm_up :]


def _percentile(values: list[float], percent: int) -> float:
    return quantiles(values, n=100)[percent - 1]


class _Trail:
    """What a crossing left on each topic, in the order of its system's crossings: Kafka's timestamps, epoch ms."""

    def __init__(self, settings: DispatcherSettings) -> None:
        self._settings = settings

    def followed(self, arrivals: dict[str, float]) -> dict[Crossing, list[float]]:
        """A time for each of the stages. Raises TocsinError when one is missing."""
        readings, changes, tallies, events = self._readings(), self._changes(), self._tallies(), self._events()
        deliveries = {}
        for message in self._read(DELIVERIES):
            delivery = Delivery.decode(message.value())
            deliveries[delivery.event.id] = (_at(message), arrivals[delivery.id])
        found: dict[Crossing, list[float]] = {}
        for system in SWINGING:
            counts = {len(rows[system]) for rows in (readings, changes, tallies, events)}
            if len(counts) != 1:
                raise TocsinError(f"{system}: not every crossing led to a webhook: {sorted(counts)}")
            for turn, (event_at, id_) in enumerate(events[system]):
                before = [rows[system][turn] for rows in (readings, changes, tallies)]
                found[system, turn] = [*before, event_at, *deliveries[id_]]
        return found

    def _read(self, topic: str) -> list[Message]:
        name, settings = self._settings.topic(topic), self._settings
        count = kafka.existing_partitions(kafka.admin(settings.kafka))[name]
        ends = ends_of(settings, [(name, partition) for partition in range(count)])
        return list(read_until(settings, dict.fromkeys(ends), ends))

    def _readings(self) -> dict[str, list[float]]:
        found = defaultdict(list)
        for message in self._read(SENSOR_READINGS):
            if message.headers():
                found[(message.key() or b"").decode()].append(_at(message))
        return found

    def _changes(self) -> dict[str, list[float]]:
        found = defaultdict(list)
        for message in self._read(SENSOR_CHANGES):
            found[SensorChange.decode(message.value()).system].append(_at(message))
        return found

    def _tallies(self) -> dict[str, list[float]]:
        """Only those that say something else than the one before."""
        found = defaultdict(list)
        last: dict[str, int] = {}
        for message in self._read(NOTIFICATION_TALLIES):
            if message.key() == b"tick":
                continue
            tally = Tally.decode(message.value())
            # Of its system's partition: the others count nothing, always.
            if tally.matched or last.get(tally.notification_id) == tally.partition:
                found[tally.notification_id].append((_at(message), tally.matched, tally.partition))
                last[tally.notification_id] = tally.partition
        return {
            id_: [
                at
                for (at, matched, _), before in zip(rows, [0, *(row[1] for row in rows)], strict=False)
                if matched != before
            ]
            for id_, rows in found.items()
        }

    def _events(self) -> dict[str, list[tuple[float, str]]]:
        found = defaultdict(list)
        for message in self._read(NOTIFICATION_EVENTS):
            event = NotificationEvent.decode(message.value())
            found[event.notification.id].append((_at(message), event.id))
        return found


def _at(message: Message) -> float:
    return float(message.timestamp()[1])
