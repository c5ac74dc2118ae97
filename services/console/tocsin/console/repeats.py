"""Writes that may be sent again: what an `Idempotency-Key` leaves in `configuration`, in the very change that it made.

So the write is done and known to be done, or neither, whenever the console dies; and two consoles that get the same
request at once do it once, because only one of them can write.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from contextvars import ContextVar
from dataclasses import dataclass

from tocsin.console.state import Delete, Operation, Put, State
from tocsin.shared.configuration.records import Answered
from tocsin.shared.errors import UsageError
from tocsin.shared.ids import NAMESPACE

LIFETIME_MS = 24 * 3_600_000
MOST_REMEMBERED = 5_000
"""Beyond it the oldest go first: every process has them in its copy of the configuration."""

AT_ONCE = 50
"""Of what is over, with one change."""


class KeyReusedError(UsageError):
    """This Idempotency-Key was used for another request."""

    def __init__(self) -> None:
        super().__init__("this Idempotency-Key was used for another request")


@dataclass(frozen=True, slots=True)
class Keyed:
    """A request with a key."""

    id: str
    fingerprint: str
    until: int

    @classmethod
    def of(cls, caller_id: str, key: str, fingerprint: str, now_ms: int) -> Keyed:
        made = uuid.uuid5(NAMESPACE, f"answered\x1f{caller_id}\x1f{key}")
        return cls(str(made), fingerprint, now_ms + LIFETIME_MS)


in_hand: ContextVar[Keyed | None] = ContextVar("in_hand", default=None)
"""The keyed request on whose behalf this task works; whatever it writes is written with its key."""


def done_before(state: State, keyed: Keyed | None, now_ms: int) -> bool:
    """Raises KeyReusedError when that was another request."""
    found = state.by_id(keyed.id) if keyed is not None else None
    if keyed is None or not isinstance(found, Answered) or found.until <= now_ms:
        return False
    if found.fingerprint != keyed.fingerprint:
        raise KeyReusedError
    return True


def with_key(state: State, operations: Sequence[Operation], keyed: Keyed, now_ms: int) -> Sequence[Operation]:
    """The change, and that it has been made; some of what is over goes with it."""
    if not operations:
        return operations
    known = [one for one in state.of_kind(Answered.kind) if isinstance(one, Answered) and one.id != keyed.id]
    known.sort(key=lambda one: one.until)
    too_many = max(0, len(known) + 1 - MOST_REMEMBERED)
    over = [one for place, one in enumerate(known) if place < too_many or one.until <= now_ms]
    made = Answered(id=keyed.id, name=keyed.id, fingerprint=keyed.fingerprint, until=keyed.until)
    return [*operations, *(Delete(one.id) for one in over[:AT_ONCE]), Put(made)]
