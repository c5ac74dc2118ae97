"""The readings of windows as rows: written with the order of their series, a part a row, and the way back.

Windows move with every reading, like the order of series, so they are written when that is, at a checkpoint; a start
reads again what came after it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np

from tocsin.evaluator.core.windows import Moving, Readings, Tumbling, Window, make_window
from tocsin.evaluator.detector.columns import Ints
from tocsin.evaluator.detector.engine import Engine
from tocsin.evaluator.detector.output import Output
from tocsin.evaluator.detector.rows import CHUNK, VERSION, Key, WindowsRow, encode_row
from tocsin.evaluator.detector.tables import chunk_of

MOST_READINGS = 16_384
"""In one row: 256 KB."""

_Contents = tuple[list[int], list[float], float | None]
"""Times, values, and the last rate."""


@dataclass
class _Part:
    """A row being filled."""

    sensors: dict[tuple[str, str], int] = field(default_factory=dict)
    windows: list[tuple[int, int, int, float | None]] = field(default_factory=list)
    times: list[int] = field(default_factory=list)
    values: list[float] = field(default_factory=list)

    def row(self) -> WindowsRow:
        times = np.array(self.times, "<i8").tobytes()
        return WindowsRow(VERSION, list(self.sensors), self.windows, times, np.array(self.values, "<f8").tobytes())


def write_windows(engine: Engine, where: tuple[int, int], members: Ints, output: Output) -> None:
    """Of these series. `where`: partition and chunk. Parts that are no longer needed get a tombstone."""
    partition, chunk = where
    parts = 0
    for part in _parts(engine, members):
        output.row(partition, ("windows", chunk, parts), encode_row(part.row()))
        parts += 1
    for gone in range(parts, engine.window_parts.get(where, 0)):
        output.row(partition, ("windows", chunk, gone), None)
    engine.window_parts[where] = parts


def _parts(engine: Engine, members: Ints) -> Iterator[_Part]:
    part = _Part()
    table = engine.series
    for place, series in enumerate(members.tolist() if table.windows or table.windowed else ()):
        plan = engine.plan_of(series)
        if plan is None:
            continue
        for sensor, (all_times, all_values, last) in _windows(engine, series):
            key = plan.sensors[sensor].id, plan.sensors[sensor].revision
            for times, values in _slices(all_times, all_values):
                if len(part.times) + len(times) > MOST_READINGS:
                    yield part
                    part = _Part()
                number = part.sensors.setdefault(key, len(part.sensors))
                part.windows.append((place, number, len(times), last))
                part.times += times
                part.values += values
    if part.windows:
        yield part


def _windows(engine: Engine, series: int) -> Iterator[tuple[int, _Contents]]:
    """By the place of its sensor."""
    table = engine.series
    for place, window in table.windows.get(series, {}).items():
        yield place, _flat(window)
    if table.rings.has(series):
        times, values, last = table.rings.contents(series)
        yield int(table.rings.place[series]), (times.tolist(), values.tolist(), last)


def _flat(window: Window) -> _Contents:
    if isinstance(window, Moving):
        return window.readings.times, window.readings.values, window.last
    found = [window.open[end] for end in sorted(window.open)]
    return [time for one in found for time in one.times], [value for one in found for value in one.values], None


def _slices(times: list[int], values: list[float]) -> Iterator[tuple[list[int], list[float]]]:
    for start in range(0, max(len(times), 1), MOST_READINGS):
        yield times[start : start + MOST_READINGS], values[start : start + MOST_READINGS]


def read_windows(engine: Engine, partition: int, key: Key, row: WindowsRow) -> None:
    """Into series that are known already. What belongs to a sensor that is no more, or was edited, is left."""
    chunk, part = int(key[1]), int(key[2])
    engine.window_parts[partition, chunk] = max(part + 1, engine.window_parts.get((partition, chunk), 0))
    members = chunk_of(engine.series.of_partition, partition, chunk, CHUNK).tolist()
    times = np.frombuffer(row.times, "<i8").tolist()
    values = np.frombuffer(row.values, "<f8").tolist()
    start = 0
    for place, number, count, last in row.windows:
        rows = slice(start, start + count)
        start += count
        plan = engine.plan_of(members[place])
        sensor = plan.places.get(row.sensors[number]) if plan is not None else None
        rule = plan.sensors[sensor].rule.window if plan is not None and sensor is not None else None
        if rule is None or sensor is None:
            continue
        windows = engine.series.windows.setdefault(members[place], {})
        window = windows.setdefault(sensor, make_window(rule))
        if isinstance(window, Tumbling):
            for time, value in zip(times[rows], values[rows], strict=True):
                window.open.setdefault((time // rule.size + 1) * rule.size, Readings()).put(time, value)
        else:
            window.readings.times += times[rows]
            window.readings.values += values[rows]
            window.last = last


def empty_new_windows(engine: Engine, partition: int, since: int, rows: Iterable[WindowsRow]) -> None:
    """Sensors written after the change that a partition was judged by last begin with empty windows, as they do live.

    Their windows were filled with what was read again, which came before them. `rows`: what the checkpoint holds.
    """
    new = {sensor for sensor, change in engine.plan.written.items() if change > since}
    if not new:
        return
    known = {key for row in rows for key in row.sensors}
    table = engine.series
    for series in {*table.windows, *table.rings.numbers()}:
        plan = engine.plan_of(series)
        if plan is None or engine.partition_of(series) != partition:
            continue
        for place, sensor in enumerate(plan.sensors):
            if sensor.id in new and (sensor.id, sensor.revision) not in known:
                table.dirty[series] = True
                table.windows.get(series, {}).pop(place, None)
                if table.rings.has(series) and int(table.rings.place[series]) == place:
                    table.rings.drop(series)
