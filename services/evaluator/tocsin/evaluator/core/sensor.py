"""One sensor on one series: clear → pending → triggered → clear. Pure: state, reading → state.

The states and events are a table; what comes later (recovering, no data, levels) adds rows to it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, IntEnum
from typing import Literal

from tocsin.shared.configuration.condition import Condition


class Phase(IntEnum):
    """Where a sensor stands on a series. The numbers are in state rows: never change one."""

    CLEAR = 0
    PENDING = 1  # the trigger holds, but not yet for as long as it must
    TRIGGERED = 2


class Event(Enum):
    """What a reading says."""

    HOLDS = "the trigger holds"
    HELD = "the trigger holds, and has for as long as it must"
    BETWEEN = "neither trigger nor clear holds"
    CLEARS = "the clear condition holds, the trigger does not"


TRANSITIONS: dict[tuple[Phase, Event], Phase] = {
    (Phase.CLEAR, Event.HOLDS): Phase.PENDING,
    (Phase.CLEAR, Event.HELD): Phase.TRIGGERED,  # nothing to wait for
    (Phase.CLEAR, Event.BETWEEN): Phase.CLEAR,
    (Phase.CLEAR, Event.CLEARS): Phase.CLEAR,
    (Phase.PENDING, Event.HOLDS): Phase.PENDING,
    (Phase.PENDING, Event.HELD): Phase.TRIGGERED,
    (Phase.PENDING, Event.BETWEEN): Phase.CLEAR,  # a pending sensor looks at its trigger only
    (Phase.PENDING, Event.CLEARS): Phase.CLEAR,
    (Phase.TRIGGERED, Event.HOLDS): Phase.TRIGGERED,
    (Phase.TRIGGERED, Event.HELD): Phase.TRIGGERED,
    (Phase.TRIGGERED, Event.BETWEEN): Phase.TRIGGERED,  # hysteresis
    (Phase.TRIGGERED, Event.CLEARS): Phase.CLEAR,
}

Visible = Literal["clear", "triggered"]

VISIBLE: dict[Phase, Visible] = {Phase.CLEAR: "clear", Phase.PENDING: "clear", Phase.TRIGGERED: "triggered"}
"""What the world sees; only a change of this is published."""


@dataclass(frozen=True, slots=True)
class Rule:
    """What a sensor asks of a reading."""

    trigger: Condition
    clear: Condition | None = None  # none: not trigger
    for_ms: int = 0

    def signal(self, value: float) -> Event:
        """What this value says, leaving time aside: never HELD."""
        if self.trigger.holds(value):
            return Event.HOLDS
        if self.clear is None or self.clear.holds(value):
            return Event.CLEARS
        return Event.BETWEEN

    def boundaries(self) -> tuple[float, ...]:
        """The values at which the signal can change."""
        return self.trigger.boundaries() + (self.clear.boundaries() if self.clear else ())


@dataclass(frozen=True, slots=True)
class SensorState:
    """A sensor on a series."""

    phase: Phase
    since: int  # event time, ms: of pending its start, of triggered the reading that fired it


START = SensorState(Phase.CLEAR, 0)


def judge(rule: Rule, state: SensorState, time: int, value: float) -> SensorState:
    """The state after this reading; the very same object when nothing has changed."""
    event = rule.signal(value)
    if event is Event.HOLDS:
        start = state.since if state.phase is Phase.PENDING else time
        if time >= start + rule.for_ms:
            event = Event.HELD
    phase = TRANSITIONS[state.phase, event]
    if phase is state.phase:
        return state
    return START if phase is Phase.CLEAR else SensorState(phase, time)


def stays(rule: Rule, state: SensorState, value: float) -> bool:
    """Whether this value leaves the state as it is, at any time before the state's deadline."""
    return TRANSITIONS[state.phase, rule.signal(value)] is state.phase


def deadline(rule: Rule, state: SensorState) -> int | None:
    """The event time from which on the same value would change the state; None: never."""
    return state.since + rule.for_ms if state.phase is Phase.PENDING else None
