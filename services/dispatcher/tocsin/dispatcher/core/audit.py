"""The records of `delivery-audit`. Pure. Nothing secret: recipients by id and name, no address, no body."""

from __future__ import annotations

import hashlib
from typing import Any, assert_never

import msgspec

from tocsin.dispatcher.core.outcomes import Accepted, Outcome, Refused, Unavailable, Unknown
from tocsin.dispatcher.core.retries import Decision, RetryAt
from tocsin.shared.ids import audit_id
from tocsin.shared.schemas.audit import AuditKind
from tocsin.shared.schemas.base import Ref, Source
from tocsin.shared.schemas.delivery import Delivery, RenderedBody
from tocsin.shared.times import format_rfc3339


class _Ref(msgspec.Struct, frozen=True):
    id: str
    name: str


class Place(msgspec.Struct, frozen=True):
    """A `Source` that costs little to make."""

    topic: str
    partition: int
    offset: int


class AuditLine(msgspec.Struct, frozen=True, kw_only=True):
    """An `AuditRecord` as it is written: the same fields, tested against it. Two a delivery: this costs a tenth."""

    id: str
    kind: AuditKind
    delivery_id: str
    replay: int
    event_id: str
    activation_id: str
    notification: _Ref
    recipient: _Ref
    time: str
    attempt: int | None
    source: Place | None
    dispatcher: str
    schema_version: int = 1
    channel: str | None = None
    outcome: str | None = None
    reason: str | None = None
    status: int | None = None
    latency_ms: float | None = None
    response_excerpt: str | None = None
    next_attempt_at: str | None = None
    body_sha256: str | None = None
    body_bytes: int | None = None

    def encode(self) -> bytes:
        """UTF-8 JSON, as it goes to the topic."""
        return _encoder.encode(self)


_encoder = msgspec.json.Encoder()


class Attempt(msgspec.Struct, frozen=True):
    """One try, as it went."""

    number: int  # 1 is the first
    started_ms: int
    ended_ms: int
    latency_ms: float
    outcome: Outcome
    channel: str  # webhook or email


class Origin(msgspec.Struct, frozen=True):
    """Where the delivery's record stands (None: a replay by hand), and who worked on it."""

    source: Source | Place | None
    dispatcher: str


def routed(delivery: Delivery, origin: Origin) -> AuditLine:
    """A delivery has been made; its terminal record must follow."""
    return _line(delivery, "routed", delivery.routed_at, 0, origin)


def attempted(delivery: Delivery, attempt: Attempt, decision: Decision, origin: Origin) -> AuditLine:
    """One try, whatever its end."""
    event, outcome = delivery.event, attempt.outcome
    digest, size = _body(delivery.rendered)
    # As `_line` does it, written out: handing on a dozen fields more would double what the record costs.
    return AuditLine(
        id=audit_id(delivery.id, delivery.replay, "attempt", attempt.number),
        kind="attempt",
        delivery_id=delivery.id,
        replay=delivery.replay,
        event_id=event.id,
        activation_id=event.activation_id,
        notification=_ref(event.notification),
        recipient=_ref(delivery.recipient),
        time=format_rfc3339(attempt.ended_ms),
        attempt=attempt.number,
        source=_place(origin.source),
        dispatcher=origin.dispatcher,
        channel=attempt.channel,
        outcome=outcome_word(outcome),
        reason=None if isinstance(outcome, Accepted) else outcome.reason,
        status=outcome.status,
        latency_ms=round(attempt.latency_ms, 3),
        response_excerpt=outcome.excerpt or None,
        next_attempt_at=format_rfc3339(decision.due_ms) if isinstance(decision, RetryAt) else None,
        body_sha256=digest,
        body_bytes=size,
    )


def ended(delivery: Delivery, kind: AuditKind, now_ms: int, origin: Origin, *, reason: str | None = None) -> AuditLine:
    """The terminal record, of which there is exactly one; or the note `suppressed`, which is none."""
    return _line(delivery, kind, now_ms, delivery.attempts, origin, reason)


def outcome_word(outcome: Outcome) -> str:
    """As audit records and metrics call it."""
    match outcome:
        case Accepted():
            return "ok"
        case Refused() | Unavailable():
            return "failed"
        case Unknown():
            return "unknown"
        case _:
            assert_never(outcome)


def _body(rendered: RenderedBody | None) -> tuple[str, int] | tuple[None, None]:
    """Digest and size."""
    if rendered is None:
        return None, None
    data = rendered.text.encode()
    return hashlib.sha256(data).hexdigest(), len(data)


def _ref(ref: Ref) -> Any:
    """Of a delivery that was read quickly it is a struct already."""
    return _Ref(ref.id, ref.name) if isinstance(ref, Ref) else ref


def _place(source: Source | Place | None) -> Place | None:
    return Place(source.topic, source.partition, source.offset) if isinstance(source, Source) else source


def _line(
    delivery: Delivery, kind: AuditKind, time_ms: int, attempt: int, origin: Origin, reason: str | None = None
) -> AuditLine:
    event = delivery.event
    return AuditLine(
        id=audit_id(delivery.id, delivery.replay, kind, attempt),
        kind=kind,
        delivery_id=delivery.id,
        replay=delivery.replay,
        event_id=event.id,
        activation_id=event.activation_id,
        notification=_ref(event.notification),
        recipient=_ref(delivery.recipient),
        time=format_rfc3339(time_ms),
        attempt=attempt or None,
        source=_place(origin.source),
        dispatcher=origin.dispatcher,
        reason=reason,
    )
