"""Rules that can be saved but hardly mean what they say. Pure: records and what is known of readings go in."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from tocsin.console.findings import Finding, nearest
from tocsin.console.trial.places import Places
from tocsin.evaluator.backtest.facts import Facts, MetricFacts
from tocsin.shared.configuration.condition import Condition
from tocsin.shared.configuration.groups import group_matcher
from tocsin.shared.configuration.records import Group, Notification, Record, Sensor
from tocsin.shared.configuration.snapshot import Configuration
from tocsin.shared.times import format_duration

_PERCENT = re.compile(r"(?:^|[._\-\s])(?:percent|percentage|pct)(?:$|[._\-\s])|%", re.IGNORECASE)
"""Metrics with values from 0 to 100, by their names."""


@dataclass(frozen=True, slots=True)
class _Conditions:
    """A trigger with what belongs to it. `path`: of the mapping it stands in."""

    path: str
    trigger: Condition
    clear: Condition | None
    for_ms: int

    def field(self, name: str) -> str:
        return f"{self.path}.{name}" if self.path else name


class Suspicions:
    """Collects warnings about the records of files."""

    def __init__(self, places: Places, facts: Facts) -> None:
        self._places = places
        self._facts = facts
        self._found: list[Finding] = []

    def of(self, records: Iterable[Record], configuration: Configuration) -> list[Finding]:
        """`configuration`: everything there is, the records among it."""
        for record in records:
            match record:
                case Sensor():
                    self._sensor(record)
                case Group():
                    self._group(record)
                case Notification():
                    self._notification(record, configuration)
                case _:
                    pass
        return sorted(set(self._found))

    def _warn(self, record: Record, path: str, problem: str, way_out: str = "") -> None:
        place = self._places.of_field(record.kind, record.name, path)
        self._found.append(Finding(place, f"{record.kind} {record.name!r}: {path}", problem, way_out))

    # --- sensors ---

    def _sensor(self, sensor: Sensor) -> None:
        facts = self._metric(sensor)
        for one in _conditions(sensor):
            self._conditions(sensor, one)
            self._waiting(sensor, one.field("for"), one.for_ms, facts)
        if facts is not None and facts.has_instances and not _ends_instances(sensor):
            self._warn(
                sensor,
                "metric",
                f"{sensor.metric} has instances: one that ends stays triggered while its system reports anything",
                "add no_data: {after: 15m, then: clear}",
            )

    def _metric(self, sensor: Sensor) -> MetricFacts | None:
        metrics = self._facts.metrics
        if metrics is None:
            return None
        if sensor.metric not in metrics:
            problem = f"no reading has the metric {sensor.metric!r} {self._facts.origin}"
            self._warn(sensor, "metric", problem, nearest(sensor.metric, metrics))
        return metrics.get(sensor.metric)

    def _conditions(self, sensor: Sensor, one: _Conditions) -> None:
        is_percent = _PERCENT.search(sensor.metric) is not None
        triggers, clears = one.trigger.holds, one.clear.holds if one.clear is not None else None
        values = _representatives([one.trigger, *([one.clear] if one.clear is not None else [])], is_percent)
        if is_percent and (beyond := self._beyond_percent(sensor, one)):
            self._warn(sensor, one.field(beyond[0]), beyond[1], "write a number from 0 to 100")
        if not any(map(triggers, values)):
            self._warn(sensor, one.field("trigger"), f"{one.trigger} never holds{_of_percent(is_percent)}")
        elif all(map(triggers, values)):
            self._warn(sensor, one.field("trigger"), f"{one.trigger} always holds{_of_percent(is_percent)}")
        elif clears is not None and not any(clears(value) and not triggers(value) for value in values):
            self._warn(
                sensor,
                one.field("clear"),
                f"{one.clear} can never hold while {one.trigger} does not: the sensor never clears",
                f"write a clear outside of the trigger, such as {_opposite(one.trigger)!r}",
            )

    def _beyond_percent(self, sensor: Sensor, one: _Conditions) -> tuple[str, str] | None:
        for name, condition in (("trigger", one.trigger), ("clear", one.clear)):
            for number in condition.boundaries() if condition is not None else ():
                if not 0 <= number <= 100:
                    problem = f"{number:g} is no percentage, and {sensor.metric} looks like one"
                    return name, f"{problem}: a percentage is never {'over 100' if number > 0 else 'below 0'}"
        return None

    def _waiting(self, sensor: Sensor, path: str, for_ms: int, facts: MetricFacts | None) -> None:
        if facts is not None and facts.interval is not None and 0 < for_ms < facts.interval:
            every = format_duration(facts.interval)
            self._warn(
                sensor,
                path,
                f"{format_duration(for_ms)} is shorter than the usual {every} between readings of {sensor.metric}: "
                "two readings are needed, however short it is",
                f"write {every} or more, or leave it out",
            )

    # --- groups and notifications ---

    def _group(self, group: Group) -> None:
        known = self._facts.systems
        if known is None:
            return
        for number, pattern in enumerate(group.systems):
            if not _matches_any(pattern, known):
                way_out = _like(pattern, known)
                problem = f"{pattern!r} matches no known system {self._facts.origin}".rstrip()
                self._warn(group, f"systems[{number}]", problem, way_out)

    def _notification(self, notification: Notification, configuration: Configuration) -> None:
        interval = self._facts.interval
        if interval is not None and notification.reporting_within <= interval:
            within, every = format_duration(notification.reporting_within), format_duration(interval)
            self._warn(
                notification,
                "reporting_within",
                f"{within} is not longer than the usual {every} between readings of a system: "
                "systems cease to report between two readings",
                f"write {format_duration(3 * interval)}",
            )


def _conditions(sensor: Sensor) -> Iterator[_Conditions]:
    if sensor.trigger is not None:
        yield _Conditions("", sensor.trigger, sensor.clear, sensor.for_)
    for level in sensor.levels:
        for_ms = sensor.for_ if level.for_ is None else level.for_
        yield _Conditions(f"levels.{level.name}", level.trigger, level.clear, for_ms)


def _ends_instances(sensor: Sensor) -> bool:
    """Whether silence ends what is triggered."""
    return sensor.no_data is not None and sensor.no_data.then in ("no-data", "clear")


def _representatives(conditions: Sequence[Condition], is_percent: bool) -> list[float]:
    """A value of every stretch of the number line in which none of the conditions changes its mind."""
    cuts = sorted({cut for condition in conditions for cut in condition.boundaries()})
    found = [around for cut in cuts for around in (math.nextafter(cut, -math.inf), cut, math.nextafter(cut, math.inf))]
    if is_percent:
        found = [value for value in (0.0, *found, 100.0) if 0 <= value <= 100]
    return found


def _of_percent(is_percent: bool) -> str:
    return " for a percentage" if is_percent else ""


def _opposite(trigger: Condition) -> str:
    opposite = {">": "<=", ">=": "<", "<": ">=", "<=": ">", "==": "!=", "!=": "=="}
    opposite |= {"between": "outside", "outside": "between"}
    return str(Condition(opposite[trigger.op], trigger.low, trigger.high))


def _matches_any(pattern: str, systems: Iterable[str]) -> bool:
    matches: Callable[[str, dict[str, str]], bool] = group_matcher(Group(id="", name="", systems=(pattern,)))
    return any(matches(system, {}) for system in systems)


def _like(pattern: str, systems: Iterable[str]) -> str:
    """Patterns differ from names by their case more often than by anything else."""
    lower = pattern.casefold()
    for system in sorted(systems):
        if _matches_any(lower, [system.casefold()]):
            return f"case counts: there is {system!r}"
    return nearest(pattern.replace("*", ""), systems)
