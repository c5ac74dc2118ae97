"""API tokens: `tocsin_` and 256 random bits. Only a hash is kept; so many bits need no slow one."""

from __future__ import annotations

import secrets

from tocsin.shared.tokens import token_hash

PREFIX = "tocsin_"


def new_token() -> str:
    """Shown once."""
    return PREFIX + secrets.token_urlsafe(32)


def hint_of(token: str) -> str:
    """Its last four characters."""
    return token[-4:]


__all__ = ["hint_of", "new_token", "token_hash"]
