"""The activator as a real process on a real broker: killed, stopped, cut off, fed with poison."""

from __future__ import annotations

import json
import os
import random
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import KafkaException, Message, TopicPartition

from publishing_model import fold_of_tallies, folded
from support import eventually, put_records, read_all, settings_for, with_topics
from tocsin.deploy.fleet import Fleet, Member
from tocsin.deploy.processes import Supervisor
from tocsin.deploy.stack import Stack
from tocsin.evaluator.activator.settings import ActivatorSettings
from tocsin.evaluator.core.activation_row import decode_row
from tocsin.evaluator.core.notification import Rulebook
from tocsin.shared import kafka
from tocsin.shared.configuration.condition import parse_condition
from tocsin.shared.configuration.follower import ConfigurationFollower
from tocsin.shared.configuration.records import (
    Dismissal,
    Matcher,
    Notification,
    Sensor,
    SensorUse,
    Settings,
    Silence,
    ThresholdSpec,
)
from tocsin.shared.configuration.snapshot import Configuration, notification_revision
from tocsin.shared.headers import header
from tocsin.shared.lifecycle import EXIT_RESTART
from tocsin.shared.partitioning import partition_for
from tocsin.shared.schemas.activation import Activation
from tocsin.shared.schemas.event import NotificationEvent
from tocsin.shared.schemas.tally import Tally
from tocsin.shared.topics import ACTIVATIONS, ACTIVATOR_CHANGELOG, NOTIFICATION_EVENTS, NOTIFICATION_TALLIES

pytestmark = pytest.mark.kafka

PARTITIONS = 4
INPUTS = 2
KILLS = 8 if os.environ.get("TOCSIN_FAULTS") == "full" else 1
"""Each holds up the run for a session, about ten seconds; eight in `make faults`."""
SENSOR = Sensor(id="s1", name="CPU busy", metric="cpu.percent", trigger=parse_condition("> 90"))
DEPLOYMENT = Settings(id="d1", name="deployment", tenant_id="11111111-1111-1111-1111-111111111111")


TIMED = {"for_": 250, "remind_every": 400, "cooldown": 600}
"""Of every other notification: so short that kills fall into them."""


def notification(name: str, threshold: int = 2, **options: Any) -> Notification:
    return Notification(
        id=name,
        name=name,
        sensors=(SensorUse(sensor_id="s1"),),
        threshold=ThresholdSpec(value=Decimal(threshold), is_percent=False),
        recipient_ids=(),
        **options,
    )


def silence(name: str, until: int) -> Silence:
    matcher = Matcher(field="notification", pattern=name)
    return Silence(id="q", name="q", matchers=(matcher,), starts_at=0, until=until)


class Site:
    """Topics of its own, a configuration, a detector that says what it is told, and activators."""

    def __init__(self, bootstrap_servers: str, supervisor: Supervisor, folder: Path, notifications: int) -> None:
        self.settings = with_topics(settings_for(bootstrap_servers, folder, ActivatorSettings))
        self.names = [f"n{number}" for number in range(notifications)]
        plain, timed = self.names[::2], self.names[1::2]
        records = [*(notification(name) for name in plain), *(notification(name, **TIMED) for name in timed)]
        put_records(self.settings, SENSOR, DEPLOYMENT, *records)
        environment = {
            "KAFKA_BOOTSTRAP_SERVERS": bootstrap_servers,
            "TOCSIN_TOPIC_PREFIX": self.settings.topic_prefix,
            "TOCSIN_STATE_DIR": str(folder),
            "TOCSIN_LOG_FORMAT": "json",
        }
        self.fleet = Fleet(supervisor, folder / "logs", environment)
        self.producer = kafka.producer(self.settings.kafka, linger_ms=0)
        self.group = kafka.consumer(self.settings.kafka, self.settings.topic("tocsin-activator"))
        self.counter = 0
        self.ended: list[str] = []

    def start(self, name: str = "activator", within: float = 40) -> Member:
        member = self.fleet.start("activator", name=name)
        self.fleet.wait_ready(within, [name])
        return member

    def topics(self) -> set[str]:
        existing = kafka.existing_partitions(kafka.admin(self.settings.kafka))
        return {name for name in existing if name.startswith(self.settings.topic_prefix)}

    def book(self) -> Rulebook:
        follower = ConfigurationFollower(self.settings)
        try:
            return Rulebook.of(follower.start(), self.settings.console_url)
        finally:
            follower.close()

    def tally(self, name: str, matched: int, partition: int = 0, revision: str | None = None, **given: Any) -> None:
        self.counter += 1
        now = int(time.time() * 1000)
        tally = Tally(
            notification_id=name,
            revision=revision or self.revisions[name],
            partition=partition,
            **{"partitions": INPUTS, "epoch": 1, "counter": self.counter, **given},
            matched=matched,
            reporting=10,
            systems=tuple(f"PC-{number}" for number in range(matched)),
            total=matched,
            time=now,
            sent_at=now,
        )
        self.put(name.encode(), tally.encode())

    def put(self, key: bytes | None, value: bytes | None, partition: int = -1) -> None:
        self.producer.produce(self.settings.topic(NOTIFICATION_TALLIES), key=key, value=value, partition=partition)
        self.producer.poll(0)

    @property
    def revisions(self) -> dict[str, str]:
        if not hasattr(self, "_revisions"):
            self._revisions = {name: rule.revision for name, rule in self.book().rules.items()}
        return self._revisions

    def begin(self) -> None:
        """All partitions have counted; nothing is reached."""
        for name in self.names:
            for partition in range(INPUTS):
                self.tally(name, 0, partition)

    @contextmanager
    def flow(self, seed: int = 0) -> Iterator[None]:
        """Tallies that cross the threshold again and again, from a thread."""
        rng = random.Random(seed)
        stop = threading.Event()

        def run() -> None:
            while not stop.wait(0.02):
                self.tally(rng.choice(self.names), rng.randrange(4), rng.randrange(INPUTS))

        thread = threading.Thread(target=run)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()

    def lag(self) -> int:
        """Records of the tallies topic that are not yet committed, ticks included."""
        assert self.producer.flush(30) == 0
        places = [
            TopicPartition(self.settings.topic(NOTIFICATION_TALLIES), partition) for partition in range(PARTITIONS)
        ]
        lag = 0
        try:
            for place in self.group.committed(places, timeout=10):
                _, end = self.group.get_watermark_offsets(place, timeout=10)
                lag += end - max(place.offset, 0)
        except KafkaException:  # a broker that has just come back
            return 1 << 30
        return lag

    def drained(self, within: float = 60) -> None:
        """Supervised as in the demo and in a deployment: who ends with EXIT_RESTART is started anew."""
        until = time.monotonic() + within
        while (lag := self.lag()) > PARTITIONS:  # a tick a second and partition may be on its way
            self.ended += [
                f"{name} ended with {code}:\n{self.fleet.members[name].child.log_tail(30)}"
                for name, code in self.fleet.restart_ended({EXIT_RESTART})
            ]
            assert time.monotonic() < until, f"not drained within {within} s; lag {lag}\n{self.report()}"
            time.sleep(0.1)
        print(*self.ended, sep="\n")

    def report(self) -> str:
        """Who ended, what for, and how everybody stands."""
        stand = [
            f"{name}: {member.readiness() or 'ready'}\n{member.child.log_tail(15)}"
            for name, member in self.fleet.members.items()
        ]
        return "\n".join(self.ended + stand)

    def events(self) -> list[tuple[Message, NotificationEvent]]:
        messages = read_all(self.settings, NOTIFICATION_EVENTS)
        return [(message, NotificationEvent.decode(message.value())) for message in messages]

    def kinds_of(self, name: str) -> list[str]:
        return [event.kind for _, event in self.events() if event.notification.id == name]

    def folded(self) -> dict[str, list[bytes]]:
        """What was published, by notification in order, each id where it first came."""
        return folded(read_all(self.settings, NOTIFICATION_EVENTS))

    def expected(self) -> dict[str, list[bytes]]:
        """The pure fold of the tally log."""
        return fold_of_tallies(read_all(self.settings, NOTIFICATION_TALLIES), PARTITIONS, self.book())


@pytest.fixture
def supervisor() -> Iterator[Supervisor]:
    with Supervisor() as supervisor:
        yield supervisor


@pytest.fixture
def site(stack: Stack, supervisor: Supervisor, tmp_path: Path) -> Site:
    return Site(stack.bootstrap_servers, supervisor, tmp_path, notifications=12)


def metric(member: Member, line: str) -> float:
    with urllib.request.urlopen(f"http://127.0.0.1:{member.http_port}/metrics", timeout=5) as answer:
        found = [text for text in answer.read().decode().splitlines() if text.startswith(line + " ")]
    return float(found[0].rpartition(" ")[2]) if found else 0.0


def test_poison_edits_and_deletions_while_it_runs(site: Site) -> None:
    before = site.topics()
    site.put(b"n0", b"poison before anything else")
    member = site.start()
    site.begin()
    poison: list[tuple[bytes | None, bytes | None]] = [
        (b"n0", b"not json"),
        (b"n0", None),
        (None, b"{}"),
        (b"\xff\xfe", b"\xff\xfe"),
        (b"n0", b"[" * 100_000),
        (b"n0", b'{"notification_id":"n0","matched":NaN}'),
        (b"n0", b"x" * (2 << 20)),
        (b"tick", b'{"kind":"tick","time":"never"}'),
        (b"n1", b'{"notification_id":"n0","revision":"r","partition":0,"partitions":1,"epoch":1,"counter":1,'
         b'"matched":9,"reporting":9,"time":0,"sent_at":0}'),
    ]  # fmt: skip
    for key, value in poison:
        site.put(key, value)
    site.tally("n0", 3)
    site.drained()
    (message, event), *more = site.events()
    assert more == []
    assert (event.kind, event.notification.name, event.matched) == ("activated", "n0", 3)
    assert message.key() == b"n0"
    assert message.partition() == partition_for(b"n0", PARTITIONS)
    assert header(message.headers(), "ce_type") == b"dev.tocsin.notification.activated"
    assert header(message.headers(), "ce_id") == event.id.encode()
    assert metric(member, 'tocsin_activator_tallies_total{outcome="refused"}') == len(poison) + 1
    assert metric(member, "tocsin_activator_activations_open") == 1

    put_records(site.settings, notification("n0", threshold=3))
    eventually(lambda: [event.kind for _, event in site.events()] == ["activated", "dismissed"], within=5)
    late = notification_revision(notification("late"), Configuration(sensors={"s1": SENSOR}))
    site.tally("late", 5, revision=late, partitions=1)  # the detector may know before we do
    site.drained()
    put_records(site.settings, notification("late"))
    eventually(lambda: "late" in {event.notification.id for _, event in site.events()}, within=5)
    put_records(site.settings, delete=["notification/late"])
    eventually(
        lambda: (
            [event.kind for _, event in site.events() if event.notification.id == "late"] == ["activated", "dismissed"]
        ),
        within=5,
    )
    newest = {message.key(): Activation.decode(message.value()) for message in read_all(site.settings, ACTIVATIONS)}
    assert {record.state for record in newest.values()} == {"dismissed"}
    assert site.topics() == before, "Faust made topics"
    assert member.child.stop() == 0


def test_a_silence_a_dismissal_and_reminders_take_effect_while_it_runs(site: Site) -> None:
    site.start()
    site.begin()
    put_records(site.settings, silence("n3", until=1 << 46))
    for name in ("n1", "n3", "n5"):
        site.tally(name, 3)
    kinds = partial(site.kinds_of, "n1")
    eventually(lambda: kinds()[:3] == ["activated", "reminder", "reminder"], within=10)
    eventually(lambda: site.kinds_of("n5")[:1] == ["activated"], within=5)
    activation = next(event.activation_id for _, event in site.events() if event.notification.id == "n1")
    put_records(site.settings, Dismissal(id="x", name=activation, activation_id=activation, dismissed_by="me"))
    eventually(lambda: kinds()[-1] == "dismissed", within=5)
    assert site.kinds_of("n3") == []
    put_records(site.settings, silence("n3", until=int(time.time() * 1000)))
    eventually(lambda: site.kinds_of("n3")[:2] == ["activated", "reminder"], within=8)
    records = [Activation.decode(message.value()) for message in read_all(site.settings, ACTIVATIONS)]
    (first, *later) = [one for one in records if one.notification.id == "n3"]
    assert (first.state, first.announced_at) == ("active", None)
    assert later[0].announced_at is not None
    assert later[0].announced_at > first.activated_at


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_events_equal_the_fold_of_the_log_when_it_is_killed_at_any_moment(site: Site) -> None:
    seed = random.randrange(1 << 32)
    print(f"seed: {seed}")
    rng = random.Random(seed)
    site.start()
    site.begin()
    with site.flow(seed):
        for _ in range(KILLS):
            time.sleep(rng.uniform(0.3, 2))
            site.fleet.members["activator"].child.kill()
            site.fleet.restart("activator")
            site.fleet.wait_ready(40, ["activator"])
        time.sleep(1)
    site.drained()
    assert site.fleet.members["activator"].child.stop() == 0
    expected = site.expected()
    assert site.folded() == expected
    assert sum(len(events) for events in expected.values()) > 100
    assert any(b'"kind":"reminder"' in event for events in expected.values() for event in events)
    newest = {message.key(): message.value() for message in read_all(site.settings, ACTIVATOR_CHANGELOG)}
    rows = {key: decode_row(value) for key, value in newest.items() if isinstance(key, bytes) and value is not None}
    assert {key: row.ordinal for key, row in rows.items()} == {
        name.encode(): len(expected.get(name, ())) for name in site.names
    }


@pytest.mark.slow
def test_two_share_the_work_one_leaves_and_a_frozen_one_ends_itself(site: Site) -> None:
    first = site.start("first")
    second = site.start("second")
    site.begin()
    with site.flow():
        eventually(lambda: metric(first, 'tocsin_activator_tallies_total{outcome="tick"}') > 0)
        eventually(lambda: metric(second, 'tocsin_activator_tallies_total{outcome="tick"}') > 0)
        assert second.child.stop() == 0
        third = site.start("third")
        first.child.suspend()
        time.sleep(3)
    site.drained()  # the third has taken over
    first.child.resume()
    assert eventually(lambda: first.child.exit_code, within=10) == EXIT_RESTART
    assert third.child.stop() == 0
    assert site.folded() == site.expected()


@pytest.mark.slow
def test_it_waits_for_a_broker_and_lives_through_its_restart(supervisor: Supervisor, tmp_path: Path) -> None:
    with Stack(tmp_path / "stack", with_redis=False, with_smtp=False) as own:
        site = Site(own.bootstrap_servers, supervisor, tmp_path, notifications=12)
        own.kill_kafka()
        member = site.fleet.start("activator")
        eventually(lambda: "does not answer: start it, or name another" in (member.readiness() or ""))
        own.restart_kafka()
        site.fleet.wait_ready(40)
        assert "no broker yet; trying again" in member.child.log_tail(1_000)
        site.begin()
        with site.flow():
            time.sleep(1)
            own.kill_kafka()
            eventually(lambda: member.readiness() is not None)
            time.sleep(2)
            own.restart_kafka()
        site.drained()
        eventually(lambda: member.readiness() is None)
        assert member.child.running
        assert member.child.stop() == 0
        assert site.folded() == site.expected()


def test_it_refuses_to_start_without_its_topics(stack: Stack, supervisor: Supervisor, tmp_path: Path) -> None:
    environment = {
        "KAFKA_BOOTSTRAP_SERVERS": stack.bootstrap_servers,
        "TOCSIN_TOPIC_PREFIX": "nowhere.",
        "TOCSIN_STATE_DIR": str(tmp_path),
    }
    fleet = Fleet(supervisor, tmp_path, environment)
    member = fleet.start("activator")
    assert eventually(lambda: member.child.exit_code) == 2
    last = member.child.log_tail(5)
    assert "tocsin topics apply" in last
    assert "Traceback" not in last


def test_the_log_is_json_and_names_the_port(site: Site) -> None:
    site.start()
    lines = (site.settings.state_dir / "logs" / "activator.log").read_text().splitlines()
    events = {json.loads(line)["event"]: json.loads(line) for line in lines}
    assert events["health endpoint listening"]["port"] == site.fleet.members["activator"].http_port
    assert "activator ready" in events
