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
from tocsin.shared.configuration.sensor_options import Breaches, LevelSpec
from tocsin.shared.configuration.snapshot import Configuration
from tocsin.shared.times import format_duration

_PERCENT = re.compile(r"(?:^|[._\-\s])(?:percent|percentage|pct)(?:$|[._\-\s])|%", re.IGNORECASE)
"""Metrics with values from 0 to 100, by their names."""

_IN_RANGE = ("avg", "min", "max", "p50", "p90", "p95", "p99")
"""Functions that stay within the values they are of."""


@dataclass(frozen=True, slots=True)
class _Conditions:
    """A trigger with what belongs to it. `path`: of the mapping it stands in."""

    path: str
    trigger: Condition
    clear: Condition | None
    for_ms: int
    for_path: str  # of the `for`, which may be the sensor's

    def field(self, name: str) -> str:
        return _under(self.path, name)


class Suspicions:
    """Collects warnings about the records of files."""

    def __init__(self, places: Places, facts: Facts) -> None:
        self._places = places
        self._facts = facts
        self._found: list[Finding] = []
        self._said: set[tuple[str, str]] = set()

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
        if (record.id, problem) in self._said:  # of the sensor itself, and again of an override
            return
        self._said.add((record.id, problem))
        place = self._places.of_field(record.kind, record.name, path)
        self._found.append(Finding(place, f"{record.kind} {record.name!r}: {path}", problem, way_out))

    # --- sensors ---

    def _sensor(self, sensor: Sensor) -> None:
        facts = self._metric(sensor)
        for variant, path in _variants(sensor):
            for one in _conditions(variant, path):
                self._conditions(sensor, one, _is_percent(variant))
            self._levels(sensor, variant, path)
            self._durations(sensor, variant, path, facts)
            slides = variant.aggregate is not None and variant.aggregate.count is None
            if variant.lateness and not slides:
                problem = "nothing looks at it: only a window or a tumbling window takes late readings"
                self._warn(sensor, _under(path, "lateness"), problem, "leave it out, or give aggregate a window")
        for number, override in enumerate(sensor.overrides):
            for at, pattern in enumerate(override.systems):
                self._pattern(sensor, f"overrides[{number}].systems[{at}]", pattern)
        then = sensor.no_data.then if sensor.no_data is not None else "hold"
        if facts is not None and facts.has_instances and then in ("hold", "trigger"):
            becomes = "stays" if then == "hold" else "becomes and stays"
            self._warn(
                sensor,
                "metric" if then == "hold" else "no_data",
                f"{sensor.metric} has instances: one that ends {becomes} triggered while its system reports anything",
                "write no_data: {after: 15m, then: clear}",
            )

    def _metric(self, sensor: Sensor) -> MetricFacts | None:
        metrics = self._facts.metrics
        if metrics is None:
            return None
        if sensor.metric not in metrics:
            problem = f"no reading has the metric {sensor.metric!r} {self._facts.origin}"
            self._warn(sensor, "metric", problem, nearest(sensor.metric, metrics))
        return metrics.get(sensor.metric)

    def _conditions(self, sensor: Sensor, one: _Conditions, is_percent: bool) -> None:
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

    def _levels(self, sensor: Sensor, variant: Sensor, path: str) -> None:
        """Levels that can never be taken, since a higher one holds whenever they do."""
        rules = [
            (one.name, one.trigger, _level_for(variant, one), _level_breaches(variant, one)) for one in variant.levels
        ]
        for at, (name, trigger, for_ms, breaches) in enumerate(rules):
            for higher, its_trigger, its_for, its_breaches in rules[at + 1 :]:
                values = _representatives([trigger, its_trigger], _is_percent(variant))
                covered = all(its_trigger.holds(value) for value in values if trigger.holds(value))
                if covered and its_for <= for_ms and its_breaches == breaches:
                    problem = f"{name} can never be taken: whenever {trigger} holds, so does {its_trigger} of {higher}"
                    way_out = "levels rise in severity: write the mildest first"
                    self._warn(sensor, _under(path, f"levels.{name}"), problem, way_out)
                    break

    def _beyond_percent(self, sensor: Sensor, one: _Conditions) -> tuple[str, str] | None:
        for name, condition in (("trigger", one.trigger), ("clear", one.clear)):
            for number in condition.boundaries() if condition is not None else ():
                if not 0 <= number <= 100:
                    problem = f"{number:g} is no percentage, and {sensor.metric} looks like one"
                    return name, f"{problem}: a percentage is never {'over 100' if number > 0 else 'below 0'}"
        return None

    def _durations(self, sensor: Sensor, variant: Sensor, path: str, facts: MetricFacts | None) -> None:
        """Against the usual time between two readings."""
        if facts is None or facts.interval is None:
            return
        every = format_duration(facts.interval)
        usual = f"the usual {every} between readings of {sensor.metric}"
        for one in _conditions(variant, path):
            if 0 < one.for_ms < facts.interval:
                why = f"{format_duration(one.for_ms)} is shorter than {usual}"
                way_out = f"write {every} or more, or leave it out"
                problem = f"{why}: two readings are needed, however short it is"
                if not variant.hold:
                    self._warn(sensor, one.for_path, problem, way_out)
        no_data, aggregate = variant.no_data, variant.aggregate
        if no_data is not None and no_data.then != "hold" and no_data.after < facts.interval:
            problem = f"{format_duration(no_data.after)} is shorter than {usual}: it strikes between two readings"
            self._warn(sensor, _under(path, "no_data.after"), problem, f"write {format_duration(3 * facts.interval)}")
        for name in ("window", "tumbling"):
            size = getattr(aggregate, name) if aggregate is not None else None
            if size is not None and size < facts.interval:
                problem = f"{format_duration(size)} is shorter than {usual}: it mostly holds one reading or none"
                self._warn(sensor, _under(path, f"aggregate.{name}"), problem, f"write {every} or more")

    # --- groups and notifications ---

    def _group(self, group: Group) -> None:
        for number, pattern in enumerate(group.systems):
            self._pattern(group, f"systems[{number}]", pattern)

    def _pattern(self, record: Record, path: str, pattern: str) -> None:
        known = self._facts.systems
        if known is not None and not _matches_any(pattern, known):
            problem = f"{pattern!r} matches no known system {self._facts.origin}".rstrip()
            self._warn(record, path, problem, _like(pattern, known))

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


def _variants(sensor: Sensor) -> Iterator[tuple[Sensor, str]]:
    """The sensor, and as it is under each override, with the override's path."""
    yield sensor, ""
    for number, override in enumerate(sensor.overrides):
        yield sensor.overridden(override), f"overrides[{number}]"


def _conditions(sensor: Sensor, path: str) -> Iterator[_Conditions]:
    if sensor.trigger is not None:
        yield _Conditions(path, sensor.trigger, sensor.clear, sensor.for_, _under(path, "for"))
    for level in sensor.levels:
        its = _under(path, f"levels.{level.name}")
        for_ms, owner = (sensor.for_, path) if level.for_ is None else (level.for_, its)
        yield _Conditions(its, level.trigger, level.clear, for_ms, _under(owner, "for"))


def _level_for(sensor: Sensor, level: LevelSpec) -> int:
    return sensor.for_ if level.for_ is None else level.for_


def _level_breaches(sensor: Sensor, level: LevelSpec) -> Breaches | None:
    return sensor.breaches if level.breaches is None else level.breaches


def _under(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _is_percent(sensor: Sensor) -> bool:
    """Whether what is judged lies between 0 and 100."""
    function = sensor.aggregate.function if sensor.aggregate is not None else "avg"
    return _PERCENT.search(sensor.metric) is not None and function in _IN_RANGE


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
