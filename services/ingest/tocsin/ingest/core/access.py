"""Who may send: API keys, compared in constant time."""

from __future__ import annotations

import hmac
from collections.abc import Iterable

from tocsin.shared.errors import SettingsError


def parse_keys(text: str | None) -> tuple[bytes, ...]:
    """The keys of a comma-separated list."""
    return tuple(key.strip().encode() for key in (text or "").split(",") if key.strip())


def require_keys(keys: tuple[bytes, ...], *, is_open: bool, tokens: bool = False) -> None:
    """Raises SettingsError when anyone could send and nobody has said that this is wanted."""
    if not keys and not is_open and not tokens:
        raise SettingsError(
            "no API keys: set TOCSIN_GATEWAY_API_KEYS to one or more keys, separated by commas, or "
            "TOCSIN_GATEWAY_TOKENS=true to take tokens that `tocsin tokens create NAME --scope ingest` makes, "
            "or TOCSIN_GATEWAY_OPEN=true to take readings from anyone who can reach the gateway"
        )


def presented_key(authorization: str | None, x_api_key: str | None) -> bytes | None:
    """The key in `Authorization: Bearer …`, else in `X-API-Key`."""
    scheme, _, token = (authorization or "").strip().partition(" ")
    found = token.strip() if scheme.lower() == "bearer" else (x_api_key or "").strip()
    return found.encode("utf-8", "surrogateescape") or None


def is_allowed(keys: Iterable[bytes], presented: bytes | None) -> bool:
    """Every key is compared, so that time does not tell which one nearly fits."""
    if presented is None:
        return False
    return sum(hmac.compare_digest(key, presented) for key in keys) > 0
