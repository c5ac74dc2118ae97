"""Silences, dismissals and what is to be forgotten: the operations they come to. Pure.

What is long over is removed with the next one, so nothing piles up.
"""

from __future__ import annotations

from tocsin.console.state import Delete, Operation, Put, State
from tocsin.shared.configuration.records import Dismissal, Forgetting, Silence
from tocsin.shared.configuration.silences import matcher_text

KEEP_MS = 30 * 86_400_000
"""How long what is over stays. Dismissals and forgettings must outlast the longest absence of the activator
and the detector."""


def silence_name(silence_id: str) -> str:
    """Of one that nobody has named."""
    return f"silence-{silence_id[-12:]}"


def add_silence(state: State, silence: Silence, now_ms: int) -> list[Operation]:
    return [Put(silence, 0), *_outdated(state, now_ms)]


def expire_silence(silence: Silence, now_ms: int) -> list[Operation]:
    """End it now; nothing to do when it is over."""
    if silence.until <= now_ms:
        return []
    # One that has not begun ends where it begins.
    ended = silence.model_copy(update={"until": max(now_ms, silence.starts_at)})
    return [Put(ended, silence.revision)]


def dismiss(state: State, activation_id: str, *, by: str, comment: str, new_id: str, now_ms: int) -> list[Operation]:
    """Nothing to do when somebody has dismissed it already."""
    if state.find(Dismissal.kind, activation_id) is not None:
        return []
    made = Dismissal(id=new_id, name=activation_id, activation_id=activation_id, dismissed_by=by, comment=comment)
    return [Put(made, 0), *_outdated(state, now_ms)]


def forget(state: State, forgetting: Forgetting, now_ms: int) -> list[Operation]:
    return [Put(forgetting, 0), *_outdated(state, now_ms)]


def _outdated(state: State, now_ms: int) -> list[Operation]:
    over = [
        record
        for record in state.records.values()
        if (isinstance(record, Silence) and record.until < now_ms - KEEP_MS)
        or (isinstance(record, Dismissal | Forgetting) and record.updated_at < now_ms - KEEP_MS)
    ]
    return [Delete(record.id, record.revision) for record in over]


def describe_silence(silence: Silence) -> str:
    return " ".join(matcher_text(matcher) for matcher in silence.matchers)
