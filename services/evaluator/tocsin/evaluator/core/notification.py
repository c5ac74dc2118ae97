"""Notifications as the activator judges them: the rule, the threshold, and the events that come of it. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from tocsin.evaluator.core.gate import Calendar, Gate, gate_of
from tocsin.evaluator.core.lifecycle import Policy
from tocsin.shared.configuration.records import Dismissal, Notification, ThresholdSpec
from tocsin.shared.configuration.schedules import PRESETS, Week, check_zone
from tocsin.shared.configuration.silences import silences_of
from tocsin.shared.configuration.snapshot import Configuration, notification_revision
from tocsin.shared.schemas.activation import Activation
from tocsin.shared.schemas.base import Ref
from tocsin.shared.schemas.event import DismissedBecause, EventKind, EventUrls, NotificationEvent, Threshold


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
    policy: Policy = field(default=Policy())

    def reached(self, matched: int, reporting: int) -> bool:
        return reached(self.notification.threshold, matched, reporting)


def policy_of(notification: Notification, configuration: Configuration) -> Policy:
    """Its options that have to do with time, with the schedule and the silences as they are."""
    return Policy(
        for_ms=notification.for_,
        remind_every=notification.remind_every,
        cooldown=notification.cooldown,
        gate=_gate(notification, configuration),
    )


def _gate(notification: Notification, configuration: Configuration) -> Gate:
    silences = [(one.starts_at, one.until) for one in silences_of(notification, configuration)]
    name = notification.schedule_id
    if name is None:
        return gate_of(None, silences)
    if name in PRESETS:
        return gate_of(Calendar(PRESETS[name], "UTC"), silences)
    schedule = configuration.schedules.get(name)
    # One that is not there keeps nobody from being told: better too much than silence.
    return gate_of(_calendar(schedule.slots, schedule.time_zone) if schedule else None, silences)


def _calendar(week: Week, zone: str) -> Calendar:
    try:
        return Calendar(week, check_zone(zone))
    except ValueError:  # saved where it was known; this machine's zones are older
        return Calendar(week, "UTC")


@dataclass(frozen=True, slots=True)
class Rulebook:
    """All notifications in effect at one change of the configuration."""

    change: int = 0
    tenant_id: str = ""
    console_url: str = ""
    rules: Mapping[str, Rule] = field(default_factory=dict)
    dismissals: Mapping[str, Dismissal] = field(default_factory=dict)  # by activation

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
                    policy_of(notification, configuration),
                )
        console = console_url.rstrip("/")
        return cls(configuration.change, configuration.tenant_id, console, rules, configuration.dismissals)


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
    reminder: int | None = None
    ended_at: int | None = None
    dismissed_because: DismissedBecause | None = None
    dismissal: Dismissal | None = None  # by hand


@dataclass(frozen=True, slots=True)
class Told:
    """What has been told of an activation."""

    announced_at: int | None
    reminded_at: int | None = None
    reminder: int | None = None


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
        reminder=occasion.reminder,
        ended_at=occasion.ended_at,
        dismissed_because=occasion.dismissed_because,
        dismissed_by=occasion.dismissal.dismissed_by if occasion.dismissal else None,
        comment=occasion.dismissal.comment if occasion.dismissal else None,
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


def activation_record(event: NotificationEvent, activated: NotificationEvent, told: Told) -> Activation:
    """The activation as it stands after `event`; `activated` says how it opened."""
    state: Literal["active", "resolved", "dismissed"] = "active"
    if event.kind in ("resolved", "dismissed"):
        state = event.kind
    return Activation(
        id=event.activation_id,
        notification=event.notification,
        state=state,
        activated_at=event.activated_at,
        announced_at=told.announced_at,
        reminded_at=told.reminded_at,
        reminder=told.reminder,
        ended_at=event.ended_at,
        dismissed_because=event.dismissed_because,
        dismissed_by=event.dismissed_by,
        comment=event.comment,
        matched=event.matched,
        reporting=event.reporting,
        systems_at_activation=activated.systems,
        systems_total=activated.systems_total,
        systems_truncated=activated.systems_truncated,
    )
