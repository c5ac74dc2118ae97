"""Notifications as the activator judges them: the rule, the threshold, and the events that come of it. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from tocsin.shared.configuration.records import Notification, ThresholdSpec
from tocsin.shared.configuration.snapshot import Configuration, notification_revision
from tocsin.shared.schemas.activation import Activation
from tocsin.shared.schemas.base import Ref
from tocsin.shared.schemas.event import EventKind, EventUrls, NotificationEvent, Threshold


def reached(threshold: ThresholdSpec, matched: int, reporting: int) -> bool:
    """Whether so many matching systems reach it. Exact: 33.3 % of 1,000 systems is 333 of them."""
    if threshold.value <= 0:
        return False
    if not threshold.is_percent:
        return matched >= 1 and matched >= threshold.value
    numerator, denominator = threshold.value.as_integer_ratio()
    return reporting > 0 and matched * 100 * denominator >= numerator * reporting


@dataclass(frozen=True, slots=True)
class Rule:
    """A notification in effect, with what it names."""

    notification: Notification
    revision: str
    sensors: tuple[Ref, ...]
    group: Ref | None


@dataclass(frozen=True, slots=True)
class Rulebook:
    """All notifications in effect at one change of the configuration."""

    change: int = 0
    tenant_id: str = ""
    console_url: str = ""
    rules: Mapping[str, Rule] = field(default_factory=dict)

    @classmethod
    def of(cls, configuration: Configuration, console_url: str) -> Rulebook:
        rules = {}
        for notification in configuration.notifications.values():
            revision = notification_revision(notification, configuration)
            if revision is not None:
                rules[notification.id] = Rule(
                    notification,
                    revision,
                    tuple(
                        Ref(id=use.sensor_id, name=configuration.sensors[use.sensor_id].name)
                        for use in notification.sensors
                    ),
                    configuration.group_ref(notification),
                )
        return cls(configuration.change, configuration.tenant_id, console_url.rstrip("/"), rules)


@dataclass(frozen=True, slots=True)
class Population:
    """Who matched when an event happened."""

    matched: int
    reporting: int
    systems: tuple[str, ...]

    @property
    def truncated(self) -> bool:
        return self.matched > len(self.systems)


@dataclass(frozen=True, slots=True)
class Occasion:
    """What happened to which activation, and when."""

    id: str  # of the event
    kind: EventKind
    ordinal: int
    activation_id: str
    activated_at: int
    time: int


def describe(occasion: Occasion, rule: Rule, population: Population, book: Rulebook) -> NotificationEvent:
    """The event, with every name and text as it is now."""
    notification = rule.notification
    return NotificationEvent(
        id=occasion.id,
        kind=occasion.kind,
        ordinal=occasion.ordinal,
        tenant_id=book.tenant_id,
        activation_id=occasion.activation_id,
        activated_at=occasion.activated_at,
        time=occasion.time,
        notification=Ref(id=notification.id, name=notification.name),
        description=notification.description,
        sensors=rule.sensors,
        group=rule.group,
        threshold=Threshold(
            value=notification.threshold.value_text(),
            is_percent=notification.threshold.is_percent,
            text=notification.threshold.text(),
        ),
        revision=rule.revision,
        matched=population.matched,
        reporting=population.reporting,
        systems=population.systems,
        systems_total=population.matched,
        systems_truncated=population.truncated,
        urls=event_urls(book.console_url, occasion.activation_id),
        configuration_change=book.change,
    )


def event_urls(console_url: str, activation_id: str) -> EventUrls:
    systems = f"{console_url}/api/v1/activations/{activation_id}/systems"
    return EventUrls(
        activation=f"{console_url}/activations/{activation_id}",
        systems_at_activation=f"{systems}?at=activation",
        systems_now=systems,
    )


def activation_record(event: NotificationEvent, activated: NotificationEvent) -> Activation:
    """The activation as it stands after `event`; `activated` is the event that announced it."""
    ended = event.kind in ("resolved", "dismissed")
    return Activation(
        id=event.activation_id,
        notification=event.notification,
        state=event.kind if event.kind in ("resolved", "dismissed") else "active",
        activated_at=event.activated_at,
        ended_at=event.time if ended else None,
        matched=event.matched,
        reporting=event.reporting,
        systems_at_activation=activated.systems,
        systems_total=activated.systems_total,
        systems_truncated=activated.systems_truncated,
    )
