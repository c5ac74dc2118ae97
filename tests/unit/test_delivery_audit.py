"""Audit records as they are written are audit records as they are documented."""

from __future__ import annotations

import json

import msgspec

from delivering import delivery_for, unsigned_recipient
from tocsin.dispatcher.core.audit import Attempt, AuditLine, Origin, attempted, ended, routed
from tocsin.dispatcher.core.outcomes import Accepted, Unknown
from tocsin.dispatcher.core.retries import Done, RetryAt
from tocsin.shared.schemas.audit import AuditRecord
from tocsin.shared.schemas.base import Source
from tocsin.shared.schemas.delivery import RenderedBody

RECIPIENT = unsigned_recipient("https://example.com/secret-path", "Hook")
DELIVERY = delivery_for(RECIPIENT, rendered=RenderedBody(content_type="text/plain", text="hé"))
ORIGIN = Origin(Source(topic="t", partition=1, offset=2), "7")


def test_the_line_has_the_fields_of_the_record() -> None:
    assert {field.name for field in msgspec.structs.fields(AuditLine)} == set(AuditRecord.model_fields)


def test_each_line_reads_back_as_the_record_and_byte_for_byte_as_it_would_write_it() -> None:
    attempt = Attempt(2, 1000, 1234, 233.9876, Unknown("connection_lost"), "webhook")
    lines = [
        routed(DELIVERY, ORIGIN),
        routed(DELIVERY, Origin(None, "replay")),
        attempted(DELIVERY, attempt, RetryAt(5000, 6234), ORIGIN),
        attempted(DELIVERY, msgspec.structs.replace(attempt, outcome=Accepted(200, "ok")), Done(), ORIGIN),
        ended(DELIVERY, "delivered", 5, ORIGIN),
        ended(DELIVERY, "cancelled", 5, ORIGIN, reason="recipient_deleted"),
    ]
    for line in lines:
        record = AuditRecord.decode(line.encode())
        assert json.loads(record.encode()) == json.loads(line.encode())
    found = AuditRecord.decode(lines[2].encode())
    assert (found.kind, found.outcome, found.reason, found.attempt, found.next_attempt_at) == (
        "attempt",
        "unknown",
        "connection_lost",
        2,
        6234,
    )
    assert (found.body_bytes, found.latency_ms, found.time) == (3, 233.988, 1234)


def test_nothing_of_the_address_or_the_body_is_in_it() -> None:
    attempt = Attempt(1, 1000, 1234, 1.0, Accepted(200), "webhook")
    text = attempted(DELIVERY, attempt, Done(), ORIGIN).encode()
    assert b"example.com" not in text
    assert "hé".encode() not in text


def test_ids_are_those_of_the_same_attempt_and_no_other() -> None:
    assert ended(DELIVERY, "delivered", 1, ORIGIN).id == ended(DELIVERY, "delivered", 2, ORIGIN).id
    again = DELIVERY.model_copy(update={"replay": 1})
    assert ended(again, "delivered", 1, ORIGIN).id != ended(DELIVERY, "delivered", 1, ORIGIN).id
