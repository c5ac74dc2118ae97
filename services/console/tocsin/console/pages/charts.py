"""Readings drawn as SVG attributes: no inline style, no script. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tocsin.console.models.systems import Systems
from tocsin.console.pages.words import moment, number
from tocsin.console.trial.dry_run_job import Change, Curve, Outcome
from tocsin.console.trial.recent import recent_changes
from tocsin.shared.configuration.records import Sensor

WIDTH, HEIGHT, LEFT, BOTTOM = 430, 190, 40, 20
MAX_CURVES = 5
MAX_MARKS = 100
MAX_TICKS = 8
HOUR_MS = 3_600_000
SPARK = (96, 22)

Points = Sequence[tuple[int, float]]


@dataclass(frozen=True, slots=True)
class Line:
    """One system's readings, drawn."""

    label: str
    points: str  # of a polyline


@dataclass(frozen=True, slots=True)
class Bound:
    """A threshold, drawn across."""

    y: float
    text: str
    kind: str


@dataclass(frozen=True, slots=True)
class Mark:
    """A change, at its place on a curve."""

    x: float
    y: float
    state: str
    text: str

    @property
    def triangle(self) -> str:
        """Points of one that stands on the place."""
        return f"{self.x - 4.5},{self.y + 4} {self.x + 4.5},{self.y + 4} {self.x},{self.y - 4.5}"


@dataclass(frozen=True, slots=True)
class Chart:
    """What a template draws."""

    curves: tuple[Line, ...]
    bounds: tuple[Bound, ...]
    ticks: tuple[tuple[float, str], ...]
    start: int
    end: int
    marks: tuple[Mark, ...] = ()


@dataclass(frozen=True, slots=True)
class _Frame:
    """From times and values to places in the picture."""

    start: int
    end: int
    low: float
    high: float

    @classmethod
    def around(cls, points: Sequence[Points], more: Sequence[float]) -> _Frame:
        values = [value for one in points for _, value in one] + list(more)
        low, high = min(values), max(values)
        low, high = (low - 1, high + 1) if low == high else (low - (high - low) * 0.05, high + (high - low) * 0.05)
        return cls(min(one[0][0] for one in points), max(one[-1][0] for one in points), low, high)

    def x(self, time: int) -> float:
        share = (time - self.start) / max(1, self.end - self.start)
        return round(LEFT + (WIDTH - LEFT) * min(1.0, max(0.0, share)), 1)

    def y(self, value: float) -> float:
        share = (value - self.low) / (self.high - self.low)
        return float(round((HEIGHT - BOTTOM) * (1 - min(1.0, max(0.0, share))), 1))

    def ticks(self) -> tuple[tuple[float, str], ...]:
        values = (self.low + (self.high - self.low) * part for part in (0.05, 0.5, 0.95))
        return tuple((self.y(value), short(value)) for value in values)


def chart_of(systems: Systems, sensor: Sensor, now: int) -> Chart | None:
    """Of some systems that report the sensor's metric, the highest first, with what the sensor makes of it; None
    without readings."""
    found: list[Curve] = []
    for name in systems.names()[:2_000]:
        for (metric, instance), latest in list(systems.by_name[name].series.items()):
            if metric != sensor.metric or latest.history is None:
                continue
            if len(points := tuple(latest.history.points())) > 1:
                found.append(Curve(name, instance, points))
    found.sort(key=lambda one: -max(value for _, value in one.points))
    shown = found[:MAX_CURVES]
    return _drawn(shown, sensor, recent_changes(sensor, shown, now))


def chart_of_trial(found: Outcome, sensor: Sensor) -> Chart | None:
    """The readings a rule was tried on, and the changes it would have made to these series."""
    return _drawn([one for one in found.curves if one.points], sensor, found.changes)


def _drawn(found: Sequence[Curve], sensor: Sensor, changes: Sequence[Change]) -> Chart | None:
    if not found:
        return None
    levels = _levels(sensor)
    frame = _Frame.around([one.points for one in found], [value for value, _, _ in levels])
    lines = tuple(
        Line(
            series_name(one.system, one.instance),
            " ".join(f"{frame.x(time)},{frame.y(value)}" for time, value in one.points),
        )
        for one in found
    )
    bounds = tuple(Bound(frame.y(value), text, kind) for value, text, kind in levels)
    shown = {line.label for line in lines}
    marks = tuple(
        Mark(frame.x(one.time), frame.y(frame.low if one.value is None else one.value), one.state, text)
        for one in changes[-MAX_MARKS:]
        if (name := series_name(one.system, one.instance)) in shown
        for text in (f"{moment(one.time)}: {one.level or one.state} on {name}",)
    )
    return Chart(lines, bounds, frame.ticks(), frame.start, frame.end, marks)


def short(value: float) -> str:
    """Three digits that matter, in the room there is beside an axis: `93.7`, `12.3k`."""
    rounded = float(f"{value:.3g}")
    for size, unit in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(rounded) >= size:
            return f"{number(rounded / size)}{unit}"
    return number(rounded)


def series_name(system: str, instance: str | None) -> str:
    return system if instance is None else f"{system} · {instance}"


def _levels(sensor: Sensor) -> list[tuple[float, str, str]]:
    """Value, text and kind of each threshold."""
    conditions = [("", sensor.trigger, sensor.clear), *((one.name, one.trigger, one.clear) for one in sensor.levels)]
    found: list[tuple[float, str, str]] = []
    for name, trigger, clear in conditions:
        for condition, kind in ((trigger, ""), (clear, "clear")):
            if condition is not None:
                found += [(value, f"{name} {condition}".strip(), kind) for value in condition.boundaries()]
    return found


@dataclass(frozen=True, slots=True)
class Bar:
    """A stretch of time in which a notification would have been active."""

    x: float
    width: float
    text: str


@dataclass(frozen=True, slots=True)
class Timeline:
    """Bars over hours."""

    bars: tuple[Bar, ...]
    ticks: tuple[tuple[float, str], ...]


def timeline_of(found: Outcome) -> Timeline:
    """At least a hair wide: the shortest activation is what one looks for."""
    length = max(1, found.until - found.since)

    def x(time: int) -> float:
        return round(WIDTH * min(1.0, max(0.0, (time - found.since) / length)), 1)

    bars = []
    for one in found.activations:
        start, end = x(one.start), x(found.until if one.ended is None else one.ended)
        until = "now" if one.ended is None else moment(one.ended)
        text = f"{moment(one.start)} to {until}: {one.matched} of {one.reporting} reporting"
        bars.append(Bar(min(start, WIDTH - 2.0), max(2.0, round(end - start, 1)), text))
    step = next((hours for hours in (1, 3, 6) if length / (hours * HOUR_MS) <= MAX_TICKS), 24) * HOUR_MS
    first = -(-found.since // step) * step
    ticks = tuple((x(time), moment(time)[11:16]) for time in range(first, found.until, step))
    return Timeline(tuple(bars), ticks)


def spark(points: Points) -> str:
    """Points of a polyline in a small box."""
    if len(points) < 2:
        return ""
    width, height = SPARK
    low, high = min(value for _, value in points), max(value for _, value in points)
    start, end = points[0][0], points[-1][0]
    return " ".join(
        f"{round(width * (time - start) / max(1, end - start), 1)},"
        f"{round((height - 2) * (1 - (value - low) / ((high - low) or 1)) + 1, 1)}"
        for time, value in points
    )
