"""Settlements as records on topics."""

from __future__ import annotations

from tocsin.dispatcher.core.audit import AuditLine, ended
from tocsin.dispatcher.core.retries import RetryAt
from tocsin.dispatcher.stages.steps import Out, Settled, Taken
from tocsin.shared.headers import cloud_event, traceparent
from tocsin.shared.schemas.audit import TERMINAL, AuditKind
from tocsin.shared.schemas.delivery import DeadLetter, Delivery
from tocsin.shared.topics import DELIVERIES, DELIVERY_AUDIT, DELIVERY_DEAD_LETTER, retry_topic

DUE_HEADER = "due"
"""Epoch milliseconds before which a retry must not start."""

SOURCE = "/dispatcher"


def trace_of(delivery: Delivery) -> str:
    return traceparent(delivery.event.activation_id, delivery.event.id)


def done_key(delivery: Delivery) -> str:
    """What repeat suppression remembers."""
    return f"{delivery.id}:{delivery.replay}"


def audit_out(line: AuditLine, time_ms: int, trace: str, source: str = SOURCE) -> Out:
    """An audit record as it goes to its topic."""
    return Out(
        DELIVERY_AUDIT,
        line.delivery_id.encode(),
        line.encode(),
        cloud_event(line.id, f"delivery.{line.kind}", source, time_ms, trace),
    )


def delivery_out(delivery: Delivery) -> Out:
    """A delivery that begins, or begins again."""
    return Out(
        DELIVERIES,
        delivery.recipient.id.encode(),
        delivery.encode(),
        [("schema", b"1"), ("traceparent", trace_of(delivery).encode())],
    )


def retry_out(delivery: Delivery, at: RetryAt) -> Out:
    """The delivery with its history and body, for the reader of its tier."""
    return Out(
        retry_topic(at.tier_ms),
        delivery.recipient.id.encode(),
        delivery.encode(),
        [(DUE_HEADER, str(at.due_ms).encode()), ("schema", b"1"), ("traceparent", trace_of(delivery).encode())],
    )


def dead_letter_out(letter: DeadLetter) -> Out:
    return Out(
        DELIVERY_DEAD_LETTER,
        letter.delivery.recipient.id.encode(),
        letter.encode(),
        [("schema", b"1"), ("traceparent", trace_of(letter.delivery).encode())],
    )


def end_without_attempt(taken: Taken, kind: AuditKind, now_ms: int, reason: str, *more: Out) -> Settled:
    """Ended, or suppressed, before it was tried."""
    delivery = taken.delivery
    record = ended(delivery, kind, now_ms, taken.origin, reason=reason)
    terminal = kind if kind in TERMINAL else None
    return Settled(
        taken.partition,
        taken.offset,
        (audit_out(record, now_ms, trace_of(delivery)), *more),
        terminal,
        done_key(delivery) if terminal else None,
    )


def give_up(taken: Taken, now_ms: int, reason: str, detail: str = "") -> Settled:
    """A dead letter, before it was tried."""
    letter = DeadLetter(delivery=taken.delivery, reason=reason, detail=detail, time=now_ms)
    return end_without_attempt(taken, "dead-lettered", now_ms, reason, dead_letter_out(letter))
