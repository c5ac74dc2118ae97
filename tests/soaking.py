"""A soak: two detectors and two activators over generated and recorded readings, while everything fails in turn.

In the end all is compared with what the model makes of the input logs.
"""

from __future__ import annotations

import random
import sys
import time
from pathlib import Path

from confluent_kafka import Message

from publishing_model import SlowDetector, fold_of_tallies, folded
from soak_faults import ACTIVATORS, DETECTORS, Faults
from soak_feed import NOTIFICATIONS, Feed, records
from soak_logs import Logs
from support import eventually, put_records, read_all, settings_for, with_topics
from tocsin.deploy.fleet import Fleet
from tocsin.deploy.processes import Supervisor
from tocsin.deploy.stack import Stack
from tocsin.shared.configuration.records import Notification
from tocsin.shared.schemas.activation import Activation
from tocsin.shared.schemas.event import NotificationEvent
from tocsin.shared.schemas.tally import Tally
from tocsin.shared.settings import CommonSettings
from tocsin.shared.topics import ACTIVATIONS, NOTIFICATION_EVENTS, NOTIFICATION_TALLIES

SETTLE_S = 90.0
FAILING = (sys.executable, str(Path(__file__).with_name("failing_process.py")))


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
        rng = random.Random(seed)
        self.settings: CommonSettings = with_topics(settings_for(stack.bootstrap_servers, folder))
        environment = {
            "KAFKA_BOOTSTRAP_SERVERS": stack.bootstrap_servers,
            "TOCSIN_TOPIC_PREFIX": self.settings.topic_prefix,
            "TOCSIN_STATE_DIR": str(folder),
            "TOCSIN_LOG_FORMAT": "json",
            "TOCSIN_DETECTOR_CHECKPOINT_EVERY": "700ms",
            "FAILING_POINTS": str(folder / "points"),
        }
        self.fleet = Fleet(supervisor, folder / "logs", environment, FAILING)
        self._faults = Faults(stack, self.fleet, self.settings, rng, folder / "points")
        self._feed = Feed(self.settings, random.Random(rng.random()))
        self._logs = Logs(self.settings)
        put_records(self.settings, *records(rng))

    def run(self, seconds: float) -> None:
        """Feed and fail for so long, then let it settle."""
        for name in DETECTORS + ACTIVATORS:
            self.fleet.start(name.partition("-")[0], name=name, environment={"TOCSIN_INSTANCE": name})
        with self._feed.running():
            self.fleet.wait_ready(60)
            self._faults.deal(seconds)
        self._settle()

    def _settle(self) -> None:
        self._faults.say("settling")
        self._faults.cease()
        wanted = self._logs.model()
        until = time.monotonic() + SETTLE_S
        while self._logs.changes() != wanted.changes():
            assert time.monotonic() < until, self.difference(wanted)
            self._faults.tend()
            time.sleep(0.5)
        eventually(
            lambda: self._faults.tend() or self._logs.counted() == self._expected_counts(wanted), within=60, every=0.5
        )
        listed = {one.id: wanted.matching(use.sensor_id for use in one.sensors) for one in NOTIFICATIONS}
        eventually(lambda: self._faults.tend() or self._logs.listed() == listed, within=60, every=0.5)
        eventually(lambda: self._faults.tend() or self._logs.lag() <= 4 * len(ACTIVATORS), within=60, every=0.5)
        for name in ACTIVATORS + DETECTORS:
            assert self.fleet.members[name].child.stop() == 0, name
        assert self.difference(wanted) == ""

    def check(self) -> None:
        """All that was published against the model; the logs are complete now."""
        wanted = self._logs.model()
        published = folded(read_all(self.settings, NOTIFICATION_EVENTS))
        tallies = read_all(self.settings, NOTIFICATION_TALLIES)
        partitions = self.settings.partitions_default
        expected = fold_of_tallies(tallies, partitions, self._logs.book())
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
        assert self._logs.listed() == {
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

    def _is_reached(self, one: Notification, matched: int, reporting: int) -> bool:
        if one.threshold.is_percent:
            return reporting > 0 and matched * 100 >= one.threshold.value * reporting
        return matched >= one.threshold.value

    def difference(self, wanted: SlowDetector) -> str:
        expected, found = wanted.changes(), self._logs.changes()
        lines = [
            f"{key}: expected {expected.get(key, [])[-4:]}, found {found.get(key, [])[-4:]}"
            for key in sorted({*expected, *found})
            if expected.get(key) != found.get(key)
        ]
        return "\n".join(lines[:10])

    def _expected_counts(self, wanted: SlowDetector) -> dict[str, int]:
        return {one.id: wanted.matched(use.sensor_id for use in one.sensors) for one in NOTIFICATIONS}
