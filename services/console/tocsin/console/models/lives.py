"""What `delivery-audit` says of deliveries, folded: one row for all that a batch has of a delivery. Pure.

A delivery's records are in one partition, in order, and mostly close together: its whole life is one insertion then,
and not an insertion, two updates and three rows of history.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import msgspec

from tocsin.shared.schemas.audit import TERMINAL
from tocsin.shared.times import parse_rfc3339

_RANK = "CASE {0}state WHEN 'waiting' THEN 0 WHEN 'retrying' THEN 1 ELSE 2 END"
BEGUN = f"""
INSERT INTO deliveries VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (id) DO UPDATE SET replay = excluded.replay, updated_at = excluded.updated_at, state = excluded.state,
    attempts = excluded.attempts, channel = excluded.channel, outcome = excluded.outcome, reason = excluded.reason,
    status = excluded.status, latency_ms = excluded.latency_ms, next_at = excluded.next_at
WHERE (excluded.replay, {_RANK.format("excluded.")}, excluded.attempts)
    > (deliveries.replay, {_RANK.format("deliveries.")}, deliveries.attempts)
"""  # noqa: S608  a text of ours
ATTEMPT = """
UPDATE deliveries SET attempts = max(attempts, ?), channel = ?, outcome = ?, reason = ?, status = ?, latency_ms = ?,
    next_at = ?, updated_at = ?, state = CASE WHEN state IN ('waiting', 'retrying') THEN 'retrying' ELSE state END
WHERE id = ? AND replay = ?
"""
ENDED = (
    "UPDATE deliveries SET state = ?, reason = coalesce(?, reason), updated_at = ?, next_at = NULL "
    "WHERE id = ? AND replay = ?"
)
STEPS = "INSERT INTO steps SELECT rowid, ? FROM deliveries WHERE id = ?"
REPLAYED = "UPDATE letters SET open = 0 WHERE delivery_id = ? AND replay < ? AND open = 1"
LIVES = (BEGUN, ATTEMPT, ENDED, STEPS)
"""In this order; REPLAYED after the dead letters themselves."""


class _Ref(msgspec.Struct, gc=False):
    id: str
    name: str


class _Source(msgspec.Struct, gc=False):
    topic: str
    partition: int
    offset: int


class Audit(msgspec.Struct, gc=False):
    """An audit record, read."""

    id: str
    kind: str
    delivery_id: str
    event_id: str
    activation_id: str
    notification: _Ref
    recipient: _Ref
    time: str
    replay: int = 0
    channel: str | None = None
    attempt: int | None = None
    outcome: str | None = None
    reason: str | None = None
    status: int | None = None
    latency_ms: float | None = None
    response_excerpt: str | None = None
    next_attempt_at: str | None = None
    body_sha256: str | None = None
    body_bytes: int | None = None
    source: _Source | None = None
    dispatcher: str | None = None
    schema_version: int = 1


class _Step(msgspec.Struct, array_like=True, gc=False):
    """A record without what all of its delivery's have."""

    id: str
    kind: str
    time: str
    replay: int
    channel: str | None
    attempt: int | None
    outcome: str | None
    reason: str | None
    status: int | None
    latency_ms: float | None
    response_excerpt: str | None
    next_attempt_at: str | None
    body_sha256: str | None
    body_bytes: int | None
    source: _Source | None
    dispatcher: str | None
    schema_version: int


decode_audit = msgspec.json.Decoder(Audit).decode
_encode_steps = msgspec.msgpack.Encoder().encode
_decode_steps = msgspec.msgpack.Decoder(list[_Step]).decode


class Life:
    """Of one delivery and replay, as far as a batch has it."""

    __slots__ = ("_attempt", "_begun", "_end", "_steps")

    def __init__(self) -> None:
        self._begun: Audit | None = None
        self._attempt: Audit | None = None
        self._end: Audit | None = None
        self._steps: list[_Step] = []

    def add(self, one: Audit) -> None:
        """Raises ValueError for a time that is none."""
        _at(one.time), _at(one.next_attempt_at)
        if one.kind == "routed":
            self._begun = self._begun or one
        elif one.kind == "attempt":
            self._attempt = one
        elif one.kind in TERMINAL:
            self._end = one
        # What one would write, written out: this is made for each of millions.
        self._steps.append(
            _Step(
                one.id, one.kind, one.time, one.replay, one.channel, one.attempt, one.outcome, one.reason, one.status,
                one.latency_ms, one.response_excerpt, one.next_attempt_at, one.body_sha256, one.body_bytes, one.source,
                one.dispatcher, one.schema_version,
            )
        )  # fmt: skip

    def rows(self, delivery: str, replay: int) -> Iterator[tuple[str, Sequence[Any]]]:
        """Statements, each with one row."""
        attempt, end = self._attempt, self._end
        if self._begun is not None:
            yield BEGUN, self._whole(self._begun)
            if replay:
                yield REPLAYED, (delivery, replay)
        else:
            if attempt is not None:
                facts = (attempt.attempt or 0, *_facts(attempt), _at(attempt.next_attempt_at), _at(attempt.time))
                yield ATTEMPT, (*facts, delivery, replay)
            if end is not None:
                yield ENDED, (end.kind, end.reason, _at(end.time), delivery, replay)
        yield STEPS, (_encode_steps(self._steps), delivery)

    def _whole(self, begun: Audit) -> Sequence[Any]:
        attempt, end = self._attempt, self._end
        last = end or attempt or begun
        state = end.kind if end else "retrying" if attempt else "waiting"
        channel, outcome, reason, status, latency = _facts(attempt) if attempt else (None,) * 5
        return (
            begun.delivery_id,
            begun.replay,
            begun.event_id,
            begun.activation_id,
            begun.notification.id,
            begun.notification.name,
            begun.recipient.id,
            begun.recipient.name,
            _at(begun.time),
            _at(last.time),
            state,
            (attempt.attempt or 0) if attempt else 0,
            channel,
            outcome,
            (end.reason if end else None) or reason,
            status,
            latency,
            _at(attempt.next_attempt_at) if attempt and not end else None,
        )


def _facts(attempt: Audit) -> tuple[Any, ...]:
    return attempt.channel, attempt.outcome, attempt.reason, attempt.status, attempt.latency_ms


def _at(time: str | None) -> int | None:
    return None if time is None else parse_rfc3339(time)


def steps_of(delivery: dict[str, Any], found: Iterable[bytes]) -> list[dict[str, Any]]:
    """The delivery's audit records as they were written, oldest first."""
    steps = [step for records in found for step in _decode_steps(records)]
    steps.sort(key=lambda step: (parse_rfc3339(step.time), step.attempt or 0))
    head = {
        "delivery_id": delivery["id"],
        "event_id": delivery["event_id"],
        "activation_id": delivery["activation_id"],
        "notification": {"id": delivery["notification_id"], "name": delivery["notification"]},
        "recipient": {"id": delivery["recipient_id"], "name": delivery["recipient"]},
    }
    return [{**head, **_as_written(step)} for step in steps]


def _as_written(step: _Step) -> dict[str, Any]:
    fields = msgspec.structs.asdict(step)
    return {**fields, "source": None if step.source is None else msgspec.structs.asdict(step.source)}
