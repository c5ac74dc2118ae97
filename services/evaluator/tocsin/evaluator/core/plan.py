"""What a configuration asks of the detector: sensors by metric, and notifications. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from tocsin.evaluator.core.intervals import Intervals
from tocsin.evaluator.core.sensor import Rule
from tocsin.shared.configuration.groups import group_matcher
from tocsin.shared.configuration.records import Sensor
from tocsin.shared.configuration.snapshot import Configuration, notification_revision, sensor_revision

InGroup = Callable[[str, Mapping[str, str]], bool]
EVERY_SYSTEM = ""
"""Key of the group of a notification that names none."""


@dataclass(frozen=True, slots=True)
class PlannedSensor:
    """A sensor as the detector needs it."""

    id: str
    name: str
    revision: str
    rule: Rule
    trigger_text: str
    clear_text: str


@dataclass(frozen=True)
class MetricPlan:
    """The sensors of one metric, in order of their ids; a place is an index here."""

    sensors: tuple[PlannedSensor, ...]
    intervals: Intervals
    places: Mapping[tuple[str, str], int]  # by id and revision


@dataclass(frozen=True, slots=True)
class Use:
    """A sensor of a notification: on any instance, or on the named one."""

    sensor_id: str
    instance: str | None


@dataclass(frozen=True, slots=True)
class PlannedNotification:
    """A notification as the detector needs it: it counts, and judges no threshold."""

    id: str
    revision: str
    uses: tuple[Use, ...]
    group: str  # key of Plan.groups
    within: int  # reporting_within, ms


@dataclass(frozen=True)
class Plan:
    """All of it, at one change of the configuration."""

    change: int = 0
    metrics: Mapping[str, MetricPlan] = field(default_factory=dict)
    sensor_names: Mapping[str, str] = field(default_factory=dict)
    notifications: Mapping[str, PlannedNotification] = field(default_factory=dict)
    groups: Mapping[str, InGroup] = field(default_factory=dict)
    by_sensor: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # sensor id → notification ids


def plan_sensor(sensor: Sensor) -> PlannedSensor:
    return PlannedSensor(
        id=sensor.id,
        name=sensor.name,
        revision=sensor_revision(sensor),
        rule=Rule(sensor.trigger, sensor.clear, sensor.for_),
        trigger_text=str(sensor.trigger),
        clear_text=str(sensor.clear) if sensor.clear else f"not {sensor.trigger}",
    )


def make_plan(configuration: Configuration) -> Plan:
    """Notifications that name a missing sensor or group are left out: they are not judged."""
    by_metric: dict[str, list[PlannedSensor]] = {}
    for sensor in sorted(configuration.sensors.values(), key=lambda one: one.id):
        by_metric.setdefault(sensor.metric, []).append(plan_sensor(sensor))
    metrics = {
        metric: MetricPlan(
            tuple(sensors),
            Intervals([sensor.rule for sensor in sensors]),
            {(sensor.id, sensor.revision): place for place, sensor in enumerate(sensors)},
        )
        for metric, sensors in by_metric.items()
    }
    notifications: dict[str, PlannedNotification] = {}
    groups: dict[str, InGroup] = {}
    by_sensor: dict[str, list[str]] = {}
    for notification in configuration.notifications.values():
        revision = notification_revision(notification, configuration)
        if revision is None:
            continue
        group = notification.group_id or EVERY_SYSTEM
        groups[group] = group_matcher(configuration.groups.get(group))
        uses = tuple(Use(use.sensor_id, use.instance) for use in notification.sensors)
        within = notification.reporting_within
        notifications[notification.id] = PlannedNotification(notification.id, revision, uses, group, within)
        for sensor_id in {use.sensor_id for use in uses}:
            by_sensor.setdefault(sensor_id, []).append(notification.id)
    return Plan(
        change=configuration.change,
        metrics=metrics,
        sensor_names={sensor.id: sensor.name for sensor in configuration.sensors.values()},
        notifications=notifications,
        groups=groups,
        by_sensor={sensor: tuple(ids) for sensor, ids in by_sensor.items()},
    )
