"""A batch of readings against the tables: vectorised where nothing changes, one by one where something may.

1. One compiled pass in order of arrival moves the newest time and its value of each series on, up to the first reading
   outside its bounds or past its deadline (`advancing.py`). Where a reading outside changes sensors by a step that is
   known (core.steps), it takes it; what is not known yet is learned, and the pass goes on.
2. From there the readings of such a series are judged by core.series; those between two that may change something are
   passed over, so that a large batch costs no more than many small ones.
3. A series whose window is kept in columns goes another way, in rounds: each round takes the first reading left of
   every series, so that within a round no series occurs twice. A reading that may change something takes all readings
   of its series out of the batch; what the rounds did to it is undone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import pairwise
from operator import attrgetter
from typing import TypeVar

import numpy as np
from msgspec import Struct

from tocsin.evaluator.core.intervals import Intervals
from tocsin.evaluator.core.sensor import NEVER
from tocsin.evaluator.core.series import Moved, Series, fire_timers, lane_bounds, take_reading
from tocsin.evaluator.core.series_order import Order, Verdict
from tocsin.evaluator.core.steps import Turn, turned
from tocsin.evaluator.core.windows import Moving, Window
from tocsin.evaluator.detector.advancing import LATE, LEFT, REPEATED, STEPPED, UNLEARNED, advance, passed_over
from tocsin.evaluator.detector.columns import Bools, Floats, Ints
from tocsin.evaluator.detector.compiling import address_of
from tocsin.evaluator.detector.tables import NO_SILENCE, NO_TIME, SeriesTable

T = TypeVar("T")

ROUNDS = 6
"""A series is rarely in a batch more often; the others are sorted."""

WINDOW_ROUNDS = 48
"""The same where there are windows; the others are judged one by one."""


@dataclass(frozen=True, slots=True)
class Readings:
    """Columns, in order of arrival."""

    series: Ints
    times: Ints
    values: Floats

    def at(self, rows: Ints) -> Readings:
        return Readings(self.series[rows], self.times[rows], self.values[rows])


class Move(Struct, frozen=True, gc=False):
    """A sensor's state has changed on a series."""

    row: int  # of the reading in the batch
    series: int
    moved: Moved


class Stepped(Struct, frozen=True, gc=False):
    """A sensor's level has changed on a series, by a step."""

    row: int
    series: int
    turn: Turn
    since: int  # since when it was as it was before


@dataclass
class Judged:
    """What a batch has done."""

    steps: list[Stepped] = field(default_factory=list)  # in order of arrival
    moves: list[Move] = field(default_factory=list)  # the same; of a series, after its steps
    late: int = 0
    repeated: int = 0


IntervalsOf = Callable[[int], Intervals]
"""Those of a series' metric on its system, by the series' number."""

TakeOne = Callable[[Intervals, Series, int, float], tuple[Verdict, list[Moved]]]


def judge_batch(
    table: SeriesTable, readings: Readings, intervals_of: IntervalsOf, take_one: TakeOne = take_reading
) -> Judged:
    """`take_one` does it for a reading that has to be looked at singly."""
    judged = Judged()
    table.dirty[readings.series] = True
    there = _with_rings(table, readings.series)
    if not there.any():
        rows = _advance(table, np.arange(len(readings.series)), readings, judged)
    else:
        plain, windowed = np.flatnonzero(~there), np.flatnonzero(there)
        left = plain[_advance(table, plain, readings.at(plain), judged)]
        rows = np.concatenate([left, windowed[_follow_windows(table, readings.at(windowed), judged)]])
    _one_by_one(table, (rows, readings.at(rows)), intervals_of, take_one, judged)
    return judged


def _with_rings(table: SeriesTable, series: Ints) -> Bools:
    """Which readings belong to a series whose window is kept in columns."""
    if not table.windowed:
        return np.zeros(len(series), np.bool_)
    table.rings.extend(table.size)
    found: Bools = table.rings.base[series] >= 0
    return found


def _advance(table: SeriesTable, places: Ints, readings: Readings, judged: Judged) -> Ints:
    """Take readings that change no sensor, or by a step; the places of those that are left."""
    became = _pass(table, readings)
    while len(unlearned := np.flatnonzero(became == UNLEARNED)):
        stances, values = table.stance[readings.series[unlearned]].tolist(), readings.values[unlearned].tolist()
        for stance, value in zip(stances, values, strict=True):
            table.steps.learn(stance, value)
        again = np.zeros(table.size, np.bool_)
        again[readings.series[unlearned]] = True
        rows = np.flatnonzero(((became == LEFT) | (became == UNLEARNED)) & again[readings.series])
        became[rows] = _pass(table, readings.at(rows))
    judged.late += int(np.count_nonzero(became == LATE))
    judged.repeated += int(np.count_nonzero(became == REPEATED))
    stepped = np.flatnonzero(became >= STEPPED)
    if len(stepped):
        _step(table, (places[stepped], readings.at(stepped)), became[stepped] - STEPPED, judged)
    return np.flatnonzero(became == LEFT)


def _pass(table: SeriesTable, readings: Readings) -> Ints:
    """What becomes of each."""
    became = np.full(len(readings.series), LEFT, np.int64)
    stopped = np.zeros(table.size, np.bool_)
    order = table.newest, table.last, table.tied
    ends = table.deadline, table.due, table.silence
    columns = readings.series, readings.times, readings.values
    steps = table.stance, *table.steps.arrays()
    advance(columns, order, (table.low, table.high), ends, steps, (stopped, became))
    return became


def _step(table: SeriesTable, taken: tuple[Ints, Readings], steps: Ints, judged: Judged) -> None:
    """The steps that these readings have taken, in the series' states."""
    states, turns = table.states, table.steps.turns
    rows, readings = taken
    columns = rows.tolist(), readings.series.tolist(), readings.times.tolist(), steps.tolist()
    for row, series, time, step in zip(*columns, strict=True):
        of_series = states.get(series)
        if of_series is None:
            of_series = states[series] = {}
        judged.steps += [Stepped(row, series, turn, turned(of_series, turn, time)) for turn in turns[step]]
        if not of_series:
            del states[series]


def _follow_windows(table: SeriesTable, readings: Readings, judged: Judged) -> Ints:
    """Take readings of series with rings that change no sensor; the places of all readings of the other series."""
    series, times, values = readings.series, readings.times, readings.values
    out = np.zeros(table.size, np.bool_)
    outside = (values < table.low[series]) | (values > table.high[series]) | (times >= table.deadline[series])
    out[series[outside]] = True
    _move_on(table, readings.at(np.flatnonzero(~out[series])), out, judged)
    return np.flatnonzero(out[series])


def _move_on(table: SeriesTable, readings: Readings, out: Bools, judged: Judged) -> None:
    """Take readings that change no sensor; marks in `out` the series that have to be looked at singly after all."""
    series = readings.series
    before = table.newest[series], table.last[series], table.tied[series]
    late = np.zeros(len(series), np.bool_)
    repeated = np.zeros(len(series), np.bool_)
    first = np.zeros(table.size, np.int64)
    left = np.arange(len(series))
    windows = _Windows(table, series)
    for _ in range(windows.rounds):
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
        if table.silences:  # perhaps one has struck before this reading
            out[number[time > newest + table.silence[number]]] = True
        late[rows], repeated[rows] = time < newest, again
        _set_newest(table, number[later], time[later], value[later])
        windows.take(readings.at(rows), later, out)
    if len(left):
        _in_runs(table, readings.at(left), out)
        windows.leave(series[left], out)
    kept = ~out[series]
    back = np.flatnonzero(~kept)
    table.newest[series[back]], table.last[series[back]], table.tied[series[back]] = (column[back] for column in before)
    windows.undo(back)
    judged.late += int(np.count_nonzero(late & kept))
    judged.repeated += int(np.count_nonzero(repeated & kept))


class _Windows:
    """The sliding windows of some readings' series, for a batch."""

    def __init__(self, table: SeriesTable, series: Ints) -> None:
        self._series = series
        self._rings = table.rings
        if table.windowed:
            self._rings.extend(table.size)
        there = self._rings.base[series] >= 0 if table.windowed else np.zeros(0, np.bool_)
        self._any = bool(there.any())
        self.rounds = WINDOW_ROUNDS if self._any else ROUNDS
        if self._any:
            self._rows = np.flatnonzero(there)
            self._before = self._rings.begin(series[self._rows])

    def take(self, readings: Readings, later: Bools, out: Bools) -> None:
        """One reading each of some series; a late or an equal one may be in a window already."""
        if not self._any:
            return
        there = (self._rings.base[readings.series] >= 0) & ~out[readings.series]
        out[readings.series[there & ~later]] = True
        taken = np.flatnonzero(there & later)
        if len(taken):
            moved = readings.at(taken)
            doubtful = self._rings.take(moved.series, moved.times, moved.values)
            out[moved.series[doubtful]] = True

    def leave(self, series: Ints, out: Bools) -> None:
        """There are too many readings of these."""
        if self._any:
            out[series[self._rings.base[series] >= 0]] = True

    def undo(self, back: Ints) -> None:
        """Of the readings at these places."""
        if self._any and len(back):
            mine = np.isin(self._rows, back)
            self._rings.undo(self._series[self._rows[mine]], tuple(column[mine] for column in self._before))


def _in_runs(table: SeriesTable, readings: Readings, out: Bools) -> None:
    """Many readings of few series: fine when the times of each ascend."""
    sorted_ = readings.at(np.argsort(readings.series, kind="stable"))
    number, time = sorted_.series, sorted_.times
    starts = np.flatnonzero(np.diff(number, prepend=-1))
    previous = np.concatenate([np.zeros(1, np.int64), time[:-1]])
    previous[starts] = table.newest[number[starts]]
    out[number[time <= previous]] = True
    if table.silences:
        out[number[time > previous + table.silence[number]]] = True
    ends = np.append(starts[1:], len(number)) - 1
    _set_newest(table, number[ends], time[ends], sorted_.values[ends])


def _set_newest(table: SeriesTable, number: Ints, time: Ints, value: Floats) -> None:
    table.newest[number], table.last[number], table.tied[number] = time, value, False


def _one_by_one(
    table: SeriesTable,
    taken_out: tuple[Ints, Readings],
    intervals_of: IntervalsOf,
    take_one: TakeOne,
    judged: Judged,
) -> None:
    """Series by series; what changes nothing between two readings that do is passed over."""
    order = np.argsort(taken_out[1].series, kind="stable")
    rows, single = taken_out[0][order], taken_out[1].at(order)
    addresses = address_of(single.times), address_of(single.values)
    starts = np.flatnonzero(np.diff(single.series, prepend=-1))
    for start, end in pairwise([*starts.tolist(), len(rows)]):
        number = int(single.series[start])
        one, intervals = load(table, number), intervals_of(number)
        at = start
        while at < end:
            verdict, moved = take_one(intervals, one, int(single.times[at]), float(single.values[at]))
            judged.moves.extend([Move(int(rows[at]), number, sensor) for sensor in moved])
            judged.late += verdict is Verdict.LATE
            judged.repeated += verdict is Verdict.REPEATED
            at += 1
            if at < end and not intervals.others:
                at = _pass_over(one, single, addresses, at, end)
        store(table, number, one, intervals)
    judged.moves.sort(key=attrgetter("row"))


def _pass_over(one: Series, readings: Readings, addresses: tuple[int, int], start: int, end: int) -> int:
    """Move the series on to its next reading that has to be judged; the place of that."""
    assert one.order is not None
    ends = min(one.deadline, one.due + 1, NEVER), min(one.silence, NO_SILENCE)
    bounds = float(one.low), float(one.high)
    at: int = passed_over(addresses, (start, end), one.order.newest, bounds, ends)
    if at > start:
        one.order = Order(int(readings.times[at - 1]), (float(readings.values[at - 1]),))
    return at


def judge_timers(
    table: SeriesTable, due: Iterable[tuple[int, int]], intervals_of: IntervalsOf, including: bool
) -> list[tuple[int, Moved]]:
    """Fire the timers of these series up to their "now"; what moves, series by series."""
    found = []
    for number, now in due:
        one, intervals = load(table, number), intervals_of(number)
        found += [(number, moved) for moved in fire_timers(intervals, one, now, including=including)]
        store(table, number, one, intervals)
    return found


def load(table: SeriesTable, number: int) -> Series:
    """A series as the core knows it."""
    newest = int(table.newest[number])
    order = None
    if newest != NO_TIME:
        ties = table.ties.get(number) if table.tied[number] else None
        order = Order(newest, ties or (float(table.last[number]),))
    silence = int(table.silence[number])
    windows = table.windows.get(number, {})
    if table.rings.has(number):
        windows = {**windows, int(table.rings.place[number]): table.rings.window(number)}
    return Series(
        order,
        table.states.get(number, {}),
        windows,
        float(table.low[number]),
        float(table.high[number]),
        int(table.deadline[number]),
        int(table.due[number]),
        NEVER if silence == NO_SILENCE else silence,
        table.pauses_of(number) if table.pauses_of is not None else (),
    )


def store(table: SeriesTable, number: int, series: Series, intervals: Intervals) -> None:
    """Back into the table."""
    if series.order is not None:
        table.newest[number], table.last[number] = series.order.newest, series.order.values[-1]
        table.tied[number] = len(series.order.values) > 1
        if table.tied[number]:
            table.ties[number] = series.order.values
        else:
            table.ties.pop(number, None)
    table.low[number], table.high[number], table.deadline[number] = series.low, series.high, series.deadline
    table.due[number], table.silence[number] = series.due, min(series.silence, NO_SILENCE)
    table.stance[number] = table.steps.stance(intervals, series.states)
    table.silences = table.silences or series.silence != NEVER
    _keep(table.states, number, series.states)
    _keep(table.windows, number, _without_lane(table, number, series, intervals))


def _without_lane(table: SeriesTable, number: int, series: Series, intervals: Intervals) -> dict[int, Window]:
    """The windows that are no columns; the one that is goes into its ring."""
    if intervals.lane is None:
        table.rings.drop_if_there(number)
        return series.windows
    place, _ = intervals.lane
    window, rule = series.windows.get(place), intervals.rules[place].window
    if isinstance(window, Moving) and rule is not None:
        bounds = lane_bounds(intervals, series.states, window.worth(rule))
        table.rings.extend(table.size)
        table.windowed = True
        table.rings.put(number, place, rule, window, bounds)
    return {}


def _keep(kept: dict[int, dict[int, T]], number: int, found: dict[int, T]) -> None:
    if found:
        kept[number] = found
    else:
        kept.pop(number, None)
