"""What tests of a sick broker share: router and dispatcher at work over a broker, and what must hold afterwards."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from confluent_kafka.admin import AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType

from delivering import (
    SECRET,
    ServiceProcess,
    dispatcher_settings,
    event_of,
    notification_for,
    terminals,
    webhook_recipient,
)
from receiver import Receiver
from support import eventually, newest_change, produce, put_records, quick_producer
from tocsin.deploy.stack import Stack
from tocsin.dispatcher.ledger_reader import read_ledger
from tocsin.dispatcher.settings import DispatcherSettings
from tocsin.shared import kafka
from tocsin.shared.configuration.records import Notification, Recipient
from tocsin.shared.ids import delivery_id
from tocsin.shared.topics import NOTIFICATION_EVENTS

RECIPIENTS = 4


def set_topic(settings: DispatcherSettings, topic: str, **config: Any) -> None:
    entries = [
        ConfigEntry(name.replace("_", "."), str(value), incremental_operation=AlterConfigOpType.SET)
        for name, value in config.items()
    ]
    resource = ConfigResource(ResourceType.TOPIC, settings.topic(topic), incremental_configs=entries)
    for future in kafka.admin(settings.kafka).incremental_alter_configs([resource]).values():
        future.result()


@dataclass
class Work:
    """Events that become deliveries, while something is wrong with the broker."""

    settings: DispatcherSettings  # of a client that nothing is wrong for
    receiver: Receiver
    recipients: list[Recipient]
    notification: Notification
    folder: Path
    processes: dict[str, ServiceProcess] = field(default_factory=dict)
    expected: set[str] = field(default_factory=set)
    ordinal: int = 0

    def put(self, events: int) -> None:
        """So many events, each for every recipient."""
        made = []
        for _ in range(events):
            self.ordinal += 1
            event = event_of(self.notification.id, self.ordinal, configuration_change=newest_change())
            made.append((self.notification.id.encode(), event.encode()))
            self.expected |= {delivery_id(event.id, recipient.id) for recipient in self.recipients}
        produce(quick_producer(self.settings), self.settings.topic(NOTIFICATION_EVENTS), made)

    def arrived(self) -> int:
        return len({one.id for one in self.receiver.requests})

    def has_arrived(self, count: int, within: float = 60.0) -> None:
        eventually(lambda: self.arrived() >= count, within=within, every=0.05)

    def log(self, service: str) -> str:
        return (self.folder / f"{service}.log").read_text()

    def nothing_is_lost_so_far(self) -> int:
        """No offset is committed past a delivery without a successor; how many are open."""
        report = read_ledger(self.settings)
        assert report.clean, report
        return report.open

    def ends_well(self, within: float = 90.0, *, repeats: int = 0) -> None:
        """Without a hand: everything arrives, each has one end, and what came twice is the same."""
        eventually(lambda: set(terminals(self.settings)) == {(id_, 0) for id_ in self.expected}, within, 0.5)
        assert [one.process.poll() for one in self.processes.values()] == [None] * len(self.processes)
        assert set(terminals(self.settings).values()) == {1}
        report = read_ledger(self.settings)
        assert report.clean
        assert report.ended == {"delivered": len(self.expected)}
        assert {one.id for one in self.receiver.requests} == self.expected
        assert all(one.verified for one in self.receiver.requests)
        bodies: dict[str, set[bytes]] = defaultdict(set)
        for one in self.receiver.requests:
            bodies[one.id].add(one.body)
        assert {len(found) for found in bodies.values()} == {1}
        assert len(self.receiver.requests) - len(self.expected) <= repeats


@contextmanager
def at_work(stack: Stack, folder: Path, environment: Mapping[str, str] | None = None, **given: Any) -> Iterator[Work]:
    """Router and dispatcher as processes, with `environment` between them and the broker."""
    settings = dispatcher_settings(stack, folder, **given)
    with Receiver(SECRET, delay=0.01) as receiver, ExitStack() as running:
        recipients = [webhook_recipient(settings, receiver.url, f"R{at}") for at in range(RECIPIENTS)]
        notification = notification_for(*recipients)
        put_records(settings, *recipients, notification)
        work = Work(settings, receiver, recipients, notification, folder)
        for service in ("router", "dispatcher"):
            process = ServiceProcess(service, settings, folder / f"{service}.log", environment=environment)
            work.processes[service] = running.enter_context(process)
        work.put(10)
        work.has_arrived(10 * RECIPIENTS)
        yield work
        assert {name: one.stop() for name, one in work.processes.items()} == {"router": 0, "dispatcher": 0}
