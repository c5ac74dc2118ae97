"""A deployment that has run for a month, written straight to its topics: what a console finds when it starts.

Made from the records' own models, of a seeded random: the same numbers make the same world. What nobody does evenly is
not even here: some notifications are active much more often than others, and so are their recipients told.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

from msgspec.structs import replace

from tocsin.deploy.bench.console_records import METRICS, PER_EVENT, World
from tocsin.deploy.bench.delivering import event_of
from tocsin.dispatcher.core.audit import AuditLine, Origin, Place, routed
from tocsin.shared import kafka
from tocsin.shared.clock import SystemClock
from tocsin.shared.configuration.codec import change_headers, encode_record
from tocsin.shared.configuration.records import (
    Notification,
)
from tocsin.shared.ids import audit_id
from tocsin.shared.schemas.activation import Activation
from tocsin.shared.schemas.base import Ref
from tocsin.shared.schemas.change import SensorChange
from tocsin.shared.schemas.delivery import DeadLetter, Delivery
from tocsin.shared.schemas.recipient_state import RecipientState
from tocsin.shared.schemas.system import MatchedSystem, system_key
from tocsin.shared.settings import CommonSettings
from tocsin.shared.times import format_rfc3339
from tocsin.shared.topics import (
    ACTIVATIONS,
    CONFIGURATION,
    CONFIGURATION_AUDIT,
    DELIVERY_AUDIT,
    DELIVERY_DEAD_LETTER,
    NOTIFICATION_EVENTS,
    NOTIFICATION_SYSTEMS,
    RECIPIENT_STATE,
    SENSOR_CHANGES,
    SENSOR_READINGS,
)

DAY_MS = 86_400_000
HISTORY_MS = 30 * DAY_MS
EVENTS_KEPT_MS = 7 * DAY_MS
"""By its topic's retention: older deliveries have no event any more."""


FAILS_ONCE, DEAD = 0.08, 0.02
"""Of the deliveries: tried again once, and given up after ten attempts."""

FLEET_WIDE = 0.3
"""Of the systems match the busiest notification; each other one is matched by a hundred."""

TRIGGERED = 0.05
"""Of the systems have a triggered sensor; all of them have had one and have it no longer."""


Message = tuple[str, str | bytes, bytes | None]
"""Topic, key and value."""


def fill(settings: CommonSettings, world: World) -> int:
    """All topics, acknowledged; how many records that were."""
    producer = kafka.producer(settings.kafka, linger_ms=50, queue_buffering_max_messages=1_000_000)
    topics = {name: settings.topic(name) for name in TOPICS}
    count = 0
    for topic, key, value in messages(world):
        count += 1
        while True:
            try:
                producer.produce(topics[topic], key=key, value=value)
                break
            except BufferError:
                producer.poll(0.1)
        if count % 1_000 == 0:
            producer.poll(0)
    _configure(settings, world)
    producer.flush(120)
    return count


def _configure(settings: CommonSettings, world: World) -> None:
    records = [*world.sensors, *world.groups, *world.notifications, *world.receivers, *world.others]
    producer = kafka.producer(settings.kafka)
    headers = change_headers(1, len(records))
    for record in records:
        key, value = encode_record(record)
        producer.produce(settings.topic(CONFIGURATION), key=key, value=value, headers=headers, partition=0)
    producer.flush(60)


def messages(world: World) -> Iterator[Message]:
    """Of every topic but `configuration`."""
    yield from _changes_of_configuration(world)
    yield from _readings(world)
    yield from _sensor_changes(world)
    yield from _matches(world)
    yield from _standings(world)
    yield from _history(world)


def _changes_of_configuration(world: World) -> Iterator[Message]:
    """Ten for each record."""
    records = [*world.sensors, *world.groups, *world.notifications, *world.receivers]
    for number in range(10):
        for record in records:
            at = format_rfc3339(world.now - HISTORY_MS + world.random.randrange(HISTORY_MS))
            value = (
                f'{{"schema_version":1,"id":"{world.new_id()}","change":{number + 1},"time":"{at}",'
                f'"actor":"user:admin-{world.random.randrange(20)}","action":"changed","kind":"{record.kind}",'
                f'"record_id":"{record.id}","name":"{record.name}","fields":["description"],'
                f'"before":{{"name":"{record.name}"}},"after":{{"name":"{record.name}"}}}}'
            )
            yield CONFIGURATION_AUDIT, record.id, value.encode()


def _readings(world: World) -> Iterator[Message]:
    """Two reports of four readings from each system."""
    for turn in range(2):
        for number in range(world.systems):
            at = world.now - 120_000 + turn * 60_000 + number % 60_000
            parts = ",".join(f'{{"metric":"{metric}","value":{50 + number % 40}.5}}' for metric in METRICS)
            system = world.system(number)
            tags = f'{{"site":"{("Berlin", "Paris", "Oslo")[number % 3]}"}}'
            yield (
                SENSOR_READINGS,
                system,
                f'{{"system":"{system}","time":{at},"tags":{tags},"readings":[{parts}]}}'.encode(),
            )


def _sensor_changes(world: World) -> Iterator[Message]:
    for number in range(world.systems):
        sensor = world.sensors[number % len(world.sensors)]
        states = ("triggered", "clear", "triggered") if world.random.random() < TRIGGERED else ("triggered", "clear")
        for place, state in enumerate(states):
            change = SensorChange.model_construct(
                id=world.new_id(),
                sensor_id=sensor.id,
                sensor=sensor.name,
                revision="0123456789abcdef",
                system=world.system(number),
                metric=sensor.metric,
                state=state,  # type: ignore[arg-type]
                previous="clear",
                value=93.5,
                time=world.now - EVENTS_KEPT_MS + place * DAY_MS,
            )
            yield SENSOR_CHANGES, change.system, change.encode()


def _matches(world: World) -> Iterator[Message]:
    for number, notification in enumerate(world.notifications):
        count = int(world.systems * FLEET_WIDE) if number == 0 else min(100, world.systems)
        for place in range(count):
            system = world.system((number * 997 + place) % world.systems)
            row = MatchedSystem(
                notification_id=notification.id, system=system, partition=0, since=world.now - place * 1_000
            )
            yield NOTIFICATION_SYSTEMS, system_key(notification.id, system), row.encode()


def _standings(world: World) -> Iterator[Message]:
    for number, receiver in enumerate(world.receivers):
        failing = number % 33 == 0
        row = RecipientState(
            name=receiver.name,
            failures_in_a_row=7 if failing else 0,
            last_reason="http_503" if failing else None,
            opened_at=world.now if failing else None,
        )
        yield RECIPIENT_STATE, receiver.id, row.encode()


def _history(world: World) -> Iterator[Message]:
    """Activations, oldest first, with their events and deliveries."""
    each = min(PER_EVENT, world.recipients)
    activations = max(1, world.deliveries // (2 * each))
    weights = [1 / (place + 1) for place in range(len(world.notifications))]
    chosen = world.random.choices(world.notifications, weights, k=activations)
    for number, notification in enumerate(chosen):
        began = world.now - HISTORY_MS + number * HISTORY_MS // activations
        yield from _activation(world, notification, began, last=number >= activations - 20)


def _activation(world: World, notification: Notification, began: int, *, last: bool) -> Iterator[Message]:
    activation, ref = world.new_id(), Ref(id=notification.id, name=notification.name)
    systems = tuple(world.system(world.random.randrange(world.systems)) for _ in range(20))
    ended = None if last else began + 600_000
    stands = Activation.model_construct(
        id=activation,
        notification=ref,
        state="active" if last else "resolved",
        activated_at=began,
        announced_at=began,
        ended_at=ended,
        matched=20,
        reporting=world.systems,
        systems_at_activation=systems,
        systems_total=20,
    )
    yield ACTIVATIONS, activation, stands.encode()
    told = [world.receivers[int(place)] for place in _places(world, notification)]
    for ordinal, (kind, at) in enumerate((("activated", began), ("resolved", ended)), 1):
        if at is None:
            continue
        event = _EXAMPLE.model_copy(
            update={
                "id": world.new_id(),
                "kind": kind,
                "ordinal": ordinal,
                "activation_id": activation,
                "activated_at": began,
                "time": at,
                "notification": ref,
                "systems": systems,
                "systems_total": 20,
            }
        )
        if at > world.now - EVENTS_KEPT_MS:
            yield NOTIFICATION_EVENTS, notification.id, event.encode()
        for receiver in told:
            delivery = Delivery.model_construct(
                id=world.new_id(), recipient=Ref(id=receiver.id, name=receiver.name), event=event, routed_at=at + 20
            )
            yield from _delivery(world, delivery, open_=last)


def _places(world: World, notification: Notification) -> Sequence[int]:
    number = int(notification.name.rpartition(" ")[2])
    return [(number * 5 + place) % world.recipients for place in range(min(PER_EVENT, world.recipients))]


def _delivery(world: World, delivery: Delivery, *, open_: bool) -> Iterator[Message]:
    """As the router and the dispatcher audit it."""
    dice, at = world.random.random(), delivery.routed_at
    line = routed(delivery, _ORIGIN)
    yield DELIVERY_AUDIT, delivery.id, line.encode()
    fails = 10 if dice < DEAD else 1 if dice < DEAD + FAILS_ONCE or open_ else 0
    for attempt in range(1, fails + 1):
        at += 5_000
        failed = {"outcome": "failed", "reason": "http_503", "status": 503}
        yield DELIVERY_AUDIT, delivery.id, _attempt(line, attempt, at, **failed)
    if open_:
        return
    if dice < DEAD:
        yield DELIVERY_AUDIT, delivery.id, _ended(line, "dead-lettered", at)
        letter = DeadLetter.model_construct(delivery=delivery, reason="attempts_exhausted", status=503, time=at)
        yield DELIVERY_DEAD_LETTER, delivery.recipient.id, letter.encode()
        return
    yield DELIVERY_AUDIT, delivery.id, _attempt(line, fails + 1, at + 100, outcome="ok", status=200)
    yield DELIVERY_AUDIT, delivery.id, _ended(line, "delivered", at + 100)


def more_deliveries(settings: CommonSettings, world: World, rate: int, seconds: float) -> None:
    """So many more a second, as they are audited."""
    producer = kafka.producer(settings.kafka, linger_ms=20)
    topic = settings.topic(DELIVERY_AUDIT)
    event = _EXAMPLE.model_copy(update={"notification": Ref(id=world.notifications[0].id, name="Notification 0000")})
    began = time.monotonic()
    for number in range(int(rate * seconds)):
        time.sleep(max(0.0, began + number / rate - time.monotonic()))
        receiver = world.receivers[number % world.recipients]
        delivery = Delivery.model_construct(
            id=world.new_id(),
            recipient=Ref(id=receiver.id, name=receiver.name),
            event=event,
            routed_at=SystemClock().now_ms(),
        )
        for _, key, value in _delivery(world, delivery, open_=False):
            producer.produce(topic, key=key, value=value)
        producer.poll(0)
    producer.flush(30)


def _attempt(line: AuditLine, attempt: int, at: int, **more: object) -> bytes:
    id_ = audit_id(line.delivery_id, 0, "attempt", attempt)
    facts = {"channel": "webhook", "latency_ms": 12.345, "body_sha256": "0" * 64, "body_bytes": 812, **more}
    return replace(line, id=id_, kind="attempt", time=format_rfc3339(at), attempt=attempt, **facts).encode()


def _ended(line: AuditLine, kind: str, at: int) -> bytes:
    id_ = audit_id(line.delivery_id, 0, kind, 1)
    return replace(line, id=id_, kind=kind, time=format_rfc3339(at)).encode()


_ORIGIN = Origin(Place("deliveries", 1, 123_456), "dispatcher-1")
_EXAMPLE = event_of()
TOPICS = (
    ACTIVATIONS,
    CONFIGURATION_AUDIT,
    DELIVERY_AUDIT,
    DELIVERY_DEAD_LETTER,
    NOTIFICATION_EVENTS,
    NOTIFICATION_SYSTEMS,
    RECIPIENT_STATE,
    SENSOR_CHANGES,
    SENSOR_READINGS,
)
