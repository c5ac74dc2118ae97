"""A soak: two detectors and two activators over generated and recorded readings, while everything fails in turn.

Faults are dealt from a shuffled deck, so that even a short run has each of them. In the end all is compared with what
the model makes of the input logs.
"""

from __future__ import annotations

import json
import random
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from decimal import Decimal
from pathlib import Path
from typing import Any

from confluent_kafka import KafkaException, Message, TopicPartition

from publishing_model import Change, SlowDetector, fold_of_tallies, folded
from recordings import cpu_values
from support import eventually, put_records, read_all, settings_for, with_topics
from tocsin.deploy.fleet import Fleet
from tocsin.deploy.processes import Supervisor
from tocsin.deploy.stack import Stack
from tocsin.evaluator.core.notification import Rulebook
from tocsin.shared import kafka
from tocsin.shared.configuration.condition import parse_condition
from tocsin.shared.configuration.follower import ConfigurationFollower
from tocsin.shared.configuration.records import (
    Matcher,
    Notification,
    Sensor,
    SensorUse,
    Settings,
    Silence,
    ThresholdSpec,
)
from tocsin.shared.lifecycle import EXIT_RESTART
from tocsin.shared.schemas.activation import Activation
from tocsin.shared.schemas.change import SensorChange
from tocsin.shared.schemas.event import NotificationEvent
from tocsin.shared.schemas.system import MatchedSystem
from tocsin.shared.schemas.tally import Tally
from tocsin.shared.settings import CommonSettings
from tocsin.shared.topics import (
    ACTIVATIONS,
    NOTIFICATION_EVENTS,
    NOTIFICATION_SYSTEMS,
    NOTIFICATION_TALLIES,
    SENSOR_CHANGES,
    SENSOR_READINGS,
)

DETECTORS, ACTIVATORS = ("detector-a", "detector-b"), ("activator-a", "activator-b")
SYSTEMS = tuple(f"PC-{number:02d}" for number in range(24))
FROZEN_S = 12.0
"""Longer than a session: its partitions have another owner when it wakes up."""
SETTLE_S = 90.0

SENSORS = (
    Sensor(id="weak", name="Weak", metric="cpu", trigger=parse_condition("< 90"), clear=parse_condition("> 95")),
    Sensor(id="low", name="Low", metric="cpu", trigger=parse_condition("< 92")),
    Sensor(id="hot", name="Hot", metric="temp", trigger=parse_condition("> 70"), clear=parse_condition("<= 66")),
    Sensor(id="long", name="Long", metric="temp", trigger=parse_condition("outside 20 and 64"), for_=400),
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


def event_difference(expected: dict[str, list[bytes]], found: dict[str, list[bytes]]) -> str:
    """Of each notification, from the first event on that is not as expected."""

    def told(events: list[bytes]) -> list[str]:
        decoded = [NotificationEvent.decode(event) for event in events]
        return [f"{event.ordinal} {event.kind} {event.id}" for event in decoded]

    lines = []
    for name in sorted({*expected, *found}):
        wanted, got = expected.get(name, []), found.get(name, [])
        if wanted != got:
            pairs = enumerate(zip(wanted, got, strict=False))
            at = next((at for at, (one, other) in pairs if one != other), min(len(wanted), len(got)))
            head = f"{name}: {len(wanted)} events expected, {len(got)} found; from the first difference on"
            lines.append(f"{head} {told(wanted[at : at + 3])} and {told(got[at : at + 3])}")
    return "\n".join(lines)


class Soak:
    """One run. `seed` decides everything but what the machine's pace does."""

    def __init__(self, stack: Stack, supervisor: Supervisor, folder: Path, seed: int) -> None:
        self.stack = stack
        self.rng = random.Random(seed)
        self.settings: CommonSettings = with_topics(settings_for(stack.bootstrap_servers, folder))
        environment = {
            "KAFKA_BOOTSTRAP_SERVERS": stack.bootstrap_servers,
            "TOCSIN_TOPIC_PREFIX": self.settings.topic_prefix,
            "TOCSIN_STATE_DIR": str(folder),
            "TOCSIN_LOG_FORMAT": "json",
            "TOCSIN_DETECTOR_CHECKPOINT_EVERY": "700ms",
        }
        self.fleet = Fleet(supervisor, folder / "logs", environment)
        self._began = time.monotonic()
        self._thawing: dict[str, float] = {}
        self._producer = kafka.producer(self.settings.kafka, message_timeout_ms=300_000)
        self._recorded = cpu_values()[1]
        self._at = 0

    def run(self, seconds: float) -> None:
        """Feed and fail for so long, then let it settle."""
        now = time.time_ns() // 1_000_000
        start, until = now + self.rng.randrange(5_000, 15_000), now + self.rng.randrange(20_000, 30_000)
        matcher = Matcher(field="notification", pattern="quiet")
        silence = Silence(id="q", name="q", matchers=(matcher,), starts_at=start, until=until)
        deployment = Settings(id="d", name="deployment", tenant_id="11111111-1111-1111-1111-111111111111")
        put_records(self.settings, deployment, silence, *SENSORS, *NOTIFICATIONS)
        for name in DETECTORS + ACTIVATORS:
            self.fleet.start(name.partition("-")[0], name=name, environment={"TOCSIN_INSTANCE": name})
        with self._feeding():
            self.fleet.wait_ready(60)
            self._fail(time.monotonic() + seconds)
        self._settle()

    # --- readings ---

    @contextmanager
    def _feeding(self) -> Iterator[None]:
        stop = threading.Event()
        failures: list[BaseException] = []

        def feed() -> None:
            rng = random.Random(self.rng.random())
            try:
                while not stop.wait(0.02):
                    self._send(rng)
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

    def _send(self, rng: random.Random) -> None:
        """Some readings of now; a few late, repeated, or of the same time with another value."""
        now = time.time_ns() // 1_000_000
        for _ in range(6):
            self._at += 1
            system = rng.choice(SYSTEMS)
            # All systems swing together, slowly, so that thresholds of many systems are crossed as well.
            swing = self._at // 400 % 2 * 4.0
            value = self._recorded[self._at % len(self._recorded)] - swing
            metric = "cpu"
            if rng.random() < 0.5:
                metric, value = "temp", round(rng.gauss(60 + swing * 3, 8), 1)
            dice = rng.random()
            at = now - rng.randrange(1, 2_000) if dice < 0.03 else now
            self._put(system, metric, value, at)
            if dice > 0.97:
                self._put(system, metric, value if dice < 0.985 else value + 3, at)
        self._producer.poll(0)

    def _put(self, system: str, metric: str, value: float, at: int) -> None:
        reading = {"system": system, "metric": metric, "value": value, "time": at}
        self._producer.produce(
            self.settings.topic(SENSOR_READINGS), key=system.encode(), value=json.dumps(reading).encode()
        )

    # --- faults ---

    def _fail(self, until: float) -> None:
        faults: list[tuple[str, Callable[[], None]]] = [
            ("kill a detector", lambda: self._kill(DETECTORS)),
            ("kill an activator", lambda: self._kill(ACTIVATORS)),
            ("freeze a detector", lambda: self._freeze(DETECTORS)),
            ("freeze an activator", lambda: self._freeze(ACTIVATORS)),
            ("stop and start one", lambda: self._stop_and_start(DETECTORS + ACTIVATORS)),
            ("kill both detectors", self._kill_both_detectors),
            ("restart the broker", self._restart_broker),
        ]
        deck: list[tuple[str, Callable[[], None]]] = []
        while time.monotonic() < until:
            if not deck:
                deck = self.rng.sample(faults, len(faults))
            name, fault = deck.pop()
            self._say(name)
            fault()
            pause = time.monotonic() + self.rng.uniform(0.5, 5.0)
            while time.monotonic() < min(pause, until):
                self._tend()
                time.sleep(0.1)

    def _victim(self, names: tuple[str, ...]) -> str | None:
        running = [name for name in names if name not in self._thawing and self.fleet.members[name].child.running]
        return self.rng.choice(running) if running else None

    def _kill(self, names: tuple[str, ...]) -> None:
        victim = self._victim(names)
        if victim is not None:
            self.fleet.members[victim].child.kill()
            time.sleep(self.rng.choice((0.0, 0.5, 2.0)))
            self.fleet.restart(victim)

    def _kill_both_detectors(self) -> None:
        for name in DETECTORS:
            self._kill((name,))

    def _freeze(self, names: tuple[str, ...]) -> None:
        victim = self._victim(names)
        if victim is not None:
            self.fleet.members[victim].child.suspend()
            self._thawing[victim] = time.monotonic() + self.rng.choice((2.0, FROZEN_S))

    def _stop_and_start(self, names: tuple[str, ...]) -> None:
        victim = self._victim(names)
        if victim is not None:
            code = self.fleet.members[victim].child.stop()
            self._say(f"{victim} stopped with {code}")
            self.fleet.restart(victim)

    def _restart_broker(self) -> None:
        self.stack.restart_kafka(kill=self.rng.random() < 0.7)

    def _tend(self, thaw_all: bool = False) -> None:
        """Wake up what has been frozen long enough, and start again what has ended by itself, as a supervisor does."""
        for name, due in list(self._thawing.items()):
            if thaw_all or time.monotonic() >= due:
                del self._thawing[name]
                self.fleet.members[name].child.resume()
        for name, code in self.fleet.restart_ended():
            self._say(f"{name} had ended with {code}")
            tail = self.fleet.members[name].child.log_tail(30)
            print(tail, flush=True)
            assert code == EXIT_RESTART, f"{name} ended with {code}: {tail}"

    def _say(self, what: str) -> None:
        print(f"{time.monotonic() - self._began:6.1f} s  {what}", flush=True)

    # --- the end ---

    def _settle(self) -> None:
        self._say("settling")
        self._tend(thaw_all=True)
        wanted = self._model()
        until = time.monotonic() + SETTLE_S
        while self.changes() != wanted.changes():
            assert time.monotonic() < until, self.difference(wanted)
            self._tend()
            time.sleep(0.5)
        eventually(lambda: self._tend() or self._counted() == self._expected_counts(wanted), within=60, every=0.5)
        listed = {one.id: wanted.matching(use.sensor_id for use in one.sensors) for one in NOTIFICATIONS}
        eventually(lambda: self._tend() or self._listed() == listed, within=60, every=0.5)
        eventually(lambda: self._tend() or self.lag() <= 4 * len(ACTIVATORS), within=60, every=0.5)
        for name in ACTIVATORS + DETECTORS:
            assert self.fleet.members[name].child.stop() == 0, name
        assert self.difference(wanted) == ""

    def check(self) -> None:
        """All that was published against the model; the logs are complete now."""
        wanted = self._model()
        published = folded(read_all(self.settings, NOTIFICATION_EVENTS))
        tallies = read_all(self.settings, NOTIFICATION_TALLIES)
        partitions = self.settings.partitions_default
        expected = fold_of_tallies(tallies, partitions, self._book())
        assert published == expected, event_difference(expected, published)
        for one in NOTIFICATIONS:
            events = [NotificationEvent.decode(event) for event in published.get(one.id, [])]
            self._check_order(events)
            matched = wanted.matched(use.sensor_id for use in one.sensors)
            stands = bool(events) and events[-1].kind in ("activated", "reminder")
            if not (one.for_ or one.cooldown or one.id == "quiet"):  # whose last word may be still to come
                assert stands == self._is_reached(one, matched, len(wanted.systems)), one.id
        self._check_records(published)
        self._check_versions(tallies)
        assert self._listed() == {
            one.id: wanted.matching(use.sensor_id for use in one.sensors) for one in NOTIFICATIONS
        }
        assert sum(len(events) for events in published.values()) > len(NOTIFICATIONS)

    def _check_order(self, events: list[NotificationEvent]) -> None:
        assert [event.ordinal for event in events] == list(range(1, len(events) + 1))
        open_one: str | None = None
        for event in events:
            if event.kind == "activated":
                assert open_one is None, "two at once"
                open_one = event.activation_id
            else:
                assert event.activation_id == open_one, f"{event.kind} without an activated"
                open_one = None if event.kind == "resolved" else open_one

    def _check_records(self, published: dict[str, list[bytes]]) -> None:
        newest = {}
        for message in read_all(self.settings, ACTIVATIONS):
            record = Activation.decode(message.value())
            newest[record.id] = record
        for events in published.values():
            last = {event.activation_id: event for event in map(NotificationEvent.decode, events)}
            for id_, event in last.items():
                expected = "resolved" if event.kind == "resolved" else "active"
                assert newest[id_].state == expected or newest[id_].ended_at is not None
                assert newest[id_].announced_at is not None

    def _check_versions(self, tallies: list[Message]) -> None:
        """No version of a tally says two things: whoever comes after an owner begins with a higher epoch."""
        said: dict[tuple[str, int, int, int], Tally] = {}
        for message in tallies:
            if message.key() != b"tick":
                tally = Tally.decode(message.value())
                version = (tally.notification_id, tally.partition, tally.epoch, tally.counter)
                assert said.setdefault(version, tally) == tally, "one version, two contents"

    def _listed(self) -> dict[str, set[str]]:
        newest = {message.key(): message.value() for message in read_all(self.settings, NOTIFICATION_SYSTEMS)}
        found: dict[str, set[str]] = {one.id: set() for one in NOTIFICATIONS}
        for value in newest.values():
            if value is not None:
                row = MatchedSystem.decode(value)
                found[row.notification_id].add(row.system)
        return found

    def _is_reached(self, one: Notification, matched: int, reporting: int) -> bool:
        if one.threshold.is_percent:
            return reporting > 0 and matched * 100 >= one.threshold.value * reporting
        return matched >= one.threshold.value

    def _model(self) -> SlowDetector:
        return SlowDetector(SENSORS).read(read_all(self.settings, SENSOR_READINGS))

    def changes(self) -> dict[tuple[str, str], list[Change]]:
        found: dict[tuple[str, str], list[Change]] = defaultdict(list)
        ids = set()
        for message in read_all(self.settings, SENSOR_CHANGES):
            change = SensorChange.decode(message.value())
            assert change.id not in ids, "a change came twice"
            ids.add(change.id)
            assert change.value is not None
            found[change.sensor_id, change.system].append((change.state, change.value, change.time))
        return dict(found)

    def difference(self, wanted: SlowDetector) -> str:
        expected, found = wanted.changes(), self.changes()
        lines = [
            f"{key}: expected {expected.get(key, [])[-4:]}, found {found.get(key, [])[-4:]}"
            for key in sorted({*expected, *found})
            if expected.get(key) != found.get(key)
        ]
        return "\n".join(lines[:10])

    def _counted(self) -> dict[str, int]:
        newest: dict[tuple[str, int], Tally] = {}
        for message in read_all(self.settings, NOTIFICATION_TALLIES):
            if message.key() == b"tick":
                continue
            tally = Tally.decode(message.value())
            known = newest.get((tally.notification_id, tally.partition))
            if known is None or (tally.epoch, tally.counter) > (known.epoch, known.counter):
                newest[tally.notification_id, tally.partition] = tally
        counts: dict[str, int] = defaultdict(int)
        for (id_, _), tally in newest.items():
            counts[id_] += tally.matched
        return dict(counts)

    def _expected_counts(self, wanted: SlowDetector) -> dict[str, int]:
        return {one.id: wanted.matched(use.sensor_id for use in one.sensors) for one in NOTIFICATIONS}

    def lag(self) -> int:
        """Records of the tallies that no activator has committed yet."""
        group = kafka.consumer(self.settings.kafka, self.settings.topic("tocsin-activator"))
        try:
            places = [
                TopicPartition(self.settings.topic(NOTIFICATION_TALLIES), partition)
                for partition in range(self.settings.partitions_default)
            ]
            lag = 0
            for place in group.committed(places, timeout=10):
                _, end = group.get_watermark_offsets(place, timeout=10)
                lag += end - max(place.offset, 0)
            return lag
        except KafkaException:
            return 1 << 30
        finally:
            with suppress(KafkaException):
                group.close()

    def _book(self) -> Rulebook:
        follower = ConfigurationFollower(self.settings)
        try:
            return Rulebook.of(follower.start(), self.settings.console_url)
        finally:
            follower.close()
