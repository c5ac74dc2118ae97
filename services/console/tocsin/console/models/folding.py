"""Records of the topics folded into rows: what each of them changes. Pure; reading one twice changes nothing."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from tocsin.console.models.lives import LIVES, REPLAYED, Life, decode_audit
from tocsin.shared.errors import CodecError
from tocsin.shared.schemas.activation import Activation
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

ACTIVATION = "INSERT OR REPLACE INTO activations VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
EVENT = "INSERT OR IGNORE INTO events VALUES (?, ?, ?, ?, ?, ?)"
CHANGE = "INSERT OR IGNORE INTO changes VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
LETTER = (
    "INSERT OR IGNORE INTO letters VALUES (?, ?, ?, ?, ?, ?, ?, "
    "? >= coalesce((SELECT replay FROM deliveries WHERE id = ?), 0))"
)
STANDING = "INSERT OR REPLACE INTO recipient_states VALUES (?, ?)"
MATCHED = "INSERT OR IGNORE INTO matched (notification_id, system, place, since) VALUES (?, ?, ?, ?)"
UNMATCHED = "UPDATE matched SET until = ? WHERE notification_id = ? AND system = ? AND place < ? AND until IS NULL"
STATE = "INSERT OR REPLACE INTO states VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"

ORDER = (*LIVES, ACTIVATION, EVENT, CHANGE, LETTER, REPLAYED, STANDING, STATE, MATCHED, UNMATCHED)
"""A batch may hold all of a delivery's life: its beginning is written first."""


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

    watched: bool = True  # somebody wants to know what has changed
    rows: dict[str, list[Sequence[Any]]] = field(default_factory=lambda: defaultdict(list))
    touched: set[str] = field(default_factory=set)
    lives: dict[tuple[str, int], Life] = field(default_factory=dict)
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

    def touch(self, *names: str) -> None:
        self.touched.update(names)

    def statements(self) -> list[tuple[str, list[Sequence[Any]]]]:
        for (delivery, replay), life in self.lives.items():
            for sql, row in life.rows(delivery, replay):
                self.rows[sql].append(row)
        self.lives.clear()
        return [(sql, self.rows[sql]) for sql in ORDER if self.rows[sql]]


def _fold_audit(batch: Batch, value: bytes) -> None:
    one = decode_audit(value)
    key = (one.delivery_id, one.replay)
    life = batch.lives.get(key)
    if life is None:
        life = batch.lives[key] = Life()
    life.add(one)
    if batch.watched:
        batch.touch("deliveries", f"recipient:{one.recipient.id}", f"delivery:{one.delivery_id}")


def _fold_activation(batch: Batch, value: bytes) -> None:
    one = Activation.decode(value)
    times = (one.activated_at, one.ended_at)
    head = (one.id, one.notification.id, one.notification.name, one.state)
    batch.rows[ACTIVATION].append((*head, *times, one.matched, one.reporting, value))
    batch.touch("activations", f"activation:{one.id}")


def _fold_event(batch: Batch, value: bytes) -> None:
    one = NotificationEvent.decode(value)
    batch.rows[EVENT].append((one.id, one.activation_id, one.notification.id, one.kind, one.time, value))
    batch.touch("activations", f"activation:{one.activation_id}")


def _fold_configured(batch: Batch, value: bytes) -> None:
    one = _configured.decode(value)
    row = (one.id, parse_rfc3339(one.time), one.actor, one.action, one.kind, one.record_id, one.name, value)
    batch.rows[CHANGE].append(row)
    batch.touch("configuration", f"record:{one.record_id}")


def _fold_letter(batch: Batch, value: bytes) -> None:
    one = DeadLetter.decode(value)
    delivery = one.delivery
    ids = (delivery.id, delivery.replay)
    about = (one.time, delivery.recipient.id, delivery.event.notification.id, one.reason, value)
    batch.rows[LETTER].append((*ids, *about, delivery.replay, delivery.id))
    batch.touch("dead-letters")


def _fold_standing(batch: Batch, key: bytes | None, value: bytes | None) -> None:
    """A tombstone: nothing is known of it any more."""
    recipient = (key or b"").decode()
    standing = RecipientState() if value is None else RecipientState.decode(value)
    batch.rows[STANDING].append((recipient, standing.encode()))
    batch.touch("recipients", f"recipient:{recipient}")


def _fold_matched(batch: Batch, key: bytes | None, value: bytes | None, stands: Stands) -> None:
    """A tombstone: it matches no longer. All records of a key are in one partition: offsets are their order."""
    notification_id, _, system = (key or b"").decode().partition("/")
    if value is None:
        batch.rows[UNMATCHED].append((stands.time, notification_id, system, stands.offset))
    else:
        since = parse_rfc3339(_matched.decode(value).since)
        batch.rows[MATCHED].append((notification_id, system, stands.offset, since))
    batch.touch("systems", f"system:{system}")


def _fold_change(batch: Batch, value: bytes) -> None:
    one = _change.decode(value)
    series = (one.sensor_id, one.system, one.instance or "")
    facts = (one.sensor, one.metric, one.state, one.level, one.value, parse_rfc3339(one.time))
    batch.rows[STATE].append((*series, *facts))
    batch.touch("systems", f"system:{one.system}")


_FOLDS: dict[str, Callable[[Batch, bytes], None]] = {
    DELIVERY_AUDIT: _fold_audit,
    ACTIVATIONS: _fold_activation,
    NOTIFICATION_EVENTS: _fold_event,
    CONFIGURATION_AUDIT: _fold_configured,
    DELIVERY_DEAD_LETTER: _fold_letter,
    SENSOR_CHANGES: _fold_change,
}
TOPICS = (*_FOLDS, RECIPIENT_STATE, NOTIFICATION_SYSTEMS)
