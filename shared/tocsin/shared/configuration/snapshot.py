"""The whole configuration at one change number: frozen, indexed by id."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from tocsin.shared.configuration.records import (
    Dismissal,
    Forgetting,
    Group,
    Notification,
    Recipient,
    Record,
    Schedule,
    Sensor,
    Settings,
    Silence,
)
from tocsin.shared.schemas.base import Ref


@dataclass(frozen=True)
class Configuration:
    """What every process works from. `change` only grows."""

    change: int = 0
    sensors: Mapping[str, Sensor] = field(default_factory=dict)
    groups: Mapping[str, Group] = field(default_factory=dict)
    notifications: Mapping[str, Notification] = field(default_factory=dict)
    recipients: Mapping[str, Recipient] = field(default_factory=dict)
    schedules: Mapping[str, Schedule] = field(default_factory=dict)
    silences: Mapping[str, Silence] = field(default_factory=dict)
    dismissals: Mapping[str, Dismissal] = field(default_factory=dict)  # by activation
    forgettings: Mapping[str, Forgetting] = field(default_factory=dict)
    settings: Settings | None = None
    records: Mapping[str, Record] = field(default_factory=dict)  # all of them, by key

    @property
    def tenant_id(self) -> str:
        """The deployment's GUID; the nil GUID until the first change has been written."""
        return self.settings.tenant_id if self.settings else "00000000-0000-0000-0000-000000000000"

    def group_ref(self, notification: Notification) -> Ref | None:
        """The group of a notification as it is called now; None is every system."""
        if notification.group_id is None:
            return None
        group = self.groups.get(notification.group_id)
        return Ref(id=notification.group_id, name=group.name if group else "")

    @classmethod
    def of(cls, change: int, records: Mapping[str, Record]) -> Configuration:
        """From the newest record of each key."""
        kinds: dict[type[Record], dict[str, Record]] = {}
        for record in records.values():
            kinds.setdefault(type(record), {})[record.id] = record
        dismissals = [one for one in kinds.get(Dismissal, {}).values() if isinstance(one, Dismissal)]
        settings = next(iter(kinds.get(Settings, {}).values()), None)
        return cls(
            change=change,
            sensors=kinds.get(Sensor, {}),  # type: ignore[arg-type]
            groups=kinds.get(Group, {}),  # type: ignore[arg-type]
            notifications=kinds.get(Notification, {}),  # type: ignore[arg-type]
            recipients=kinds.get(Recipient, {}),  # type: ignore[arg-type]
            schedules=kinds.get(Schedule, {}),  # type: ignore[arg-type]
            silences=kinds.get(Silence, {}),  # type: ignore[arg-type]
            forgettings=kinds.get(Forgetting, {}),  # type: ignore[arg-type]
            dismissals={dismissal.activation_id: dismissal for dismissal in dismissals},
            settings=settings if isinstance(settings, Settings) else None,
            records=dict(records),
        )


def _digest(value: object) -> str:
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def sensor_revision(sensor: Sensor) -> str:
    """A hash of the rule, not of the name or description: a new one means that the sensor starts over."""
    trigger = str(sensor.trigger) if sensor.trigger else None
    rule: list[object] = [sensor.metric, trigger, str(sensor.clear) if sensor.clear else None, sensor.for_]
    # Only what is given counts, so that a new option is no edit of the sensors that do without it.
    more = sensor.model_dump(mode="json", include=_LATER_OPTIONS, exclude_defaults=True)
    return _digest([*rule, more] if more else rule)


_LATER_OPTIONS = {"levels", "keep", "breaches", "aggregate", "no_data", "hold", "lateness", "flapping", "overrides"}


_OPTIONS = ("for_", "remind_every", "cooldown", "schedule_id", "forget_after")
"""Options that are part of a notification's rule. Not `notify_on`: it says only who is told, as recipients do."""


def notification_revision(notification: Notification, configuration: Configuration) -> str | None:
    """A hash of the notification's rule and of the sensors and group it names; not of names, texts, recipients.

    None when a sensor or its group does not exist: such a notification is not judged.
    """
    uses = []
    for use in notification.sensors:
        sensor = configuration.sensors.get(use.sensor_id)
        if sensor is None:
            return None
        named = [use.sensor_id, use.instance, sensor_revision(sensor)]
        uses.append([*named, use.level] if use.level is not None else named)
    group = None
    if notification.group_id is not None:
        found = configuration.groups.get(notification.group_id)
        if found is None:
            return None
        group = [list(found.systems), dict(found.tags)]
    threshold = [notification.threshold.value_text(), notification.threshold.is_percent]
    rule: list[object] = [uses, group, threshold, notification.reporting_within]
    # Only what differs from the default, so that a field that a new version adds dismisses nothing.
    options = {
        name: getattr(notification, name)
        for name in _OPTIONS
        if getattr(notification, name) != Notification.model_fields[name].default
    }
    return _digest([*rule, options] if options else rule)
