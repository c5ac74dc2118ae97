"""What the world is told of a move: the visible state before and after, the value, and what held. Pure."""

from __future__ import annotations

from msgspec import Struct

from tocsin.evaluator.core.plan import PlannedSensor
from tocsin.evaluator.core.rule import Rule, clear_text, silence_text, trigger_text
from tocsin.evaluator.core.sensor import NONE, Cause, SensorState, Visible, counted, judged, shown
from tocsin.evaluator.core.series import Moved


class SensorEvent(Struct, frozen=True, gc=False):
    """A change of the visible state, as it is published."""

    state: Visible
    level: str | None  # of a triggered sensor with levels
    previous: Visible
    previous_level: str | None
    value: float | None  # what was judged; of a timer the last one
    time: int  # event time, ms
    condition: str | None  # what held
    cause: Cause

    @property
    def by_timer(self) -> bool:
        return self.cause is not Cause.READING


def event_of(sensor: PlannedSensor, moved: Moved) -> SensorEvent | None:
    """None: the world sees no difference. A change of level is one."""
    before, after = shown(moved.before), shown(moved.after)
    if before == after:
        return None
    return SensorEvent(
        state=after.state,
        level=sensor.level_name(after.level),
        previous=before.state,
        previous_level=sensor.level_name(before.level),
        value=moved.value,
        time=moved.time,
        condition=_condition(sensor.rule, moved),
        cause=moved.cause,
    )


def _condition(rule: Rule, moved: Moved) -> str | None:
    after = shown(moved.after)
    if after.state == "flapping":
        assert rule.flapping is not None
        return f"changes above {float(rule.flapping.enter):g}%"
    if moved.cause is Cause.NO_DATA:
        return silence_text(rule)
    if after.state == "triggered":
        return trigger_text(rule, after.level)
    return clear_text(rule, max(judged(moved.before).level, 0))


class Standing(Struct, frozen=True, gc=False):
    """How a sensor stands on a series for the notifications that name it. `level`: by place, NONE: not triggered."""

    level: int = NONE
    by_silence: bool = False  # triggered by no_data, and nothing heard since: its system stays in both counts


def standing(state: SensorState) -> Standing:
    """While a sensor flaps, it stands as it was published last before."""
    level = counted(state).level
    return Standing(level, level != NONE and state.struck)
