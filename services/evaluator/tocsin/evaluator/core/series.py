"""All sensors of one metric on one series: readings and time in, moves out. Pure but for the series it is given.

Whoever calls decides what "now" is; here only this holds: before a reading is judged, the series' own timers due before
it fire, in order of their due times. A timer due at the very time of a reading waits until after it.
"""

from __future__ import annotations

import heapq
from collections.abc import Mapping
from dataclasses import dataclass, field

from msgspec import Struct

from tocsin.evaluator.core.intervals import INFINITY, Intervals
from tocsin.evaluator.core.rule import Rule
from tocsin.evaluator.core.sensor import (
    NEVER,
    NONE,
    START,
    Cause,
    Pauses,
    SensorState,
    Timer,
    close,
    deadline,
    fire,
    hear,
    judge,
    next_timer,
)
from tocsin.evaluator.core.series_order import Order, Verdict, take
from tocsin.evaluator.core.windows import Entry, Moving, Tumbling, Window, WindowOverflowError, make_window


@dataclass(slots=True)
class Series:
    """What is remembered of a series. Bounds, `deadline`, `due` and `silence` are only shortcuts and can be lost."""

    order: Order | None = None
    states: dict[int, SensorState] = field(default_factory=dict)  # of the sensors that are not START, by place
    windows: dict[int, Window] = field(default_factory=dict)  # by place
    low: float = INFINITY  # bounds that nothing is inside of: every sensor is looked at
    high: float = -INFINITY
    deadline: int = NEVER  # from this event time on a reading inside the bounds may change a state, too
    due: int = NEVER  # before this no timer fires, silences apart
    silence: int = NEVER  # ms after the newest reading before which none strikes
    pauses: Pauses = ()  # in which a silence does not grow; not remembered


class Moved(Struct, frozen=True, gc=False):
    """A sensor's state has changed."""

    place: int  # of the sensor among the metric's
    before: SensorState
    after: SensorState
    time: int  # event time, ms: of the reading, or when the timer was due
    value: float | None  # what was judged; of a timer the last one
    cause: Cause = Cause.READING
    due: int | None = None  # of a timer: when it fired; later than `time` only where a window waits for late readings


def take_reading(intervals: Intervals, series: Series, time: int, value: float) -> tuple[Verdict, list[Moved]]:
    """Judge one reading, in order of arrival. The moves: of timers due before it, then its own by place."""
    moved: list[Moved] = []
    if series.order is not None and time > series.order.newest and first_due(series) < time:
        moved = fire_timers(intervals, series, time)
    verdict, series.order = take(series.order, time, value)
    if verdict is Verdict.REPEATED:
        return verdict, moved
    if verdict is Verdict.LATE:
        return _take_late(intervals, series, (time, value), moved), moved
    inside = series.low <= value <= series.high
    if inside and time < series.deadline and not intervals.others:
        return verdict, moved
    for place in sorted({*_candidates(intervals, series, value, inside), *intervals.others}):
        rule, before = intervals.rules[place], series.states.get(place, START)
        if rule.window is None:
            _move(series, moved, Moved(place, before, judge(rule, before, time, value), time, value))
        else:
            _judge_window(intervals, series, place, (time, value), moved)
    draw_bounds(intervals, series, value)
    return verdict, moved


def remember_reading(intervals: Intervals, series: Series, time: int, value: float) -> tuple[Verdict, list[Moved]]:
    """Take in a reading that was judged before a restart: only order and windows move on."""
    if series.order is not None and time > series.order.newest:
        for place, window in series.windows.items():
            if isinstance(window, Tumbling):
                window.close_before(time - intervals.rules[place].lag)
    verdict, series.order = take(series.order, time, value)
    for place in intervals.others if verdict is not Verdict.REPEATED else ():
        rule = intervals.rules[place]
        if rule.window is not None:
            _put(intervals, series, place, (time, value))
    return verdict, []


def fire_timers(intervals: Intervals, series: Series, until: int, *, including: bool = False) -> list[Moved]:
    """Fire the timers due before this time, or at it, too; in order of due time, then of place."""
    moved: list[Moved] = []
    if series.order is None:
        return moved
    last = until if including else until - 1
    timers = [(place, _next(intervals, series, place)) for place in _with_timers(intervals, series)]
    waiting = [(timer.due, place) for place, timer in timers if timer is not None]
    heapq.heapify(waiting)
    while waiting and waiting[0][0] <= last:
        _, place = waiting[0]
        timer = _next(intervals, series, place)
        assert timer is not None
        _fire(intervals, series, place, timer, moved)
        following = _next(intervals, series, place)
        if following is None:
            heapq.heappop(waiting)
        else:
            heapq.heapreplace(waiting, (following.due, place))
    # Without bounds, a sensor may be there that has not judged the newest value: it has just been edited.
    if moved and series.low <= series.high:
        draw_bounds(intervals, series, series.order.values[-1])
    else:
        draw_deadlines(intervals, series)
    return moved


def next_due(intervals: Intervals, series: Series) -> int | None:
    """When the first timer of the series is due, exactly."""
    if series.order is None:
        return None
    found = (_next(intervals, series, place) for place in _with_timers(intervals, series))
    return min((timer.due for timer in found if timer is not None), default=None)


def first_due(series: Series) -> int:
    """Before this no timer is due; cheap, and perhaps too early."""
    if series.order is None or series.silence == NEVER:
        return series.due
    return min(series.due, series.order.newest + series.silence)


def draw_bounds(intervals: Intervals, series: Series, value: float) -> None:
    """Between these bounds and before this deadline no reading changes anything; `value`: the newest."""
    series.low, series.high = intervals.run(series.states, value)
    draw_deadlines(intervals, series)


def draw_deadlines(intervals: Intervals, series: Series) -> None:
    series.deadline = series.due = series.silence = NEVER
    if intervals.waiting:
        for place, state in series.states.items():
            if place in intervals.off:
                continue
            rule = intervals.rules[place]
            at = deadline(rule, state)
            series.deadline = min(series.deadline, at)
            if at != NEVER and (state.recovering != NONE or rule.hold_ms):
                series.due = min(series.due, at + rule.lag)
    for place, window in series.windows.items():
        if isinstance(window, Tumbling) and window.open:
            series.due = min(series.due, min(window.open) + intervals.rules[place].lag)
    for after, place in intervals.silences:
        if not series.states.get(place, START).struck:
            series.silence = after
            break


def lane_bounds(intervals: Intervals, states: Mapping[int, SensorState], worth: float | None) -> tuple[float, float]:
    """Between these values of its window the sensor in the lane stays as it is, before the series' deadline."""
    assert intervals.lane is not None
    place, lane = intervals.lane
    state = states.get(place, START)
    # While it may be held, the time of each judged value counts.
    if worth is None or (state.starts and intervals.rules[place].hold_ms):
        return INFINITY, -INFINITY
    return lane.run({0: state} if state is not START else {}, worth)


def _candidates(intervals: Intervals, series: Series, value: float, inside: bool) -> set[int]:
    """Of the sensors that judge single readings."""
    if series.low > series.high:
        return {*intervals.holding(value), *(place for place in series.states if intervals.rules[place].single)}
    found = set() if inside else intervals.crossed(series.low, series.high, value)
    if series.deadline != NEVER:
        found.update(place for place, state in series.states.items() if state.starts or state.recovering != NONE)
    return found


def _move(series: Series, moved: list[Moved], move: Moved) -> None:
    if move.after is move.before:
        return
    moved.append(move)
    if move.after is START:
        del series.states[move.place]
    else:
        series.states[move.place] = move.after


# --- windows ---


def _judge_window(
    intervals: Intervals, series: Series, place: int, reading: tuple[int, float], moved: list[Moved]
) -> None:
    rule, before = intervals.rules[place], series.states.get(place, START)
    _put(intervals, series, place, reading)
    worth = _worth(rule, series.windows.get(place))
    if worth is None:
        _move(series, moved, Moved(place, before, hear(rule, before), reading[0], None))
    else:
        _move(series, moved, Moved(place, before, judge(rule, before, reading[0], worth), reading[0], worth))


def _worth(rule: Rule, window: Window | None) -> float | None:
    assert rule.window is not None
    return window.worth(rule.window) if isinstance(window, Moving) else None


def _put(intervals: Intervals, series: Series, place: int, reading: tuple[int, float]) -> Entry:
    rule = intervals.rules[place].window
    assert rule is not None
    assert series.order is not None
    window = series.windows.get(place)
    if window is None:
        window = series.windows[place] = make_window(rule)
    try:
        return window.put(rule, *reading, series.order.newest)
    except WindowOverflowError as error:
        intervals.switch_off(place, str(error))
        del series.windows[place]
        return Entry.OUTSIDE


def _take_late(intervals: Intervals, series: Series, reading: tuple[int, float], moved: list[Moved]) -> Verdict:
    """A late reading may still enter a window; a sliding one is judged again, as of the newest reading."""
    entries = set()
    assert series.order is not None
    newest = series.order.newest
    for place in intervals.others:
        rule, before = intervals.rules[place], series.states.get(place, START)
        if rule.window is None:
            continue
        entry = _put(intervals, series, place, reading)
        entries.add(entry)
        worth = _worth(rule, series.windows.get(place)) if entry is Entry.ENTERED else None
        if worth is not None:
            _move(series, moved, Moved(place, before, judge(rule, before, newest, worth, late=True), newest, worth))
    if Entry.ENTERED in entries:
        draw_bounds(intervals, series, series.order.values[-1])
        return Verdict.LATE
    return Verdict.REPEATED if Entry.REPEATED in entries else Verdict.LATE


# --- timers ---


def _with_timers(intervals: Intervals, series: Series) -> list[int]:
    found = {place for _, place in intervals.silences}
    found.update(place for place, state in series.states.items() if state.recovering != NONE or state.starts)
    found.update(place for place, window in series.windows.items() if isinstance(window, Tumbling))
    return sorted(found - intervals.off.keys())


def _next(intervals: Intervals, series: Series, place: int) -> Timer | None:
    """A window's end comes before everything else that is due with it: it is judged like a reading."""
    assert series.order is not None
    rule = intervals.rules[place]
    timer = next_timer(rule, series.states.get(place, START), series.order.newest, series.pauses)
    window = series.windows.get(place)
    if isinstance(window, Tumbling) and window.open:
        end = min(window.open)
        if timer is None or end + rule.lag <= timer.due:
            return Timer(end + rule.lag, end, Cause.WINDOW)
    return timer


def _fire(intervals: Intervals, series: Series, place: int, timer: Timer, moved: list[Moved]) -> None:
    rule, before = intervals.rules[place], series.states.get(place, START)
    if timer.cause is Cause.WINDOW:
        window = series.windows[place]
        assert isinstance(window, Tumbling)
        assert rule.window is not None
        worth = window.close(rule.window, timer.at)
        after = close(before, timer.at) if worth is None else judge(rule, before, timer.at, worth)
        _move(series, moved, Moved(place, before, after, timer.at, worth, Cause.WINDOW, timer.due))
        return
    value = last_judged(rule, series, place)
    after = fire(rule, before, timer, value)
    _move(series, moved, Moved(place, before, after, timer.at, value, timer.cause, timer.due))


def last_judged(rule: Rule, series: Series, place: int) -> float | None:
    """The value this sensor judged last on the series."""
    if rule.window is None:
        return series.order.values[-1] if series.order is not None else None
    window = series.windows.get(place)
    if isinstance(window, Moving):
        return window.last_judged(rule.window)
    return series.states.get(place, START).last
