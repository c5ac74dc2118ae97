"""Records of the topics folded into rows: what each of them changes. Pure; reading one twice changes nothing."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from tocsin.shared.errors import CodecError
from tocsin.shared.schemas.activation import Activation
from tocsin.shared.schemas.audit import TERMINAL
from tocsin.shared.schemas.delivery import DeadLetter
from tocsin.shared.schemas.event import NotificationEvent
from tocsin.shared.schemas.recipient_state import RecipientState
from tocsin.shared.times import parse_rfc3339
from tocsin.shared.topics import (
    ACTIVATIONS,
    CONFIGURATION_AUDIT,
    DELIVERY_AUDIT,
    DELIVERY_DEAD_LETTER,
    NOTIFICATION_EVENTS,
    NOTIFICATION_SYSTEMS,
    RECIPIENT_STATE,
    SENSOR_CHANGES,
)

ROUTED = """
INSERT INTO deliveries (id, replay, event_id, activation_id, notification_id, notification, recipient_id, recipient,
    routed_at, updated_at, state) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 'waiting')
ON CONFLICT (id) DO UPDATE SET replay = excluded.replay, updated_at = excluded.updated_at, state = 'waiting',
    attempts = 0, outcome = NULL, reason = NULL, status = NULL, next_at = NULL WHERE excluded.replay > replay
"""
ATTEMPT = """
UPDATE deliveries SET attempts = max(attempts, ?), channel = ?, outcome = ?, reason = ?, status = ?, latency_ms = ?,
    next_at = ?, updated_at = ?, state = CASE WHEN state IN ('waiting', 'retrying') THEN 'retrying' ELSE state END
WHERE id = ? AND replay = ?
"""
ENDED = (
    "UPDATE deliveries SET state = ?, reason = coalesce(?, reason), updated_at = ?, next_at = NULL "
    "WHERE id = ? AND replay = ?"
)
STEP = "INSERT INTO steps (delivery_id, replay, time, kind, attempt, record) VALUES (?, ?, ?, ?, ?, ?)"
ACTIVATION = "INSERT OR REPLACE INTO activations VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
EVENT = "INSERT OR IGNORE INTO events VALUES (?, ?, ?, ?, ?, ?)"
CHANGE = "INSERT OR IGNORE INTO changes VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
LETTER = "INSERT OR IGNORE INTO letters VALUES (?, ?, ?, ?, ?, ?, ?)"
STANDING = "INSERT OR REPLACE INTO recipient_states VALUES (?, ?)"
MATCHED = "INSERT OR IGNORE INTO matched (notification_id, system, place, since) VALUES (?, ?, ?, ?)"
UNMATCHED = "UPDATE matched SET until = ? WHERE notification_id = ? AND system = ? AND place < ? AND until IS NULL"
STATE = "INSERT OR REPLACE INTO states VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"

ORDER = (ROUTED, ATTEMPT, ENDED, STEP, ACTIVATION, EVENT, CHANGE, LETTER, STANDING, STATE, MATCHED, UNMATCHED)
"""A batch may hold all of a delivery's life: its beginning is written first."""


class _Ref(msgspec.Struct):
    id: str
    name: str


class _Audit(msgspec.Struct):
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
    next_attempt_at: str | None = None


class _Change(msgspec.Struct):
    sensor_id: str
    sensor: str
    system: str
    metric: str
    state: str
    time: str
    instance: str | None = None
    level: str | None = None
    value: float | None = None


class _Matched(msgspec.Struct):
    since: str


class _Configured(msgspec.Struct):
    id: str
    time: str
    actor: str
    action: str
    kind: str
    record_id: str
    name: str


_audit = msgspec.json.Decoder(_Audit)
_change = msgspec.json.Decoder(_Change)
_matched = msgspec.json.Decoder(_Matched)
_configured = msgspec.json.Decoder(_Configured)


@dataclass(frozen=True, slots=True)
class Stands:
    """Of a record: its offset, and as of when it says what it says (epoch ms) where its value does not."""

    offset: int = 0
    time: int = 0


_ANYWHERE = Stands()


@dataclass
class Batch:
    """Rows to write, and what has changed for those who watch."""

    rows: dict[str, list[Sequence[Any]]] = field(default_factory=lambda: defaultdict(list))
    touched: set[str] = field(default_factory=set)
    unreadable: int = 0

    def add(self, topic: str, key: bytes | None, value: bytes | None, stands: Stands = _ANYWHERE) -> None:
        """One record of a topic (its name without prefix). What cannot be read is counted and skipped."""
        try:
            if topic == RECIPIENT_STATE:
                _fold_standing(self, key, value)
            elif topic == NOTIFICATION_SYSTEMS:
                _fold_matched(self, key, value, stands)
            elif value is not None:
                _FOLDS[topic](self, value)
        except (msgspec.MsgspecError, ValueError, RecursionError, CodecError):
            self.unreadable += 1

    def statements(self) -> list[tuple[str, list[Sequence[Any]]]]:
        return [(sql, self.rows[sql]) for sql in ORDER if self.rows[sql]]


def _fold_audit(batch: Batch, value: bytes) -> None:
    one = _audit.decode(value)
    time, ids = parse_rfc3339(one.time), (one.delivery_id, one.replay)
    if one.kind == "routed":
        refs = (one.notification.id, one.notification.name, one.recipient.id, one.recipient.name)
        batch.rows[ROUTED].append((*ids, one.event_id, one.activation_id, *refs, time, time))
    elif one.kind == "attempt":
        next_at = None if one.next_attempt_at is None else parse_rfc3339(one.next_attempt_at)
        facts = (one.attempt or 0, one.channel, one.outcome, one.reason, one.status, one.latency_ms, next_at, time)
        batch.rows[ATTEMPT].append((*facts, *ids))
    elif one.kind in TERMINAL:
        batch.rows[ENDED].append((one.kind, one.reason, time, *ids))
    batch.rows[STEP].append((*ids, time, one.kind, one.attempt, value))
    batch.touched |= {"deliveries", f"recipient:{one.recipient.id}", f"delivery:{one.delivery_id}"}


def _fold_activation(batch: Batch, value: bytes) -> None:
    one = Activation.decode(value)
    times = (one.activated_at, one.ended_at)
    head = (one.id, one.notification.id, one.notification.name, one.state)
    batch.rows[ACTIVATION].append((*head, *times, one.matched, one.reporting, value))
    batch.touched |= {"activations", f"activation:{one.id}"}


def _fold_event(batch: Batch, value: bytes) -> None:
    one = NotificationEvent.decode(value)
    batch.rows[EVENT].append((one.id, one.activation_id, one.notification.id, one.kind, one.time, value))
    batch.touched |= {"activations", f"activation:{one.activation_id}"}


def _fold_configured(batch: Batch, value: bytes) -> None:
    one = _configured.decode(value)
    row = (one.id, parse_rfc3339(one.time), one.actor, one.action, one.kind, one.record_id, one.name, value)
    batch.rows[CHANGE].append(row)
    batch.touched |= {"configuration", f"record:{one.record_id}"}


def _fold_letter(batch: Batch, value: bytes) -> None:
    one = DeadLetter.decode(value)
    delivery = one.delivery
    ids = (delivery.id, delivery.replay)
    batch.rows[LETTER].append(
        (*ids, one.time, delivery.recipient.id, delivery.event.notification.id, one.reason, value)
    )
    batch.touched.add("dead-letters")


def _fold_standing(batch: Batch, key: bytes | None, value: bytes | None) -> None:
    """A tombstone: nothing is known of it any more."""
    recipient = (key or b"").decode()
    standing = RecipientState() if value is None else RecipientState.decode(value)
    batch.rows[STANDING].append((recipient, standing.encode()))
    batch.touched |= {"recipients", f"recipient:{recipient}"}


def _fold_matched(batch: Batch, key: bytes | None, value: bytes | None, stands: Stands) -> None:
    """A tombstone: it matches no longer. All records of a key are in one partition: offsets are their order."""
    notification_id, _, system = (key or b"").decode().partition("/")
    if value is None:
        batch.rows[UNMATCHED].append((stands.time, notification_id, system, stands.offset))
    else:
        since = parse_rfc3339(_matched.decode(value).since)
        batch.rows[MATCHED].append((notification_id, system, stands.offset, since))
    batch.touched |= {"systems", f"system:{system}"}


def _fold_change(batch: Batch, value: bytes) -> None:
    one = _change.decode(value)
    series = (one.sensor_id, one.system, one.instance or "")
    facts = (one.sensor, one.metric, one.state, one.level, one.value, parse_rfc3339(one.time))
    batch.rows[STATE].append((*series, *facts))
    batch.touched |= {"systems", f"system:{one.system}"}


_FOLDS: dict[str, Callable[[Batch, bytes], None]] = {
    DELIVERY_AUDIT: _fold_audit,
    ACTIVATIONS: _fold_activation,
    NOTIFICATION_EVENTS: _fold_event,
    CONFIGURATION_AUDIT: _fold_configured,
    DELIVERY_DEAD_LETTER: _fold_letter,
    SENSOR_CHANGES: _fold_change,
}
TOPICS = (*_FOLDS, RECIPIENT_STATE, NOTIFICATION_SYSTEMS)
