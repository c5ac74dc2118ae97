"""What tests of the activator's core need: a rulebook, and one notification fed from a log."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

from tocsin.evaluator.core.activation import Place, Step, step
from tocsin.evaluator.core.activation_row import Row
from tocsin.evaluator.core.notification import Rulebook
from tocsin.shared.configuration.condition import parse_condition
from tocsin.shared.configuration.records import (
    Matcher,
    Notification,
    Sensor,
    SensorUse,
    Settings,
    Silence,
    ThresholdSpec,
)
from tocsin.shared.configuration.snapshot import Configuration
from tocsin.shared.schemas.event import NotificationEvent
from tocsin.shared.schemas.tally import Tally, Tick

TENANT = "11111111-1111-1111-1111-111111111111"
T0 = 1_764_000_000_000


def configuration(change: int = 1, threshold: str = "25%", name: str = "Slow", delete: bool = False) -> Configuration:
    is_percent = threshold.endswith("%")
    notification = Notification(
        id="n1",
        name=name,
        description="Too many are slow",
        sensors=(SensorUse(sensor_id="s1"),),
        threshold=ThresholdSpec(value=Decimal(threshold.rstrip("%")), is_percent=is_percent),
        recipient_ids=(),
    )
    return Configuration(
        change=change,
        sensors={"s1": Sensor(id="s1", name="CPU busy", metric="cpu", trigger=parse_condition("> 90"))},
        notifications={} if delete else {"n1": notification},
        settings=Settings(id="d", name="deployment", tenant_id=TENANT),
    )


def book(**given: object) -> Rulebook:
    return Rulebook.of(configuration(**given), "https://console.example/")  # type: ignore[arg-type]


class Log:
    """Feeds one notification, an offset and a second at a time."""

    def __init__(self, rules: Rulebook, partitions: int = 1) -> None:
        self.book = rules
        self.partitions = partitions
        self.row: Row | None = None
        self.offset = -1
        self.now = T0

    def _step(self, given: Tally | Tick) -> Step:
        result = step(self.row, given, self.book, Place(0, self.offset, self.now))
        self.row = result.row
        return result

    def tally(self, matched: int, reporting: int, partition: int = 0, **given: object) -> Step:
        self.offset += 1
        self.now += 1_000
        fields: dict[str, object] = {
            "notification_id": "n1",
            "revision": self.book.rules["n1"].revision if "n1" in self.book.rules else "gone",
            "partition": partition,
            "partitions": self.partitions,
            "epoch": 1,
            "counter": self.offset,
            "matched": matched,
            "reporting": reporting,
            "systems": tuple(f"p{partition}-{number:03d}" for number in range(min(matched, 100))),
            "total": matched,
            "time": self.now,
            "sent_at": self.now,
        }
        return self._step(Tally.model_validate({**fields, **given}))

    def tick(self, later_ms: int = 1_000) -> Step:
        self.offset += 1
        self.now += later_ms
        return self._step(Tick(time=self.now))

    @property
    def known(self) -> Row:
        assert self.row is not None
        return self.row


def event_of(result: Step) -> NotificationEvent:
    (pending,) = result.events
    return NotificationEvent.decode(pending.event.encode())


def kinds(result: Step) -> list[str]:
    """Of the events; of what nobody is told in brackets."""
    return [event.kind if event.event else f"({event.kind})" for event in result.events]


def quiet(until: int, start: int = 0) -> Silence:
    return Silence(
        id="q", name="q", matchers=(Matcher(field="notification", pattern="*"),), starts_at=start, until=until
    )


def book_with(options: dict[str, object] | None = None, **more: object) -> Rulebook:
    """One system is enough; the notification has these options, the configuration has more."""
    known = configuration(threshold="1")
    notification = known.notifications["n1"].model_copy(update=options or {})
    return Rulebook.of(replace(known, notifications={"n1": notification}, **more), "")  # type: ignore[arg-type]
