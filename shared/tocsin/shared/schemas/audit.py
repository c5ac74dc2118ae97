"""`delivery-audit`: what became of every delivery, attempt by attempt. Exactly one terminal per (delivery, replay)."""

from __future__ import annotations

from typing import Literal

from tocsin.shared.schemas.base import Ref, Source, Time, Wire

AuditKind = Literal["routed", "attempt", "delivered", "dead-lettered", "cancelled", "expired", "suppressed"]
TERMINAL: frozenset[str] = frozenset({"delivered", "dead-lettered", "cancelled", "expired"})


class AuditRecord(Wire):
    """One thing that happened to one delivery."""

    schema_version: Literal[1] = 1
    id: str  # of this record
    kind: AuditKind
    delivery_id: str
    replay: int = 0
    event_id: str
    activation_id: str
    notification: Ref
    recipient: Ref  # id and name, never an address
    time: Time
    channel: Literal["webhook", "email"] | None = None
    attempt: int | None = None  # 1 is the first
    outcome: Literal["ok", "failed", "unknown"] | None = None
    reason: str | None = None  # the class of the cause, such as timeout or http_503
    status: int | None = None  # HTTP status or SMTP code
    latency_ms: float | None = None
    response_excerpt: str | None = None  # at most 1 KiB, control characters escaped
    next_attempt_at: Time | None = None
    body_sha256: str | None = None
    body_bytes: int | None = None
    source: Source | None = None
    dispatcher: str | None = None  # which process
