"""Ids. Those of activations, events, deliveries and changes come from their cause, so a replay makes them again."""

from __future__ import annotations

import hashlib
import json
import os
import uuid

NAMESPACE = uuid.UUID("6f1d1c1e-2d0b-5a7e-9b58-7c6f0e1f3a11")
"""Namespace of every UUIDv5 here. Changing it would make every replay look new."""


_SEED = hashlib.sha1(NAMESPACE.bytes, usedforsecurity=False)
_VARIANT = {digit: "89ab"[int(digit, 16) & 3] for digit in "0123456789abcdef"}


def _derived(*parts: object) -> str:
    # As JSON, two lists of parts never join to the same text, whatever characters a system's name has.
    texts = list(map(str, parts))
    plain = '", "'.join(texts)
    # What needs no escape is written out: this is most of what an id costs.
    unescaped = plain.isascii() and plain.isprintable() and "\\" not in plain
    unescaped = unescaped and plain.count('"') == 2 * len(texts) - 2
    name = f'["{plain}"]'.encode() if unescaped else json.dumps(texts).encode()
    # str(uuid.uuid5(NAMESPACE, name)), written out: four a delivery, and the object would be most of the cost.
    found = _SEED.copy()
    found.update(name)
    digest = found.hexdigest()
    return f"{digest[:8]}-{digest[8:12]}-5{digest[13:16]}-{_VARIANT[digest[16]]}{digest[17:20]}-{digest[20:32]}"


def activation_id(tenant_id: str, notification_id: str, revision: str, partition: int, offset: int) -> str:
    """The activation opened by the tally or tick at this place of `notification-tallies`."""
    return _derived("activation", tenant_id, notification_id, revision, partition, offset)


def event_id(activation: str, kind: str, ordinal: int) -> str:
    """The nth event of a notification."""
    return _derived("event", activation, kind, ordinal)


def delivery_id(event: str, recipient_id: str) -> str:
    """One event for one recipient: the webhook-id and the Message-ID."""
    return _derived("delivery", event, recipient_id)


def audit_id(delivery: str, replay: int, kind: str, attempt: int) -> str:
    """One audit record of a delivery; a repeat of the same attempt after a crash makes the same id."""
    return _derived("audit", delivery, replay, kind, attempt)


def change_id(sensor_id: str, revision: str, series: tuple[str, str | None], cause: tuple[object, ...]) -> str:
    """A sensor's change on one series; `cause` is the reading's place, or the timer's name and due time."""
    system, instance = series
    return _derived("change", sensor_id, revision, system, "" if instance is None else "i" + instance, *cause)


def new_id(now_ms: int) -> str:
    """A UUIDv7: unique and sorted by time. Source: RFC 9562 section 5.7."""
    random = int.from_bytes(os.urandom(10), "big")
    value = (now_ms & ((1 << 48) - 1)) << 80
    value |= 0x7 << 76 | ((random >> 62) & 0xFFF) << 64
    value |= 0b10 << 62 | (random & ((1 << 62) - 1))
    return str(uuid.UUID(int=value))
