"""How a recipient stands: by hand, by its circuit, by its last failures. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from tocsin.shared.configuration.records import Recipient
from tocsin.shared.schemas.recipient_state import RecipientState


@dataclass(frozen=True, slots=True)
class Standing:
    """How a recipient stands, in a word, and what tone it has."""

    word: str
    tone: str
    why: str = ""


def standing(recipient: Recipient, state: RecipientState | None) -> Standing:
    """By hand before by circuit."""
    if not recipient.enabled:
        return Standing("disabled", "bad", "by hand")
    if state and state.disabled_at is not None and state.disabled_at > recipient.enabled_at:
        why = {"gone": "it answered 410 Gone", "failing": "nothing but failures for days"}
        return Standing("disabled", "bad", why.get(state.disabled_because or "", ""))
    if recipient.paused:
        return Standing("paused", "warn", "its deliveries wait")
    if state and state.opened_at is not None:
        return Standing("circuit open", "bad", f"failing: {state.last_reason or 'no answer'}")
    if state and state.failures_in_a_row:
        return Standing("failing", "warn", state.last_reason or "")
    return Standing("ready", "good")
