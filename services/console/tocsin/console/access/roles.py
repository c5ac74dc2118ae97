"""Roles, and what each of them may do. Each may do what those before it may."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from tocsin.shared.configuration.records import Role, Scope

ROLES: tuple[Role, ...] = ("viewer", "operator", "editor", "admin")
SCOPES: tuple[Scope, ...] = (*ROLES, "ingest")

ROLE_TEXTS: dict[Scope, str] = {
    "viewer": "sees everything but secrets",
    "operator": "also pauses, dismisses, silences and replays",
    "editor": "also changes sensors, groups, notifications and recipients, with their secrets",
    "admin": "also manages users and tokens",
    "ingest": "may only send readings to the gateway",
}

Need = Literal["nobody", "viewer", "operator", "editor", "admin"]
"""What a route asks for; `nobody` is open to everyone, signed in or not."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Who makes a request."""

    kind: Literal["user", "token"]
    id: str
    name: str
    scope: Scope

    @property
    def actor(self) -> str:
        """As the audit names them."""
        return f"{self.kind}:{self.name}"

    def may(self, need: Need) -> bool:
        """Whether this caller reaches what needs that role."""
        if need == "nobody":
            return True
        return self.scope in ROLES and ROLES.index(self.scope) >= ROLES.index(need)
