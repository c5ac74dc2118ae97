"""Running one unit test: what came against what was expected, as a diff."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from tocsin.console.trial.unit_files import ExpectedChange, ExpectedEvent, UnitTest
from tocsin.evaluator.backtest.events import NotificationEvent, SensorEvent
from tocsin.evaluator.backtest.recording import Block, Recording, Tagged
from tocsin.evaluator.backtest.run import Run
from tocsin.evaluator.detector.columns import Known
from tocsin.shared.configuration.snapshot import Configuration
from tocsin.shared.times import format_duration

Expected = TypeVar("Expected", ExpectedChange, ExpectedEvent)
Came = TypeVar("Came", SensorEvent, NotificationEvent)


@dataclass(frozen=True, slots=True)
class Result:
    """`diff`: lines that begin with a blank (as expected), `-` (did not come) or `+` (not expected)."""

    name: str
    passed: bool
    diff: tuple[str, ...]


def run_test(test: UnitTest, configuration: Configuration) -> Result:
    """One test with a run of its own."""
    run = Run(configuration)
    block = readings_of(test, run.known)
    recording = Recording.as_it_came([block]) if test.as_it_came else Recording.by_time([block])
    events = [*run.events(recording), *run.until(test.start + test.until)]
    lines: list[tuple[int, int, str]] = []
    if test.changes is not None:
        changes = [event for event in events if isinstance(event, SensorEvent)]
        lines += _compare(test.changes, changes, _same_change, (test, _change_text, _came_change_text))
    if test.events is not None:
        told = [event for event in events if isinstance(event, NotificationEvent)]
        lines += _compare(test.events, told, _same_event, (test, _event_text, _came_event_text))
    lines.sort(key=lambda line: line[:2])
    diff = tuple(text for _, _, text in lines)
    return Result(test.name, all(text[0] == " " for text in diff), diff)


def readings_of(test: UnitTest, known: Known) -> Block:
    """All series, one after the other. Tags come with a series' first reading."""
    rows = [(one, point, number == 0) for one in test.series for number, point in enumerate(one.points)]
    tags: dict[int, Tagged] = {
        row: (test.start + time, one.tags)
        for row, (one, (time, _), is_first) in enumerate(rows)
        if is_first and one.tags
    }
    return Block(
        np.array([known.systems.add(one.system) for one, _, _ in rows], np.int64),
        np.array([known.metrics.add(one.metric) for one, _, _ in rows], np.int64),
        np.array([-1 if one.instance is None else known.instances.add(one.instance) for one, _, _ in rows], np.int64),
        np.array([value for _, (_, value), _ in rows], np.float64),
        np.array([test.start + time for _, (time, _), _ in rows], np.int64),
        tags,
    )


def _compare(
    expected: Sequence[Expected],
    came: Sequence[Came],
    same: Callable[[Expected, Came, int], bool],
    how: tuple[UnitTest, Callable[[Expected], str], Callable[[Came], str]],
) -> list[tuple[int, int, str]]:
    """(time, order, line). Each expected one takes the first that fits it; the others came unasked."""
    test, expected_text, came_text = how
    left = list(came)
    lines = []
    for one in expected:
        found = next((place for place, event in enumerate(left) if same(one, event, test.start)), None)
        if found is None:
            lines.append((one.at, 1, f"- {_at(one.at)}  {expected_text(one)}"))
        else:
            lines.append((one.at, 0, f"  {_at(one.at)}  {came_text(left.pop(found))}"))
    for event in left:
        at = event.time - test.start
        lines.append((at, 2, f"+ {_at(at)}  {came_text(event)}"))
    return lines


def _at(milliseconds: int) -> str:
    return f"{format_duration(milliseconds):>8}"


def _same_change(one: ExpectedChange, event: SensorEvent, start: int) -> bool:
    return (
        (start + one.at, one.sensor, one.system, one.instance, one.state)
        == (event.time, event.sensor, event.system, event.instance, event.state)
        and one.level in (None, event.level)
        and (one.value is None or (event.value is not None and _is_close(one.value, event.value)))
    )


def _is_close(one: float, other: float) -> bool:
    """1+0.1x3 does not end with the float that is written 1.3."""
    return math.isclose(one, other, rel_tol=1e-9, abs_tol=1e-12)


def _same_event(one: ExpectedEvent, event: NotificationEvent, start: int) -> bool:
    return (
        (start + one.at, one.notification, one.state) == (event.time, event.notification, event.state)
        and one.matched in (None, event.matched)
        and one.reporting in (None, event.reporting)
        and one.systems in (None, tuple(sorted(event.systems)))
    )


def _change_text(one: ExpectedChange) -> str:
    return _sensor_text(one.sensor, one.state, one.level, (one.system, one.instance), one.value)


def _came_change_text(event: SensorEvent) -> str:
    return _sensor_text(event.sensor, event.state, event.level, (event.system, event.instance), event.value)


def _sensor_text(
    sensor: str, state: str, level: str | None, series: tuple[str, str | None], value: float | None
) -> str:
    where = series[0] if series[1] is None else f"{series[0]} ({series[1]})"
    named = state if level is None else f"{state} ({level})"
    return f"sensor        {sensor}: {named} on {where}" + ("" if value is None else f" at {value:.12g}")


def _event_text(one: ExpectedEvent) -> str:
    counts = f", {_some(one.matched)} of {_some(one.reporting)} reporting"
    if one.matched is None and one.reporting is None:
        counts = ""
    systems = "" if one.systems is None else f" ({', '.join(one.systems)})"
    return f"notification  {one.notification}: {one.state}{counts}{systems}"


def _came_event_text(event: NotificationEvent) -> str:
    systems = f" ({', '.join(sorted(event.systems))})"
    counts = f"{event.matched} of {event.reporting} reporting"
    return f"notification  {event.notification}: {event.state}, {counts}{systems}"


def _some(count: int | None) -> str:
    return "any" if count is None else str(count)
