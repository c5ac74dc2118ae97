"""How a recipient stands: its circuit, its failures, whether it is stopped. Pure.

The circuit opens after five failures in a row, or when more than half of the last twenty failed. Then one delivery
at a time, the oldest that waits, probes it: after 30 s, 1 min, 2 min, … at most 10 min. A success closes it.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from tocsin.dispatcher.core.outcomes import Accepted, Outcome, Refused, Unavailable, Unknown
from tocsin.shared.configuration.records import Recipient
from tocsin.shared.schemas.recipient_state import RecipientState, Stop

Hold = Literal["paused", "disabled", "circuit_open"]

OURS = frozenset({"shutdown", "internal_error"})
"""Reasons that say nothing about the recipient."""

SLOW_DOWN = frozenset({429, 502, 503, 504})
"""Statuses by which a receiver says that it is too much for it."""

MAX_STOPS = 100
FORGET_STOPS_AFTER_MS = 60 * 86_400_000
"""Twice the longest life of a delivery."""

MAX_RETRYING = 64
"""Of the activations whose `activated` waits to be tried again: the row is written with each of them."""

Verdict = Literal["ok", "failed", "refused", "nothing"]
"""What an attempt says of its recipient: `refused` is about the delivery alone, `nothing` was our own doing."""


@dataclass(frozen=True, slots=True)
class CircuitPolicy:
    """Times in milliseconds."""

    in_a_row: int = 5
    window: int = 20
    most_failed: float = 0.5
    first_probe: int = 30_000
    longest_probe: int = 600_000
    disable_after: int = 5 * 86_400_000  # of nothing but failures


class Recent:
    """The last attempts, for the share that failed. Not kept over a restart."""

    def __init__(self, size: int) -> None:
        self._failed: deque[bool] = deque(maxlen=size)

    def add(self, failed: bool) -> None:
        self._failed.append(failed)

    def share(self) -> float:
        """0 until there are enough to judge by."""
        return sum(self._failed) / len(self._failed) if len(self._failed) == self._failed.maxlen else 0.0

    def clear(self) -> None:
        self._failed.clear()


def verdict_of(outcome: Outcome) -> Verdict:
    match outcome:
        case Accepted():
            return "ok"
        case Refused(reason=reason):
            return "failed" if reason == "gone" else "refused"
        case Unavailable(reason=reason) | Unknown(reason=reason):
            return "nothing" if reason in OURS else "failed"


def after_attempt(
    state: RecipientState, outcome: Outcome, recent: Recent, *, probe: bool, now_ms: int, policy: CircuitPolicy
) -> RecipientState:
    """The same object where nothing changes, as after most successes."""
    match verdict_of(outcome):
        case "nothing":
            return state
        case "ok" | "refused":
            recent.add(False)
            return _recovered(state)
    recent.add(True)
    assert not isinstance(outcome, Accepted)
    since = now_ms if state.failing_since is None else state.failing_since
    update: dict[str, object] = {
        "failures_in_a_row": state.failures_in_a_row + 1,
        "failing_since": since,
        "last_reason": outcome.reason,
    }
    if state.opened_at is not None and probe:
        every = min(max(state.probe_every, policy.first_probe) * 2, policy.longest_probe)
        update |= {"probe_every": every, "probe_at": now_ms + every}
    elif state.opened_at is None and (
        state.failures_in_a_row + 1 >= policy.in_a_row or recent.share() > policy.most_failed
    ):
        recent.clear()
        update |= {"opened_at": now_ms, "probe_every": policy.first_probe, "probe_at": now_ms + policy.first_probe}
    if isinstance(outcome, Refused):
        update |= {"disabled_at": now_ms, "disabled_because": "gone"}
    elif state.disabled_at is None and now_ms - since >= policy.disable_after:
        update |= {"disabled_at": now_ms, "disabled_because": "failing"}
    return state.model_copy(update=update)


def _recovered(state: RecipientState) -> RecipientState:
    if not state.failures_in_a_row and state.opened_at is None and state.failing_since is None:
        return state
    return state.model_copy(
        update={
            "failures_in_a_row": 0,
            "failing_since": None,
            "last_reason": None,
            "opened_at": None,
            "probe_at": None,
            "probe_every": 0,
            "told": False,
        }
    )


def with_retrying(state: RecipientState, activation: str, *, still: bool) -> RecipientState:
    """Whether this activation's `activated` waits for another attempt now. The same object where nothing changes."""
    if (activation in state.retrying) == still:
        return state
    others = tuple(one for one in state.retrying if one != activation)
    return state.model_copy(update={"retrying": (*others, activation)[-MAX_RETRYING:] if still else others})


def worth_writing(before: RecipientState, after: RecipientState) -> bool:
    """Whether the row says something new: the mere count of failures is not kept up to date."""
    counted = {"failures_in_a_row": 0, "last_reason": None}
    return before is not after and before.model_copy(update=counted) != after.model_copy(update=counted)


def keeps_failing(state: RecipientState, policy: CircuitPolicy) -> bool:
    """Whether its owner is to be told: a probe has failed as well, or it was disabled. Once a row of failures."""
    if state.told or state.failing_since is None:
        return False
    return state.disabled_at is not None or (state.opened_at is not None and state.probe_every > policy.first_probe)


def is_disabled(state: RecipientState, recipient: Recipient) -> bool:
    by_itself = state.disabled_at is not None and state.disabled_at >= recipient.enabled_at
    return by_itself or not recipient.enabled


def hold_of(state: RecipientState, recipient: Recipient) -> Hold | None:
    """Why its deliveries wait, if they do."""
    if is_disabled(state, recipient):
        return "disabled"
    if recipient.paused:
        return "paused"
    return "circuit_open" if state.opened_at is not None else None


def reconciled(state: RecipientState, recipient: Recipient, now_ms: int) -> RecipientState:
    """With what has been configured since: enabling forgets failures, and stops begin and end."""
    if state.disabled_at is not None and recipient.enabled_at > state.disabled_at:
        state = state.model_copy(update={"disabled_at": None, "disabled_because": None})
        state = _recovered(state)
    if state.failing_since is not None and recipient.enabled_at > state.failing_since:
        state = _recovered(state)
    if state.name != recipient.name and state.model_copy(update={"name": ""}) != RecipientState():
        state = state.model_copy(update={"name": recipient.name})
    stopped = recipient.paused or is_disabled(state, recipient)
    stops = state.stops
    if stopped and not (stops and stops[-1].end is None):
        stops = (*stops, Stop(start=now_ms))
    elif not stopped and stops and stops[-1].end is None:
        stops = (*stops[:-1], Stop(start=stops[-1].start, end=max(now_ms, stops[-1].start)))
    if stops is state.stops:
        return state
    return state.model_copy(update={"stops": _bounded(stops, now_ms), "name": recipient.name})


def _bounded(stops: tuple[Stop, ...], now_ms: int) -> tuple[Stop, ...]:
    """Without those that no living delivery has seen. Too many are joined over their shortest gap: later expiry."""
    kept = [stop for stop in stops if stop.end is None or now_ms - stop.end < FORGET_STOPS_AFTER_MS]
    while len(kept) > MAX_STOPS:
        gaps = [(after.start - (before.end or 0), at) for at, (before, after) in enumerate(pairwise(kept))]
        at = min(gaps)[1]
        kept[at : at + 2] = [Stop(start=kept[at].start, end=kept[at + 1].end)]
    return tuple(kept)


def age_ms(state: RecipientState, since_ms: int, now_ms: int) -> int:
    """How old something of this recipient's is: time in which it was paused or disabled does not count."""
    stopped = 0
    for stop in state.stops:
        end = now_ms if stop.end is None else min(stop.end, now_ms)
        stopped += max(0, end - max(stop.start, since_ms))
    return now_ms - since_ms - stopped
