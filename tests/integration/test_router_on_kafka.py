"""The router on a real broker: events in, deliveries out, exactly once."""

from __future__ import annotations

import signal
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from broker_faults import set_topic
from delivering import ServiceProcess, audits, event_of, notification_for, unsigned_recipient
from support import eventually, produce, put_records, read_all, settings_for, with_topics
from tocsin.deploy.stack import Stack
from tocsin.dispatcher.router import Router
from tocsin.dispatcher.settings import RouterSettings
from tocsin.shared import kafka
from tocsin.shared.clock import SystemClock
from tocsin.shared.configuration.follower import ConfigurationFollower
from tocsin.shared.configuration.records import Notification, Recipient
from tocsin.shared.configuration.snapshot import Configuration
from tocsin.shared.ids import delivery_id
from tocsin.shared.lifecycle import nowhere
from tocsin.shared.schemas.delivery import Delivery
from tocsin.shared.schemas.event import NotificationEvent
from tocsin.shared.settings import CommonSettings
from tocsin.shared.topics import DELIVERIES, NOTIFICATION_EVENTS, ROUTER_STATE

pytestmark = pytest.mark.kafka


def router_settings(stack: Stack, tmp_path: Path, **given: object) -> RouterSettings:
    given = {
        "retry_tiers": (200,),
        "partitions_deliveries": 2,
        "partitions_default": 2,
        "partitions_readings": 1,
        **given,
    }
    return with_topics(settings_for(stack.bootstrap_servers, tmp_path, RouterSettings, **given))


@contextmanager
def running_router(settings: RouterSettings, at: Callable[[str], None] = nowhere) -> Iterator[None]:
    stopping = threading.Event()
    follower = ConfigurationFollower(settings)
    follower.start()

    def configuration_of(change: int) -> Configuration:
        follower.wait_for(change, 5)
        return follower.current

    router = Router(settings, configuration_of, SystemClock(), stopping.is_set, at)

    def run() -> None:
        router.join()
        while not stopping.is_set():
            router.step()
        router.close()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stopping.set()
        thread.join(30)
        follower.close()
        assert not thread.is_alive()


def put_events(settings: CommonSettings, *events: NotificationEvent) -> None:
    values = [(event.notification.id.encode(), event.encode()) for event in events]
    produce(kafka.producer(settings.kafka), settings.topic(NOTIFICATION_EVENTS), values)


def deliveries(settings: CommonSettings) -> list[Delivery]:
    return [Delivery.decode(message.value()) for message in read_all(settings, DELIVERIES)]


def two_recipients(settings: CommonSettings) -> tuple[Notification, list[Recipient], int]:
    recipients = [unsigned_recipient("http://127.0.0.1:9/", name) for name in ("A", "B")]
    notification = notification_for(*recipients)
    return notification, recipients, put_records(settings, *recipients, notification)


def test_an_event_becomes_a_delivery_for_each_recipient_and_its_routed_record(stack: Stack, tmp_path: Path) -> None:
    settings = router_settings(stack, tmp_path)
    notification, recipients, change = two_recipients(settings)
    event = event_of(notification.id, configuration_change=change)
    put_events(settings, event)
    with running_router(settings):
        eventually(lambda: len(deliveries(settings)) == 2)
    made = {delivery.recipient.id: delivery for delivery in deliveries(settings)}
    assert {one.id for one in made.values()} == {delivery_id(event.id, recipient.id) for recipient in recipients}
    assert all(one.event == event and one.replay == 0 and one.attempts == 0 for one in made.values())
    records = audits(settings, "routed")
    assert {one.delivery_id for one in records} == {one.id for one in made.values()}
    assert {(one.recipient.name, one.source.topic if one.source else None) for one in records} == {
        ("A", settings.topic(NOTIFICATION_EVENTS)),
        ("B", settings.topic(NOTIFICATION_EVENTS)),
    }
    keys = {message.key() for message in read_all(settings, DELIVERIES)}
    assert keys == {recipient.id.encode() for recipient in recipients}


def test_known_events_are_dropped_across_restarts_and_poison_is_passed_over(stack: Stack, tmp_path: Path) -> None:
    settings = router_settings(stack, tmp_path)
    notification, _, change = two_recipients(settings)
    first = event_of(notification.id, 1, configuration_change=change)
    unwanted = event_of(notification.id, 2, kind="reminder", configuration_change=change)
    put_events(settings, first, first, unwanted)
    with running_router(settings):
        eventually(lambda: len(deliveries(settings)) == 2)
    poison = [
        (b"k", b"not json"), (None, None), (b"k", b"\xff"), (b"k", b"[" * 100_000), (b"k", b'{"ordinal": NaN}'),
        (b"k", b"y" * 2_000_000), (b"k", b'{"id": {}}'),
    ]  # fmt: skip
    produce(kafka.producer(settings.kafka), settings.topic(NOTIFICATION_EVENTS), poison)
    third = event_of(notification.id, 3, kind="resolved", configuration_change=change)
    put_events(settings, first, third)
    with running_router(settings):
        eventually(lambda: len(deliveries(settings)) == 4)
    found = Counter(one.event.id for one in deliveries(settings))
    assert found == {first.id: 2, third.id: 2}
    states = read_all(settings, ROUTER_STATE)
    assert {message.key() for message in states} == {notification.id.encode()}
    events = read_all(settings, NOTIFICATION_EVENTS)
    (place,) = {message.partition() for message in events if message.key() == notification.id.encode()}
    assert {message.partition() for message in states} == {place}


def test_an_event_waits_for_the_configuration_it_was_made_under(stack: Stack, tmp_path: Path) -> None:
    settings = router_settings(stack, tmp_path)
    notification, recipients, change = two_recipients(settings)
    late = unsigned_recipient("http://127.0.0.1:9/", "Late")
    newer = notification.model_copy(update={"recipient_ids": (*notification.recipient_ids, late.id)})
    started = threading.Event()
    with running_router(settings):
        put_events(settings, event_of(notification.id, configuration_change=change + 1))
        started.wait(0.5)  # gives a router that doesn't wait the time to be wrong
        assert deliveries(settings) == []
        assert put_records(settings, late, newer) == change + 1
        eventually(lambda: len(deliveries(settings)) == 3)
    assert {one.recipient.name for one in deliveries(settings)} == {"A", "B", "Late"}
    assert len(recipients) == 2


@pytest.mark.parametrize("by", [signal.SIGKILL, signal.SIGTERM])
def test_a_killed_or_stopped_router_routes_each_event_once(stack: Stack, tmp_path: Path, by: signal.Signals) -> None:
    """At two points, at once: most of the time passes until the broker takes each of them for dead."""
    with ThreadPoolExecutor() as pool:
        runs = [pool.submit(end_at, stack, tmp_path / point, point, by) for point in ("before_commit", "committed")]
    for run in runs:
        run.result()


def end_at(stack: Stack, tmp_path: Path, point: str, by: signal.Signals) -> None:
    tmp_path.mkdir()
    settings = router_settings(stack, tmp_path)
    notification, recipients, change = two_recipients(settings)
    events = [event_of(notification.id, ordinal, configuration_change=change) for ordinal in range(1, 301)]
    put_events(settings, *events)
    with ServiceProcess("router", settings, tmp_path / "log", crash_at=point, by=by) as killed:
        assert killed.process.wait(60) == (-9 if by == signal.SIGKILL else 0)
    with ServiceProcess("router", settings, tmp_path / "log") as second:
        eventually(lambda: len(deliveries(settings)) >= 600, within=60)
        # What would come twice would come before what comes after it.
        events.append(event_of(notification.id, 301, configuration_change=change))
        put_events(settings, events[-1])
        eventually(lambda: events[-1].id in {one.event.id for one in deliveries(settings)})
        assert second.stop() == 0
    expected = Counter(delivery_id(event.id, recipient.id) for event in events for recipient in recipients)
    assert Counter(one.id for one in deliveries(settings)) == expected
    assert Counter(one.delivery_id for one in audits(settings, "routed")) == expected


def test_deliveries_that_their_topic_is_too_small_for_are_not_lost(stack: Stack, tmp_path: Path) -> None:
    settings = router_settings(stack, tmp_path)
    notification, recipients, change = two_recipients(settings)
    set_topic(settings, DELIVERIES, max_message_bytes=200)
    events = [event_of(notification.id, ordinal, configuration_change=change) for ordinal in (1, 2)]
    put_events(settings, events[0])
    log = tmp_path / "log"
    with ServiceProcess("router", settings, log) as process:
        eventually(lambda: log.read_text().count("routing failed") >= 2, within=60)
        assert deliveries(settings) == []
        set_topic(settings, DELIVERIES, max_message_bytes=1_000_000)
        put_events(settings, events[1])
        eventually(lambda: len(deliveries(settings)) >= 4, within=60)
        assert process.stop() == 0
    expected = Counter(delivery_id(event.id, recipient.id) for event in events for recipient in recipients)
    assert Counter(one.id for one in deliveries(settings)) == expected
    assert Counter(one.delivery_id for one in audits(settings, "routed")) == expected
