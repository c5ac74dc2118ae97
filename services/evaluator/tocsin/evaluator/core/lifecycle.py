"""One notification through time: when an activation opens, is told of, is reminded of, and ends. Pure.

Times are event times in ms. At each instant, in this order:

1. `advance`: timers that fell due before it, in order of due time, each due time an instant of its own.
2. `judge`: the counts as they are at the instant.
3. In a back-test `advance` again, with those due exactly at the instant that the counts have not made void. Live they
   fire with the next input: when now has passed them.

Timers: `for` is over; the gate (schedule, silences) opens for an activation or an ending that is still to be told; the
cooldown ends; a reminder is due. A reminder due while nothing may be sent, or with the announcement itself, is dropped.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from types import MappingProxyType
from typing import Literal

from tocsin.evaluator.core.gate import ALWAYS, Gate


class State(StrEnum):
    """Of a notification: is an activation open?"""

    IDLE = "idle"
    PENDING = "pending"
    """Reached, but not yet for as long as it must."""
    ACTIVE = "active"
    DISMISSED = "dismissed"
    """Ended before the threshold was left: nothing opens until it has been not reached once."""


class Sign(StrEnum):
    """What a notification is told."""

    REACHED = "reached"
    HELD = "reached for as long as it must"
    NOT_REACHED = "not reached"
    DISMISS = "dismiss"


TRANSITIONS: Mapping[tuple[State, Sign], State] = MappingProxyType(
    {
        (State.IDLE, Sign.REACHED): State.PENDING,
        (State.IDLE, Sign.HELD): State.ACTIVE,  # nothing to wait for
        (State.IDLE, Sign.NOT_REACHED): State.IDLE,
        (State.IDLE, Sign.DISMISS): State.IDLE,
        (State.PENDING, Sign.REACHED): State.PENDING,
        (State.PENDING, Sign.HELD): State.ACTIVE,
        (State.PENDING, Sign.NOT_REACHED): State.IDLE,
        (State.PENDING, Sign.DISMISS): State.IDLE,  # an edit: it begins to wait anew
        (State.ACTIVE, Sign.REACHED): State.ACTIVE,
        (State.ACTIVE, Sign.HELD): State.ACTIVE,
        (State.ACTIVE, Sign.NOT_REACHED): State.IDLE,  # resolved
        (State.ACTIVE, Sign.DISMISS): State.DISMISSED,
        (State.DISMISSED, Sign.REACHED): State.DISMISSED,
        (State.DISMISSED, Sign.HELD): State.DISMISSED,
        (State.DISMISSED, Sign.NOT_REACHED): State.IDLE,
        (State.DISMISSED, Sign.DISMISS): State.DISMISSED,
    }
)

EndKind = Literal["resolved", "dismissed"]


@dataclass(frozen=True, slots=True)
class Policy:
    """The options of a notification that have to do with time."""

    for_ms: int = 0
    remind_every: int = 0  # 0: never
    cooldown: int = 0
    gate: Gate = ALWAYS


@dataclass(frozen=True, slots=True)
class Hold:
    """Something waits until it may be told: what the gate said, and when it was asked."""

    asked: int
    until: int | None  # none: never, as things are


@dataclass(frozen=True, slots=True)
class Ending:
    """An announced activation has ended, and nobody has been told yet."""

    kind: EndKind
    at: int
    hold: Hold


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a notification stands."""

    state: State = State.IDLE
    since: int | None = None  # pending: reached since; active: opened at
    held: Hold | None = None  # active, and not announced yet
    reminded: int = 0  # reminders of the open activation that have come or were dropped
    ending: Ending | None = None  # of the activation before
    resolved_at: int | None = None  # the last resolution of an announced activation


@dataclass(frozen=True, slots=True)
class Opened:
    """An activation has opened."""

    at: int


@dataclass(frozen=True, slots=True)
class Announced:
    """The open activation is told of: `activated`."""

    at: int


@dataclass(frozen=True, slots=True)
class Reminded:
    """The open activation is reminded of; `number` counts from 1, dropped ones included."""

    at: int
    number: int


@dataclass(frozen=True, slots=True)
class Ended:
    """The open activation has ended. `announced`: somebody had been told of it, and will be told of this."""

    at: int
    kind: EndKind
    announced: bool


@dataclass(frozen=True, slots=True)
class EndTold:
    """An ending is told: `resolved` or `dismissed`."""

    at: int
    kind: EndKind
    ended_at: int


Happening = Opened | Announced | Reminded | Ended | EndTold
Moved = tuple[Standing, tuple[Happening, ...]]
"""Where it stands after, and what has happened, in order. The very same standing when nothing has changed."""

NO_LIMIT = 1 << 62


def judge(standing: Standing, policy: Policy, at: int, reached: bool, heard_until: int = NO_LIMIT) -> Moved:
    """The counts at this instant. `heard_until`: see `advance`."""
    if not reached:
        moved = replace(standing, state=TRANSITIONS[standing.state, Sign.NOT_REACHED], since=None)
        if standing.state is State.ACTIVE:
            return _ended(standing, moved, policy, at, "resolved")
        return (standing, ()) if moved == standing else (moved, ())
    if standing.state not in (State.IDLE, State.PENDING):
        return standing, ()
    since = at if standing.since is None else standing.since
    # Waiting is over here only when there is none, or when nobody could tell before that it was.
    over = policy.for_ms == 0 or (at > since + policy.for_ms and at <= heard_until)
    state = TRANSITIONS[standing.state, Sign.HELD if over else Sign.REACHED]
    if state is State.ACTIVE:
        return _open(standing, policy, at)
    return (standing, ()) if state is standing.state else (replace(standing, state=state, since=since), ())


def dismiss(standing: Standing, policy: Policy, at: int) -> Moved:
    """By hand, or because it was edited. Waiting (`for`) begins anew."""
    state = TRANSITIONS[standing.state, Sign.DISMISS]
    if standing.state is State.ACTIVE:
        return _ended(standing, replace(standing, state=state, since=None), policy, at, "dismissed")
    if standing.state is State.PENDING:
        return replace(standing, state=state, since=None), ()
    return standing, ()


def next_due(standing: Standing, policy: Policy, heard_until: int = NO_LIMIT) -> int | None:
    """When the next timer falls due; None: there is none. `heard_until`: see `advance`."""
    found = []
    if standing.ending is not None:
        found.append(standing.ending.hold.until)
    if standing.since is not None and standing.state is State.PENDING:
        over = standing.since + policy.for_ms
        found.append(over if over <= heard_until else None)
    if standing.since is not None and standing.state is State.ACTIVE:
        if standing.held is not None:
            found.append(standing.held.until)
        elif policy.remind_every:
            found.append(standing.since + (standing.reminded + 1) * policy.remind_every)
    return min((due for due in found if due is not None), default=None)


def advance(
    standing: Standing, policy: Policy, before: int, most: int = NO_LIMIT, heard_until: int = NO_LIMIT
) -> tuple[Standing, tuple[Happening, ...], bool]:
    """Fire the timers due before this instant, until there have been so many happenings.

    Returns also whether all have been fired. `heard_until`: up to here the counts are known to stand; `for` can't be
    over later.
    """
    happened: tuple[Happening, ...] = ()
    while True:
        due = next_due(standing, policy, heard_until)
        if due is None or due >= before:
            return standing, happened, True
        if len(happened) >= most:
            return standing, happened, False
        standing, more = _fire(standing, policy, due)
        happened += more


def ask_again(standing: Standing, policy: Policy, now: int) -> Standing:
    """The gate may be another one than when it was asked: what waits for it then waits from now on."""
    ending, held = standing.ending, standing.held
    if ending is not None and policy.gate.next_open(ending.hold.asked) != ending.hold.until:
        standing = replace(standing, ending=replace(ending, hold=Hold(now, policy.gate.next_open(now))))
    if held is not None and _announceable(standing, policy, held.asked) != held.until:
        standing = replace(standing, held=Hold(now, _announceable(standing, policy, now)))
    return standing


def _fire(standing: Standing, policy: Policy, at: int) -> Moved:
    """The timer due at this instant; of several, the first of this order."""
    ending = standing.ending
    if ending is not None and ending.hold.until == at:
        return replace(standing, ending=None), (EndTold(at, ending.kind, ending.at),)
    if standing.state is State.PENDING:
        return _open(standing, policy, at)
    if standing.held is not None:
        return _announce(standing, policy, at)
    number = standing.reminded + 1
    told = (Reminded(at, number),) if policy.gate.is_open(at) else ()
    return replace(standing, reminded=number), told


def _open(standing: Standing, policy: Policy, at: int) -> Moved:
    hold = Hold(at, _announceable(standing, policy, at))
    standing = replace(standing, state=State.ACTIVE, since=at, held=hold, reminded=0)
    if hold.until != at:
        return standing, (Opened(at),)
    standing, told = _announce(standing, policy, at)
    return standing, (Opened(at), *told)


def _announce(standing: Standing, policy: Policy, at: int) -> Moved:
    assert standing.since is not None
    told: tuple[Happening, ...] = (Announced(at),)
    ending = standing.ending
    if ending is not None:  # what was before is told first
        told = (EndTold(at, ending.kind, ending.at), *told)
    reminded = (at - standing.since) // policy.remind_every if policy.remind_every else 0
    return replace(standing, held=None, ending=None, reminded=reminded), told


def _announceable(standing: Standing, policy: Policy, at: int) -> int | None:
    """From when on a new activation may be announced."""
    if standing.resolved_at is not None:
        at = max(at, standing.resolved_at + policy.cooldown)
    return policy.gate.next_open(at)


def _ended(before: Standing, after: Standing, policy: Policy, at: int, kind: EndKind) -> Moved:
    """An activation nobody was told of ends without a word."""
    announced = before.held is None
    after = replace(after, held=None, reminded=0)
    ended = Ended(at, kind, announced)
    if not announced:
        return after, (ended,)
    if kind == "resolved":
        after = replace(after, resolved_at=at)
    opens = policy.gate.next_open(at)
    if opens == at:
        return after, (ended, EndTold(at, kind, at))
    return replace(after, ending=Ending(kind, at, Hold(at, opens))), (ended,)
