"""`notification-events`: an activation was opened, reminded, resolved or dismissed."""

from __future__ import annotations

from typing import Literal

from tocsin.shared.schemas.base import Ref, Time, Wire

EventKind = Literal["activated", "reminder", "resolved", "dismissed"]


DismissedBecause = Literal["by-hand", "edited", "deleted"]


class Threshold(Wire):
    """When a notification is reached."""

    value: str  # exact decimal text: "3" or "24.5"
    is_percent: bool
    text: str  # "24% of systems currently reporting"


class EventUrls(Wire):
    """Links into the console and the API."""

    activation: str
    systems_at_activation: str
    systems_now: str


class NotificationEvent(Wire):
    """One event, with all that rendering needs as it was when it happened."""

    schema_version: Literal[1] = 1
    id: str
    kind: EventKind
    ordinal: int  # counts a notification's events from 1
    tenant_id: str
    activation_id: str
    activated_at: Time
    time: Time  # of this event: later than what it tells of when nothing might be sent meanwhile
    notification: Ref
    description: str = ""
    sensors: tuple[Ref, ...]
    group: Ref | None = None  # none: every system
    threshold: Threshold
    revision: str
    matched: int
    reporting: int
    systems: tuple[str, ...] = ()  # up to 100 of the matched ones
    systems_total: int = 0
    systems_truncated: bool = False
    reminder: int | None = None  # of a reminder: activation + so many times remind_every; dropped ones count
    ended_at: Time | None = None  # of resolved and dismissed: when it ended
    dismissed_because: DismissedBecause | None = None
    dismissed_by: str | None = None  # by hand: who
    comment: str | None = None  # of who dismissed it
    urls: EventUrls
    configuration_change: int = 0  # the router waits until it has seen at least this change
