"""Which deliveries an event makes. Pure.

The activator may send an event twice; each notification's last 64 event ids are remembered, and a known one is
dropped. A new id whose ordinal leaves a gap or was used before passes and is reported: an event too many is better
than one lost.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from tocsin.shared.configuration.snapshot import Configuration
from tocsin.shared.ids import delivery_id
from tocsin.shared.schemas.base import Ref, Wire
from tocsin.shared.schemas.delivery import Delivery
from tocsin.shared.schemas.event import NotificationEvent

REMEMBERED = 64

Oddity = Literal["ordinal_gap", "ordinal_used"]
NobodyBecause = Literal["notification_deleted", "kind_not_wanted", "no_recipients"]


class RouterRow(Wire):
    """What is remembered of a notification: its row of `router-state`."""

    schema_version: Literal[1] = 1
    ordinal: int = 0
    event_ids: tuple[str, ...] = ()  # oldest first, at most 64


@dataclass(frozen=True, slots=True)
class Known:
    """Routed before."""


@dataclass(frozen=True, slots=True)
class Routed:
    """New: these deliveries, and the row to remember with them."""

    deliveries: tuple[Delivery, ...]
    row: RouterRow
    oddity: Oddity | None = None
    nobody_because: NobodyBecause | None = None
    unknown_recipients: tuple[str, ...] = ()


def route(event: NotificationEvent, row: RouterRow, configuration: Configuration, now_ms: int) -> Known | Routed:
    """`configuration` must be at least as new as the event says."""
    if event.id in row.event_ids:
        return Known()
    oddity: Oddity | None = None
    # The very first row may begin anywhere: rows age out with their notification.
    if row.event_ids and event.ordinal > row.ordinal + 1:
        oddity = "ordinal_gap"
    elif event.ordinal <= row.ordinal:
        oddity = "ordinal_used"
    after = RouterRow(ordinal=max(row.ordinal, event.ordinal), event_ids=(*row.event_ids, event.id)[-REMEMBERED:])
    notification = configuration.notifications.get(event.notification.id)
    if notification is None:
        return Routed((), after, oddity, "notification_deleted")
    if event.kind not in notification.notify_on:
        return Routed((), after, oddity, "kind_not_wanted")
    wanted = tuple(dict.fromkeys(notification.recipient_ids))
    found = [configuration.recipients[id_] for id_ in wanted if id_ in configuration.recipients]
    unknown = tuple(id_ for id_ in wanted if id_ not in configuration.recipients)
    deliveries = tuple(
        Delivery(
            id=delivery_id(event.id, recipient.id),
            recipient=Ref(id=recipient.id, name=recipient.name),
            event=event,
            routed_at=now_ms,
            configuration_change=configuration.change,
        )
        for recipient in found
    )
    return Routed(deliveries, after, oddity, None if deliveries else "no_recipients", unknown)
