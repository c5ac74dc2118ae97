"""Readings drawn as SVG attributes: no inline style, no script. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tocsin.console.models.systems import Systems
from tocsin.console.pages.words import number
from tocsin.shared.configuration.records import Sensor

WIDTH, HEIGHT, LEFT, BOTTOM = 430, 190, 40, 20
MAX_CURVES = 5
SPARK = (96, 22)

Points = Sequence[tuple[int, float]]


@dataclass(frozen=True, slots=True)
class Curve:
    """One system's readings."""

    label: str
    points: str  # of a polyline


@dataclass(frozen=True, slots=True)
class Bound:
    """A threshold, drawn across."""

    y: float
    text: str
    kind: str


@dataclass(frozen=True, slots=True)
class Chart:
    """What a template draws."""

    curves: tuple[Curve, ...]
    bounds: tuple[Bound, ...]
    ticks: tuple[tuple[float, str], ...]
    start: int
    end: int


def chart_of(systems: Systems, sensor: Sensor, now: int) -> Chart | None:
    """Of some systems that report the sensor's metric, the most eventful first; None without readings."""
    found: list[tuple[str, Points]] = []
    for name in systems.names()[:2_000]:
        for (metric, instance), latest in list(systems.by_name[name].series.items()):
            if metric == sensor.metric and latest.history and len(latest.history) > 1:
                found.append((name if instance is None else f"{name} · {instance}", list(latest.history)))
    found.sort(key=lambda one: -max(value for _, value in one[1]))
    found = found[:MAX_CURVES]
    if not found:
        return None
    levels = _levels(sensor)
    values = [value for _, points in found for _, value in points] + [value for value, _, _ in levels]
    low, high = min(values), max(values)
    low, high = (low - 1, high + 1) if low == high else (low - (high - low) * 0.05, high + (high - low) * 0.05)
    start, end = min(points[0][0] for _, points in found), max(points[-1][0] for _, points in found)

    def y(value: float) -> float:
        return float(round((HEIGHT - BOTTOM) * (1 - (value - low) / (high - low)), 1))

    def x(time: int) -> float:
        return round(LEFT + (WIDTH - LEFT) * ((time - start) / max(1, end - start)), 1)

    curves = tuple(Curve(label, " ".join(f"{x(time)},{y(value)}" for time, value in points)) for label, points in found)
    ticks = tuple(
        (y(low + (high - low) * part), number(round(low + (high - low) * part, 2))) for part in (0.05, 0.5, 0.95)
    )
    return Chart(curves, tuple(Bound(y(value), text, kind) for value, text, kind in levels), ticks, start, end)


def _levels(sensor: Sensor) -> list[tuple[float, str, str]]:
    """Value, text and kind of each threshold; of sensors with levels, none."""
    found: list[tuple[float, str, str]] = []
    for condition, kind in ((sensor.trigger, ""), (sensor.clear, "clear")):
        if condition is not None:
            found += [(value, str(condition), kind) for value in condition.boundaries()]
    return found


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
