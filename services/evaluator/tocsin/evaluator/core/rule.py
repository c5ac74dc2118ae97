"""What a sensor asks of the values it judges, ready to be asked. Pure.

The options work in this order, each seeing only what the one before it made:
window → breaches → `for` → levels, `clear` → `keep` → `no_data` → flapping.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from typing import Literal

from tocsin.shared.configuration.condition import Condition
from tocsin.shared.configuration.records import Sensor
from tocsin.shared.configuration.sensor_options import AggregateSpec, Breaches, Function, LevelSpec
from tocsin.shared.times import format_duration

_FOLLOWED = ("avg", "sum", "count", "delta", "rate")

WindowKind = Literal["sliding", "tumbling", "count"]


@dataclass(frozen=True, slots=True)
class Level:
    """One level; a sensor without levels has one that has no name. Durations in milliseconds."""

    trigger: Condition
    clear: Condition | None = None  # none: not trigger
    for_ms: int = 0
    keep_ms: int = 0
    breaches: Breaches | None = None
    name: str | None = None

    def clears(self, value: float) -> bool:
        return self.clear is None or self.clear.holds(value)


@dataclass(frozen=True, slots=True)
class WindowRule:
    """What is judged instead of the reading. `size`: milliseconds, or a number of readings."""

    kind: WindowKind
    size: int
    function: Function
    lateness: int = 0  # ms

    @property
    def columnar(self) -> bool:
        return self.kind == "count" or (self.kind == "sliding" and not self.lateness)


@dataclass(frozen=True, slots=True)
class NoData:
    """What the silence of a series does after so many milliseconds."""

    after: int
    then: Literal["no-data", "trigger", "clear"]


@dataclass(frozen=True, slots=True)
class Flapping:
    """Percentages, exact."""

    enter: Fraction
    leave: Fraction
    history: int


@dataclass(frozen=True)
class Rule:
    """A sensor's options on one system. Levels in rising severity."""

    levels: tuple[Level, ...]
    window: WindowRule | None = None
    no_data: NoData | None = None  # none also for `then: hold`: nothing happens
    hold_ms: int = 0
    flapping: Flapping | None = None
    single: bool = field(init=False)  # judges each reading by itself: its state can be told from intervals
    plain: bool = field(init=False)  # of one level, and nothing is to be remembered but that
    columnar: bool = field(init=False)  # judges a sliding window whose value can be followed batch by batch
    lag: int = field(init=False)  # ms its clock runs behind: a tumbling window waits for late readings

    def __post_init__(self) -> None:
        counted = any(level.breaches is not None for level in self.levels)
        object.__setattr__(self, "single", self.window is None and self.flapping is None and not counted)
        windowed = self.window is not None and (self.window.kind == "tumbling" or self.hold_ms > 0)
        plain = len(self.levels) == 1 and not counted and self.flapping is None and not windowed
        object.__setattr__(self, "plain", plain)
        object.__setattr__(self, "lag", self.window.lateness if self.tumbling and self.window is not None else 0)

        columnar = not counted and self.flapping is None and self.window is not None and self.window.columnar
        object.__setattr__(self, "columnar", columnar)

    @classmethod
    def of(cls, trigger: Condition, clear: Condition | None = None, for_ms: int = 0, keep_ms: int = 0) -> Rule:
        """Of one condition."""
        return cls((Level(trigger, clear, for_ms, keep_ms),))

    @property
    def tumbling(self) -> bool:
        return self.window is not None and self.window.kind == "tumbling"

    @property
    def highest(self) -> int:
        return len(self.levels) - 1

    def boundaries(self) -> tuple[float, ...]:
        """The values at which what a reading says can change."""
        cuts: list[float] = []
        for level in self.levels:
            cuts += level.trigger.boundaries()
            if level.clear is not None:
                cuts += level.clear.boundaries()
        return tuple(cuts)

    def triggers(self, value: float) -> bool:
        """Whether the trigger of any level holds for this value by itself."""
        return any(level.trigger.holds(value) for level in self.levels)


def make_rule(sensor: Sensor) -> Rule:
    """Of a sensor without its overrides. Raises ValueError for what cannot be judged."""
    if sensor.levels:
        levels = tuple(_level(sensor, level) for level in sensor.levels)
    elif sensor.trigger is not None:
        levels = (Level(sensor.trigger, sensor.clear, sensor.for_, sensor.keep, sensor.breaches),)
    else:
        raise ValueError("it has neither a trigger nor levels")
    no_data, flapping = sensor.no_data, sensor.flapping
    return Rule(
        levels,
        window=_window(sensor.aggregate, sensor.lateness) if sensor.aggregate is not None else None,
        no_data=NoData(no_data.after, no_data.then) if no_data is not None and no_data.then != "hold" else None,
        hold_ms=sensor.hold,
        flapping=Flapping(Fraction(flapping.enter), Fraction(flapping.leave), flapping.history) if flapping else None,
    )


def _level(sensor: Sensor, level: LevelSpec) -> Level:
    return Level(
        level.trigger,
        level.clear,
        sensor.for_ if level.for_ is None else level.for_,
        sensor.keep if level.keep is None else level.keep,
        sensor.breaches if level.breaches is None else level.breaches,
        level.name,
    )


def _window(aggregate: AggregateSpec, lateness: int) -> WindowRule:
    if aggregate.window is not None:
        return WindowRule("sliding", _positive(aggregate.window), aggregate.function, lateness)
    if aggregate.tumbling is not None:
        return WindowRule("tumbling", _positive(aggregate.tumbling), aggregate.function, lateness)
    if aggregate.count is not None:
        return WindowRule("count", _positive(aggregate.count), aggregate.function)
    raise ValueError("its aggregate has no window")


def _positive(size: int) -> int:
    if size < 1:
        raise ValueError("its window is empty")
    return size


def trigger_text(rule: Rule, level: int) -> str:
    """What held when this level was taken: `> 90`, `avg over 10m > 90`."""
    return _subject(rule) + str(rule.levels[level].trigger)


def clear_text(rule: Rule, level: int) -> str:
    """What held when this level was left."""
    left = rule.levels[level]
    if left.clear is None:
        return f"not {_subject(rule)}{left.trigger}"
    return _subject(rule) + str(left.clear)


def silence_text(rule: Rule) -> str:
    assert rule.no_data is not None
    return f"no data for {format_duration(rule.no_data.after)}"


def _subject(rule: Rule) -> str:
    window = rule.window
    if window is None:
        return ""
    if window.kind == "count":
        return f"{window.function} of {window.size} "
    return f"{window.function} {'over' if window.kind == 'sliding' else 'by'} {format_duration(window.size)} "
