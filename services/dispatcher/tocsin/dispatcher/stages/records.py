"""Settlements as records on topics."""

from __future__ import annotations

from tocsin.dispatcher.core.audit import AuditLine, ended
from tocsin.dispatcher.core.quick_delivery import as_model
from tocsin.dispatcher.core.retries import RetryAt
from tocsin.dispatcher.stages.steps import Out, Settled, Taken
from tocsin.shared.headers import Headers, cloud_event_at, traceparent
from tocsin.shared.schemas.audit import TERMINAL, AuditKind
from tocsin.shared.schemas.delivery import DeadLetter, Delivery
from tocsin.shared.schemas.recipient_state import RecipientState
from tocsin.shared.topics import (
    DELIVERIES,
    DELIVERY_AUDIT,
    DELIVERY_DEAD_LETTER,
    DELIVERY_PARKED,
    RECIPIENT_STATE,
    retry_topic,
)

DUE_HEADER = "due"
"""Epoch milliseconds before which a retry must not start."""

LANE_HEADER = "lane"
"""Of a parked delivery with an order: one of a lane at a time."""

FRONT_HEADER = "front"
"""Of the head of a lane, parked anew: it stays the head."""

INSTEAD_HEADER = "instead-of"
"""The offset of the parked record that this one, or this tombstone, replaces."""

SOURCE = "/dispatcher"


def trace_of(delivery: Delivery) -> str:
    event = delivery.event
    return traceparent(event.activation_id, event.id)


def done_key(delivery: Delivery) -> str:
    """What repeat suppression remembers."""
    return f"{delivery.id}:{delivery.replay}"


def audit_out(line: AuditLine, trace: str, source: str = SOURCE) -> Out:
    """An audit record as it goes to its topic."""
    headers = cloud_event_at(line.id, f"dev.tocsin.delivery.{line.kind}", f"/tocsin{source}", line.time)
    headers.append(("traceparent", trace))
    return Out(DELIVERY_AUDIT, line.delivery_id.encode(), line.encode(), headers)


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


def parked_key(delivery: Delivery) -> str:
    """What a parked delivery is compacted by."""
    return f"{delivery.recipient.id}/{delivery.id}/{delivery.replay}"


def parked_out(
    taken: Taken, partition: int, lane: str | None, *, value: bytes | None = None, due_ms: int = 0, front: bool = False
) -> Out:
    """The delivery, waiting for its recipient or its lane, in its recipient's partition."""
    headers: Headers = [("schema", b"1"), ("traceparent", trace_of(taken.delivery).encode())]
    if lane is not None:
        headers.append((LANE_HEADER, lane.encode()))
    if due_ms:
        headers.append((DUE_HEADER, str(due_ms).encode()))
    if front:
        headers.append((FRONT_HEADER, b"1"))
    if taken.parked:
        headers.append((INSTEAD_HEADER, str(taken.offset).encode()))
    key = parked_key(taken.delivery).encode()
    return Out(DELIVERY_PARKED, key, taken.value if value is None else value, headers, partition)


def unparked_out(key: str, offset: int, lane: str | None, partition: int) -> Out:
    """The tombstone of a parked delivery."""
    headers: Headers = [(INSTEAD_HEADER, str(offset).encode())]
    if lane is not None:
        headers.append((LANE_HEADER, lane.encode()))
    return Out(DELIVERY_PARKED, key.encode(), None, headers, partition)


def state_out(recipient: str, state: RecipientState, partition: int) -> Out:
    """A row of `recipient-state`."""
    return Out(RECIPIENT_STATE, recipient.encode(), state.encode(), [("schema", b"1")], partition)


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
        (audit_out(record, trace_of(delivery)), *more),
        terminal,
        done_key(delivery) if terminal else None,
    )


def give_up(taken: Taken, now_ms: int, reason: str, detail: str = "") -> Settled:
    """A dead letter, before it was tried."""
    letter = DeadLetter(delivery=as_model(taken.delivery), reason=reason, detail=detail, time=now_ms)
    return end_without_attempt(taken, "dead-lettered", now_ms, reason, dead_letter_out(letter))
