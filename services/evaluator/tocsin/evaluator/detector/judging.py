"""A batch of readings against the tables: vectorised where nothing changes, one by one where something may.

1. A reading outside its series' bounds, or past its deadline, takes all readings of its series out of the batch.
2. For the others only the newest time and its value move on. In rounds: each round takes the first reading left of
   every series, so that within a round no series occurs twice. What is left after some rounds is sorted by series.
3. A second value at a series' newest time takes the series out, too.
4. What was taken out is judged in order by core.series.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from tocsin.evaluator.core.intervals import Intervals
from tocsin.evaluator.core.series import Moved, Series, take_reading
from tocsin.evaluator.core.series_order import Order, Verdict
from tocsin.evaluator.detector.columns import Bools, Floats, Ints
from tocsin.evaluator.detector.tables import NO_TIME, SeriesTable

ROUNDS = 6
"""A series is rarely in a batch more often; the others are sorted."""


@dataclass(frozen=True, slots=True)
class Readings:
    """Columns, in order of arrival."""

    series: Ints
    times: Ints
    values: Floats

    def at(self, rows: Ints) -> Readings:
        return Readings(self.series[rows], self.times[rows], self.values[rows])


@dataclass(frozen=True, slots=True)
class Move:
    """A sensor's state has changed on a series."""

    row: int  # of the reading in the batch
    series: int
    moved: Moved


@dataclass
class Judged:
    """What a batch has done."""

    moves: list[Move] = field(default_factory=list)
    late: int = 0
    repeated: int = 0


def judge_batch(table: SeriesTable, readings: Readings, intervals_of: Callable[[int], Intervals]) -> Judged:
    """`intervals_of`: those of the metric of a series, by the series' number."""
    series, times, values = readings.series, readings.times, readings.values
    out = np.zeros(table.size, np.bool_)
    outside = (values < table.low[series]) | (values > table.high[series]) | (times >= table.deadline[series])
    out[series[outside]] = True
    judged = Judged()
    _move_on(table, readings.at(np.flatnonzero(~out[series])), out, judged)
    table.dirty[series] = True
    _one_by_one(table, readings, np.flatnonzero(out[series]), intervals_of, judged)
    return judged


def _move_on(table: SeriesTable, readings: Readings, out: Bools, judged: Judged) -> None:
    """Take readings that change no sensor; marks in `out` the series that have to be looked at singly after all."""
    series = readings.series
    before = table.newest[series], table.last[series], table.tied[series]
    late = np.zeros(len(series), np.bool_)
    repeated = np.zeros(len(series), np.bool_)
    first = np.zeros(table.size, np.int64)
    left = np.arange(len(series))
    for _ in range(ROUNDS):
        if not len(left):
            break
        first[series[left][::-1]] = left[::-1]
        now = first[series[left]] == left
        rows, left = left[now], left[~now]
        number, time, value = series[rows], readings.times[rows], readings.values[rows]
        newest = table.newest[number]
        later, same = time > newest, time == newest
        again = same & (value == table.last[number])
        out[number[same & ~again]] = True
        late[rows], repeated[rows] = time < newest, again
        _set_newest(table, number[later], time[later], value[later])
    if len(left):
        _in_runs(table, readings.at(left), out)
    kept = ~out[series]
    back = np.flatnonzero(~kept)
    table.newest[series[back]], table.last[series[back]], table.tied[series[back]] = (column[back] for column in before)
    judged.late += int(np.count_nonzero(late & kept))
    judged.repeated += int(np.count_nonzero(repeated & kept))


def _in_runs(table: SeriesTable, readings: Readings, out: Bools) -> None:
    """Many readings of few series: fine when the times of each ascend."""
    sorted_ = readings.at(np.argsort(readings.series, kind="stable"))
    number, time = sorted_.series, sorted_.times
    starts = np.flatnonzero(np.diff(number, prepend=-1))
    previous = np.concatenate([np.zeros(1, np.int64), time[:-1]])
    previous[starts] = table.newest[number[starts]]
    out[number[time <= previous]] = True
    ends = np.append(starts[1:], len(number)) - 1
    _set_newest(table, number[ends], time[ends], sorted_.values[ends])


def _set_newest(table: SeriesTable, number: Ints, time: Ints, value: Floats) -> None:
    table.newest[number], table.last[number], table.tied[number] = time, value, False


def _one_by_one(
    table: SeriesTable, readings: Readings, rows: Ints, intervals_of: Callable[[int], Intervals], judged: Judged
) -> None:
    found: dict[int, tuple[Series, Intervals]] = {}
    single = readings.at(rows)
    columns = (rows.tolist(), single.series.tolist(), single.times.tolist(), single.values.tolist())
    for row, number, time, value in zip(*columns, strict=True):
        known = found.get(number)
        if known is None:
            known = found[number] = load(table, number), intervals_of(number)
        one, intervals = known
        verdict, moved = take_reading(intervals, one, time, value)
        if moved:
            judged.moves.extend([Move(row, number, sensor) for sensor in moved])
        judged.late += verdict is Verdict.LATE
        judged.repeated += verdict is Verdict.REPEATED
    for number, (one, _) in found.items():
        store(table, number, one)


def load(table: SeriesTable, number: int) -> Series:
    """A series as the core knows it."""
    newest = int(table.newest[number])
    order = None
    if newest != NO_TIME:
        ties = table.ties.get(number) if table.tied[number] else None
        order = Order(newest, ties or (float(table.last[number]),))
    return Series(
        order,
        table.states.get(number, {}),
        float(table.low[number]),
        float(table.high[number]),
        int(table.deadline[number]),
    )


def store(table: SeriesTable, number: int, series: Series) -> None:
    """Back into the table."""
    if series.order is not None:
        table.newest[number], table.last[number] = series.order.newest, series.order.values[-1]
        table.tied[number] = len(series.order.values) > 1
        if table.tied[number]:
            table.ties[number] = series.order.values
        else:
            table.ties.pop(number, None)
    table.low[number], table.high[number], table.deadline[number] = series.low, series.high, series.deadline
    if series.states:
        table.states[number] = series.states
    else:
        table.states.pop(number, None)
