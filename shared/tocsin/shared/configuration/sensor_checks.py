"""Whether a sensor's options make a rule: asked by every door through which a sensor is saved. Pure."""

from __future__ import annotations

import itertools
import math
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from tocsin.shared.configuration.condition import Condition
from tocsin.shared.configuration.names import check_name
from tocsin.shared.configuration.patterns import check_pattern
from tocsin.shared.configuration.records import Sensor
from tocsin.shared.configuration.sensor_options import (
    MAX_BREACHES,
    MAX_COUNT,
    MAX_DURATION,
    MAX_HISTORY,
    MAX_LEVELS,
    MAX_OVERRIDES,
    MAX_WINDOW,
    AggregateSpec,
    Breaches,
    FlappingSpec,
    LevelSpec,
    OverrideSpec,
)
from tocsin.shared.times import format_duration

MAX_LEVEL_NAME = 64


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong, and where: `levels.warn.clear`, `overrides[0].for`."""

    path: str
    problem: str
    way_out: str = ""

    def __str__(self) -> str:
        return f"{self.path}: {self.problem}" + (f"; {self.way_out}" if self.way_out else "")

    def under(self, path: str) -> Problem:
        return Problem(f"{path}.{self.path}" if self.path else path, self.problem, self.way_out)


def check_sensor(sensor: Sensor) -> list[Problem]:
    """Everything that is wrong with its rule; empty for a good one."""
    found = list(_check_options(sensor))
    if len(sensor.overrides) > MAX_OVERRIDES:
        said = f"has {len(sensor.overrides)} entries, at most {MAX_OVERRIDES} are possible"
        return [*found, Problem("overrides", said)]
    for number, override in enumerate(sensor.overrides):
        found += [one.under(f"overrides[{number}]") for one in _check_override(sensor, override, found)]
    return found


def _check_override(sensor: Sensor, override: OverrideSpec, said: Sequence[Problem]) -> Iterator[Problem]:
    """`said`: what is wrong with the sensor itself is not said again."""
    if not override.systems:
        yield Problem("systems", "is required")
    for at, pattern in enumerate(override.systems):
        if problem := check_pattern(pattern):
            yield Problem(f"systems[{at}]", problem)
    if not override.given():
        yield Problem("", "overrides nothing", "give it a trigger or another option")
    elif override.levels is not None and not sensor.levels:
        yield Problem("levels", "the sensor itself has no levels", "give it the same ones")
    elif override.levels is not None and _names(override.levels) != _names(sensor.levels):
        names = ", ".join(_names(sensor.levels))
        yield Problem("levels", "must have the sensor's levels in their order", f"they are {names}")
    else:
        yield from (one for one in _check_options(sensor.overridden(override)) if one not in said)


def _names(levels: Iterable[LevelSpec]) -> list[str]:
    return [level.name for level in levels]


def _check_options(sensor: Sensor) -> Iterator[Problem]:
    if sensor.levels:
        yield from _check_levels(sensor)
    elif sensor.trigger is None:
        yield Problem("trigger", "is required", "or give levels")
    else:
        yield from _check_pair(sensor.trigger, sensor.clear, "clear")
    yield from _check_breaches(sensor.breaches, "breaches")
    for name, value in (("for", sensor.for_), ("keep", sensor.keep), ("hold", sensor.hold)):
        yield from _check_duration(value, name, 0, MAX_DURATION)
    yield from _check_duration(sensor.lateness, "lateness", 0, MAX_WINDOW)
    if sensor.aggregate is not None:
        yield from _check_aggregate(sensor.aggregate)
    if sensor.no_data is not None:
        yield from _check_duration(sensor.no_data.after, "no_data.after", 1, MAX_DURATION)
    if sensor.flapping is not None:
        yield from _check_flapping(sensor.flapping)


def _check_levels(sensor: Sensor) -> Iterator[Problem]:
    if sensor.trigger is not None:
        yield Problem("trigger", "levels have triggers of their own", "leave it out, or leave levels out")
    if sensor.clear is not None:
        yield Problem("clear", "levels have clear conditions of their own", "leave it out, or leave levels out")
    if len(sensor.levels) > MAX_LEVELS:
        yield Problem("levels", f"has {len(sensor.levels)} entries, at most {MAX_LEVELS} are possible")
        return
    seen: set[str] = set()
    for level in sensor.levels:
        path = f"levels.{level.name[:64]}"
        if problem := _check_level_name(level.name, seen):
            yield Problem(path, problem)
        seen.add(level.name)
        yield from _check_pair(level.trigger, level.clear, f"{path}.clear")
        yield from _check_breaches(level.breaches, f"{path}.breaches")
        for name, value in (("for", level.for_), ("keep", level.keep)):
            if value is not None:
                yield from _check_duration(value, f"{path}.{name}", 0, MAX_DURATION)


def _check_level_name(name: str, seen: set[str]) -> str | None:
    try:
        cleaned = check_name(name)
    except ValueError as error:
        return str(error)
    if cleaned != name:
        return "a level's name must not begin or end with a space"
    if len(name) > MAX_LEVEL_NAME:
        return f"a level's name has at most {MAX_LEVEL_NAME} characters"
    if name in seen:
        return f"there are two levels {name!r}"
    return None


def _check_breaches(breaches: Breaches | None, path: str) -> Iterator[Problem]:
    if breaches is not None and not 1 <= breaches.least <= breaches.among <= MAX_BREACHES:
        yield Problem(path, f"'{breaches}' is not possible", f"write M of N with 1 ≤ M ≤ N ≤ {MAX_BREACHES}")


def _check_duration(value: int, path: str, least: int, most: int) -> Iterator[Problem]:
    if value < least:
        yield Problem(path, "must be longer than 0" if least else "must not be negative")
    elif value > most:
        yield Problem(path, f"must be at most {format_duration(most)}")


def _check_aggregate(aggregate: AggregateSpec) -> Iterator[Problem]:
    given = [name for name in ("window", "tumbling", "count") if getattr(aggregate, name) is not None]
    if len(given) != 1:
        said = f"has {' and '.join(given)}" if given else "has no window"
        yield Problem("aggregate", said, "give exactly one of window: 10m, tumbling: 10m, count: 5")
    for name in ("window", "tumbling"):
        value = getattr(aggregate, name)
        if value is not None:
            yield from _check_duration(value, f"aggregate.{name}", 1, MAX_WINDOW)
    if aggregate.count is not None and not 1 <= aggregate.count <= MAX_COUNT:
        yield Problem("aggregate.count", f"must be a number of readings from 1 to {MAX_COUNT}")


def _check_flapping(flapping: FlappingSpec) -> Iterator[Problem]:
    if not 0 < flapping.enter < 100:
        yield Problem("flapping.enter", "must be a percentage above 0 and below 100")
    if not 0 < flapping.leave <= flapping.enter:
        yield Problem("flapping.leave", "must be a percentage above 0 and not above enter")
    if not 3 <= flapping.history <= MAX_HISTORY:
        yield Problem("flapping.history", f"must be a number of judgements from 3 to {MAX_HISTORY}")


def _check_pair(trigger: Condition, clear: Condition | None, path: str) -> Iterator[Problem]:
    if clear is None or any(clear.holds(value) and not trigger.holds(value) for value in _samples(trigger, clear)):
        return
    said = f"'{clear}' contradicts the trigger '{trigger}': all that it asks for triggers, so nothing would ever clear"
    yield Problem(path, said, "clear needs values outside the trigger")


def _samples(*conditions: Condition) -> Iterator[float]:
    """Values among which every combination of the conditions that there is occurs."""
    yield from (-sys.float_info.max, sys.float_info.max)
    for cut in itertools.chain.from_iterable(condition.boundaries() for condition in conditions):
        for value in (math.nextafter(cut, -math.inf), cut, math.nextafter(cut, math.inf)):
            if math.isfinite(value):
                yield value
