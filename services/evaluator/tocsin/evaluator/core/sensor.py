"""One sensor on one series: state, judged value or timer → state. Pure.

clear → pending → triggered (at a level) → recovering → clear, and no data beside them. A value is judged in this order:

1. Which levels' triggers hold; with `breaches`, for enough of the last values.
2. A level above the present one whose trigger has held for its `for` is taken: the highest.
3. Else the present level: its trigger holds, it stays; its clear holds, too, it recovers for its `keep`; between
   the two it stays and recovers anew. Once it has recovered, the highest lower level whose trigger holds is taken, or
   the sensor is clear.
4. With `flapping`, what has been judged is counted as a change or not, and shown or held back.

A state is the very same object as long as nothing has changed, and START when there is nothing to remember.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum, IntEnum
from fractions import Fraction
from typing import Literal, NamedTuple

from msgspec import Struct
from msgspec.structs import replace

from tocsin.evaluator.core.rule import Flapping, Level, Rule

NONE = -1
"""No level, and no time."""

NEVER = (1 << 63) - 1
"""A time that does not come."""

Visible = Literal["clear", "triggered", "no-data", "flapping"]


class Phase(IntEnum):
    """Where a sensor stands on a series. The numbers are in state rows: never change one."""

    CLEAR = 0
    PENDING = 1  # a trigger holds, but not yet for as long as it must
    TRIGGERED = 2
    RECOVERING = 3  # triggered still, but clear holds, not yet for as long as it must
    NO_DATA = 4


class Cause(Enum):
    """What made a sensor look."""

    READING = "reading"
    WINDOW = "window"  # a tumbling window has ended
    FOR = "for"  # held long enough, between two readings
    KEEP = "keep"
    NO_DATA = "no_data"


class Shown(NamedTuple):
    """What the world sees. `level`: by place, NONE unless triggered."""

    state: Visible
    level: int = NONE


SHOWN_CLEAR = Shown("clear")


class SensorState(Struct, frozen=True, gc=False):
    """A sensor on a series. Times are event times, ms."""

    level: int = NONE  # the present level, by place
    since: int = 0  # when what is judged became so; 0 while it is clear
    starts: tuple[int, ...] = ()  # by level: when its trigger began to hold, or NONE; empty when none is pending
    recovering: int = NONE  # since when the present level recovers
    struck: bool = False  # no_data has struck, and no reading has come since
    no_data: bool = False
    hits: tuple[int, ...] = ()  # by level: bits of the last judged values, the newest lowest; empty when none is set
    judged_at: int = NONE  # the newest judged time, where that is not the series' newest or must be told from it
    last: float | None = None  # of a tumbling window: the last judged value
    flaps: int = 0  # bits of the last judgements that were changes, the newest lowest
    held: Shown | None = None  # while flapping: what was published last before
    closed: int = NONE  # the end of a tumbling window that could not be judged, if it was the last

    @property
    def phase(self) -> Phase:
        if self.no_data:
            return Phase.NO_DATA
        if self.level == NONE:
            return Phase.PENDING if self.starts else Phase.CLEAR
        return Phase.TRIGGERED if self.recovering == NONE else Phase.RECOVERING


START = SensorState()


def judged(state: SensorState) -> Shown:
    """What is judged, whether it is shown or not."""
    if state.no_data:
        return Shown("no-data")
    return SHOWN_CLEAR if state.level == NONE else Shown("triggered", state.level)


def shown(state: SensorState) -> Shown:
    """What the world sees; only a change of this is published."""
    return judged(state) if state.held is None else Shown("flapping")


def counted(state: SensorState) -> Shown:
    """What notifications see: while a sensor flaps, what was published last before."""
    return judged(state) if state.held is None else state.held


def judge(rule: Rule, state: SensorState, time: int, value: float, *, late: bool = False) -> SensorState:
    """The state after this judged value; `time` is never older than that of the one before.

    `late`: a late reading has changed what the newest one is worth, which ends no silence.
    """
    if rule.plain and not state.struck:
        return _judge_plain(rule.levels[0], state, time, value)
    hits, holds = _holds(rule, state, time, value)
    level, starts, recovering = state.level, state.starts, state.recovering
    climbed = _climb(rule, state, time, holds)
    if climbed is not None:
        level, starts = climbed
    present = state.level
    if level != present:
        recovering = NONE
    elif present != NONE:
        if holds[present] or not rule.levels[present].clears(value):
            recovering = NONE
        elif recovering == NONE:
            recovering = time
        if recovering != NONE and not rule.levels[present].keep_ms:
            level, recovering = _below(present, holds), NONE
    remembers = bool(hits) or rule.tumbling or (bool(starts) and rule.hold_ms > 0 and rule.window is not None)
    struck = state.struck and (late or rule.tumbling)  # nor is a window's end a reading
    judged_at, last = time if remembers else NONE, value if rule.tumbling else None
    after = SensorState(
        level, state.since, starts, recovering, struck, False, hits, judged_at, last, state.flaps, state.held
    )
    return _settle(rule, state, after, time)


def _judge_plain(only: Level, state: SensorState, time: int, value: float) -> SensorState:
    """The same for one level that judges single readings: by far the most."""
    if state.level == NONE:
        if not only.trigger.holds(value):
            return START
        if time >= (state.starts[0] if state.starts else time) + only.for_ms:
            return SensorState(0, time)
        return state if state.starts else SensorState(starts=(time,))
    if only.trigger.holds(value) or not only.clears(value):
        return state if state.recovering == NONE else SensorState(0, state.since)
    if not only.keep_ms:
        return START
    return state if state.recovering != NONE else SensorState(0, state.since, (), time)


def stays(rule: Rule, state: SensorState, value: float) -> bool:
    """Whether this value leaves the state as it is, at any time before its deadline. Of rules that are `single`."""
    # As if it came with the newest one; had that one been late enough for anything, it would have happened then.
    return judge(rule, state, max(0, state.since, state.recovering, *state.starts), value) is state


def deadline(rule: Rule, state: SensorState) -> int:
    """The event time from which on the same value may change the state."""
    found = NEVER if state.recovering == NONE else state.recovering + rule.levels[state.level].keep_ms
    for place, start in enumerate(state.starts):
        if start != NONE:
            found = min(found, start + rule.levels[place].for_ms)
    return found


def _holds(rule: Rule, state: SensorState, time: int, value: float) -> tuple[tuple[int, ...], list[bool]]:
    """The bits to remember, and which levels' triggers hold."""
    holds = [level.trigger.holds(value) for level in rule.levels]
    if rule.single or not any(level.breaches is not None for level in rule.levels):
        return (), holds
    hits = []
    for place, level in enumerate(rule.levels):
        bits = 0
        if level.breaches is not None:
            bits = state.hits[place] if state.hits else 0
            # A later arrival of the same time takes the earlier one's place.
            bits = (bits >> 1 if state.judged_at == time else bits) << 1 | holds[place]
            bits &= (1 << level.breaches.among) - 1
            holds[place] = bits.bit_count() >= level.breaches.least
        hits.append(bits)
    return tuple(hits) if any(hits) else (), holds


def _climb(rule: Rule, state: SensorState, time: int, holds: Sequence[bool]) -> tuple[int, tuple[int, ...]] | None:
    """The highest level above the present one that has held long enough, and what is pending above it."""
    present = state.level
    if not state.starts and not any(holds[present + 1 :]):
        return None
    starts = [NONE] * len(rule.levels)
    taken = present
    for place in range(present + 1, len(rule.levels)):
        if holds[place]:
            begun = state.starts[place] if state.starts else NONE
            starts[place] = time if begun == NONE else begun
            if time >= starts[place] + rule.levels[place].for_ms:
                taken = place
    return taken, _above(starts, taken)


def _above(starts: Sequence[int], taken: int) -> tuple[int, ...]:
    """What is pending above a level; what was passed on the way up is not remembered."""
    left = tuple(NONE if place <= taken else start for place, start in enumerate(starts))
    return left if any(start != NONE for start in left) else ()


def _below(present: int, holds: Sequence[bool]) -> int:
    return next((place for place in range(present - 1, -1, -1) if holds[place]), NONE)


def hear(rule: Rule, state: SensorState) -> SensorState:
    """A reading has come that is not judged, or not yet."""
    return _kept(rule, state, replace(state, struck=False)) if state.struck else state


def close(state: SensorState, end: int) -> SensorState:
    """A tumbling window has ended that cannot be judged."""
    return replace(state, closed=end)


# --- time ---


class Timer(NamedTuple):
    """`due`: when it fires. `at`: the event time that what it does has; earlier only where a clock runs behind."""

    due: int
    at: int
    cause: Cause


Pauses = Sequence[tuple[int, int]]
"""Event times from, to; ascending. In them a silence does not grow."""


def next_timer(rule: Rule, state: SensorState, newest: int, pauses: Pauses = ()) -> Timer | None:
    """The first to fire but for the ends of windows; `newest`: the series' newest time."""
    found: Timer | None = None
    if state.starts and rule.hold_ms:
        until = (state.judged_at if rule.window is not None else newest) + rule.hold_ms
        for place, start in enumerate(state.starts):
            at = start + rule.levels[place].for_ms
            if start != NONE and at <= until and (found is None or at < found.at):
                found = Timer(at + rule.lag, at, Cause.FOR)
    if state.recovering != NONE:
        at = state.recovering + rule.levels[state.level].keep_ms
        if found is None or at < found.at:
            found = Timer(at + rule.lag, at, Cause.KEEP)
    if rule.no_data is not None and not state.struck:
        at = _silent_at(newest, rule.no_data.after, pauses)
        if found is None or at < found.due:
            found = Timer(at, at, Cause.NO_DATA)
    return found


def _silent_at(newest: int, after: int, pauses: Pauses) -> int:
    at = newest + after
    for start, end in pauses:
        if start >= at:
            break
        at += max(0, end - max(start, newest))
    return at


def fire(rule: Rule, state: SensorState, timer: Timer, value: float | None) -> SensorState:
    """The state after this timer. `value`: the last judged one."""
    match timer.cause:
        case Cause.FOR:
            due = [at for at, start in enumerate(state.starts) if start + rule.levels[at].for_ms == timer.at]
            taken = max(at for at in due if state.starts[at] != NONE)
            after = replace(state, level=taken, starts=_above(state.starts, taken), recovering=NONE)
        case Cause.KEEP:
            level = _below(state.level, _still_holds(rule, state, value))
            after = replace(state, level=level, recovering=NONE)
        case Cause.NO_DATA:
            after = _silent(rule, state)
        case _:
            raise ValueError(f"no timer of a sensor: {timer.cause}")
    return _settle(rule, state, after, timer.at)


def _still_holds(rule: Rule, state: SensorState, value: float | None) -> list[bool]:
    """Which levels' triggers held at the last judged value."""
    found = []
    for place, level in enumerate(rule.levels):
        if level.breaches is None:
            found.append(value is not None and level.trigger.holds(value))
        else:
            found.append(bool(state.hits) and state.hits[place].bit_count() >= level.breaches.least)
    return found


def _silent(rule: Rule, state: SensorState) -> SensorState:
    """What was pending or recovering is forgotten; M of N and windows keep their readings."""
    assert rule.no_data is not None
    then = rule.no_data.then
    level = rule.highest if then == "trigger" else NONE
    return replace(state, level=level, starts=(), recovering=NONE, struck=True, no_data=then == "no-data")


def _settle(rule: Rule, before: SensorState, after: SensorState, time: int) -> SensorState:
    """Count flapping, note since when it is so, and give the same object back if nothing has changed."""
    changed = (before.level, before.no_data) != (after.level, after.no_data)
    flaps, held = before.flaps, before.held
    if rule.flapping is not None and (changed or flaps):
        flaps = (flaps << 1 | changed) & (1 << rule.flapping.history - 1) - 1
        share = _share(rule.flapping, flaps)
        if held is None and share > rule.flapping.enter:
            held = judged(before)
        elif held is not None and share < rule.flapping.leave:
            held = None
    since = before.since
    if changed or held != before.held:
        since = time
    if after.level == NONE and not after.no_data and held is None:
        since = 0
    return _kept(rule, before, replace(after, since=since, flaps=flaps, held=held))


def _kept(rule: Rule, before: SensorState, after: SensorState) -> SensorState:
    if not (after.hits or after.starts or rule.tumbling) and after.judged_at != NONE:
        after = replace(after, judged_at=NONE)
    if after == before:
        return before
    return START if after == START else after


def _share(flapping: Flapping, flaps: int) -> Fraction:
    """Percent, weighted from 1.2 for the newest step to 0.8 for the oldest; as a fraction, so that nothing is lost."""
    steps = flapping.history - 2
    weights = sum(6 * steps - 2 * back for back in range(flaps.bit_length()) if flaps >> back & 1)
    return Fraction(100 * weights, 5 * steps * (steps + 1))
