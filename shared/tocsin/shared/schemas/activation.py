"""`activations`: an activation as it stands."""

from __future__ import annotations

from typing import Literal

from tocsin.shared.schemas.base import Ref, Time, Wire


class Activation(Wire):
    """One occurrence of a notification being active."""

    schema_version: Literal[1] = 1
    id: str
    notification: Ref
    state: Literal["active", "resolved", "dismissed"]
    activated_at: Time
    ended_at: Time | None = None
    matched: int
    reporting: int
    systems_at_activation: tuple[str, ...] = ()
    systems_total: int = 0
    systems_truncated: bool = False
