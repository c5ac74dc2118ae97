"""`activations`: an activation as it stands."""

from __future__ import annotations

from typing import Literal

from tocsin.shared.schemas.base import Ref, Time, Wire
from tocsin.shared.schemas.event import DismissedBecause


class Activation(Wire):
    """One occurrence of a notification being active."""

    schema_version: Literal[1] = 1
    id: str
    notification: Ref
    state: Literal["active", "resolved", "dismissed"]
    activated_at: Time
    announced_at: Time | None = None  # none: nobody has been told (schedule, silence, cooldown)
    reminded_at: Time | None = None  # the last reminder
    reminder: int | None = None  # its number
    ended_at: Time | None = None
    dismissed_because: DismissedBecause | None = None
    dismissed_by: str | None = None
    comment: str | None = None
    matched: int
    reporting: int
    systems_at_activation: tuple[str, ...] = ()
    systems_total: int = 0
    systems_truncated: bool = False
