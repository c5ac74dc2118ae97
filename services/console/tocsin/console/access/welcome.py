"""The link that makes the first account: sealed with the deployment's keys, good for a day and while there is none."""

from __future__ import annotations

from tocsin.console.access.sessions import seal, unseal
from tocsin.shared.secrets import KeyRing

BINDING = "console-welcome"
LIFETIME_MS = 24 * 3_600_000


def welcome_path(keys: KeyRing, now_ms: int) -> str:
    return f"/welcome?code={seal(keys, BINDING, {'until': now_ms + LIFETIME_MS})}"


def is_welcome(keys: KeyRing, code: str, now_ms: int) -> bool:
    found = unseal(keys, BINDING, code)
    until = found.get("until") if found else None
    return isinstance(until, int) and until >= now_ms
