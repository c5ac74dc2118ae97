"""What a configuration asks of the detector: sensors by metric, and notifications. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

from tocsin.evaluator.core.intervals import Intervals
from tocsin.evaluator.core.rule import Rule, make_rule
from tocsin.shared.configuration.groups import group_matcher
from tocsin.shared.configuration.patterns import name_matcher
from tocsin.shared.configuration.records import DEFAULT_FORGET_AFTER_MS, Sensor
from tocsin.shared.configuration.snapshot import Configuration, notification_revision, sensor_revision

InGroup = Callable[[str, Mapping[str, str]], bool]
EVERY_SYSTEM = ""
"""Key of the group of a notification that names none."""


@dataclass(frozen=True, slots=True)
class PlannedSensor:
    """A sensor as the detector needs it, on the systems that its rule is meant for."""

    id: str
    name: str
    revision: str
    rule: Rule

    def level_name(self, level: int) -> str | None:
        """By its place; None where there is none, or it has no name."""
        return self.rule.levels[level].name if level >= 0 else None


@dataclass(frozen=True, slots=True)
class Override:
    """A sensor's rule on the systems that match."""

    matches: Callable[[str], bool]
    sensor: PlannedSensor


class MetricPlan:
    """The sensors of one metric, in order of their ids; a place is an index here.

    On some systems they may have other rules: ask `on` for the plan there. Places are the same everywhere.
    """

    def __init__(
        self, sensors: Sequence[PlannedSensor], overrides: Mapping[int, Sequence[Override]] = MappingProxyType({})
    ) -> None:
        """`overrides`: by place, the first that matches wins."""
        self.sensors = tuple(sensors)
        self.intervals = Intervals([sensor.rule for sensor in sensors])
        self.places = {(sensor.id, sensor.revision): place for place, sensor in enumerate(sensors)}
        self._overrides = {place: tuple(row) for place, row in overrides.items() if row}
        self._variants: dict[tuple[int, ...], MetricPlan] = {}
        self._by_system: dict[str, MetricPlan] = {}

        every = (*self.sensors, *(one.sensor for row in self._overrides.values() for one in row))
        self.windowed = any(sensor.rule.window is not None for sensor in every)
        self.silences = any(sensor.rule.no_data is not None for sensor in every)

    @property
    def overridden(self) -> bool:
        """Whether the plan depends on the system at all."""
        return bool(self._overrides)

    def on(self, system: str) -> MetricPlan:
        """The plan for this system."""
        if not self._overrides:
            return self
        found = self._by_system.get(system)
        if found is None:
            found = self._by_system[system] = self._variant(system)
        return found

    def _variant(self, system: str) -> MetricPlan:
        choice = tuple(
            next((number for number, one in enumerate(row) if one.matches(system)), -1)
            for row in self._overrides.values()
        )
        if choice not in self._variants:
            sensors = list(self.sensors)
            for (place, row), number in zip(self._overrides.items(), choice, strict=True):
                if number >= 0:
                    sensors[place] = row[number].sensor
            self._variants[choice] = MetricPlan(sensors)
        return self._variants[choice]

    def all_intervals(self) -> tuple[Intervals, ...]:
        """Of all systems met so far."""
        return (self.intervals, *(variant.intervals for variant in self._variants.values()))


@dataclass(frozen=True, slots=True)
class Use:
    """A sensor of a notification: on any instance, or on the named one; at this level, by place, or above."""

    sensor_id: str
    instance: str | None
    level: int = 0


@dataclass(frozen=True, slots=True)
class PlannedNotification:
    """A notification as the detector needs it: it counts, and judges no threshold."""

    id: str
    revision: str
    uses: tuple[Use, ...]
    group: str  # key of Plan.groups
    within: int  # reporting_within, ms
    forget_after: int = DEFAULT_FORGET_AFTER_MS
    waits: bool = False  # it has a `for`: whoever judges it must hear often that its counts still stand


@dataclass(frozen=True, slots=True)
class Gone:
    """Systems that somebody has said are gone for good, by this change of the configuration."""

    change: int
    systems: tuple[str, ...]


@dataclass(frozen=True)
class Plan:
    """All of it, at one change of the configuration."""

    change: int = 0
    metrics: Mapping[str, MetricPlan] = field(default_factory=dict)
    sensor_names: Mapping[str, str] = field(default_factory=dict)
    notifications: Mapping[str, PlannedNotification] = field(default_factory=dict)
    groups: Mapping[str, InGroup] = field(default_factory=dict)
    by_sensor: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # sensor id → notification ids
    forget_after: int = DEFAULT_FORGET_AFTER_MS  # a system not heard for this long is forgotten: the longest of all
    broken: Mapping[str, str] = field(default_factory=dict)  # sensors that cannot be judged, and why
    gone: tuple[Gone, ...] = ()
    written: Mapping[str, int] = field(default_factory=dict)  # sensor id → the change that wrote it last


def plan_sensor(sensor: Sensor) -> PlannedSensor:
    """Without its overrides. Raises ValueError for what cannot be judged."""
    return PlannedSensor(sensor.id, sensor.name, sensor_revision(sensor), make_rule(sensor))


def plan_overrides(sensor: Sensor) -> list[Override]:
    """Raises ValueError."""
    revision = sensor_revision(sensor)
    return [
        Override(
            name_matcher(one.systems),
            PlannedSensor(sensor.id, sensor.name, revision, make_rule(sensor.overridden(one))),
        )
        for one in sensor.overrides
    ]


def _plan_metrics(sensors: Iterable[Sensor]) -> tuple[dict[str, MetricPlan], dict[str, str]]:
    planned: dict[str, list[PlannedSensor]] = {}
    overrides: dict[str, dict[int, list[Override]]] = {}
    broken: dict[str, str] = {}
    for sensor in sorted(sensors, key=lambda one: one.id):
        try:
            one, others = plan_sensor(sensor), plan_overrides(sensor)
        except (ValueError, re.error) as error:
            broken[sensor.id] = str(error)
            continue
        places = planned.setdefault(sensor.metric, [])
        overrides.setdefault(sensor.metric, {})[len(places)] = others
        places.append(one)
    return {metric: MetricPlan(found, overrides[metric]) for metric, found in planned.items()}, broken


def level_place(sensor: Sensor, level: str | None) -> int:
    """Where a level stands among those of its sensor; above all of them when it has none of that name."""
    names = [one.name for one in sensor.levels]
    if level is None:
        return 0
    return names.index(level) if level in names else len(names)


def make_plan(configuration: Configuration) -> Plan:
    """Notifications that name a missing sensor or group are left out: they are not judged."""
    metrics, broken = _plan_metrics(configuration.sensors.values())
    notifications: dict[str, PlannedNotification] = {}
    groups: dict[str, InGroup] = {}
    by_sensor: dict[str, list[str]] = {}
    for notification in configuration.notifications.values():
        revision = notification_revision(notification, configuration)
        if revision is None:
            continue
        group = notification.group_id or EVERY_SYSTEM
        groups[group] = group_matcher(configuration.groups.get(group))
        uses = tuple(
            Use(use.sensor_id, use.instance, level_place(configuration.sensors[use.sensor_id], use.level))
            for use in notification.sensors
        )
        notifications[notification.id] = PlannedNotification(
            notification.id,
            revision,
            uses,
            group,
            notification.reporting_within,
            notification.forget_after,
            notification.for_ > 0,
        )
        for sensor_id in {use.sensor_id for use in uses}:
            by_sensor.setdefault(sensor_id, []).append(notification.id)
    return Plan(
        change=configuration.change,
        metrics=metrics,
        sensor_names={sensor.id: sensor.name for sensor in configuration.sensors.values()},
        notifications=notifications,
        groups=groups,
        by_sensor={sensor: tuple(ids) for sensor, ids in by_sensor.items()},
        forget_after=max((one.forget_after for one in notifications.values()), default=DEFAULT_FORGET_AFTER_MS),
        broken=broken,
        gone=tuple(Gone(one.revision, one.systems) for one in configuration.forgettings.values()),
        written={sensor.id: sensor.revision for sensor in configuration.sensors.values()},
    )
