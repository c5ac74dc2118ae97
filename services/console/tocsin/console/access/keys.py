"""API tokens: `tocsin_` and 256 random bits. Only a hash is kept; so many bits need no slow one."""

from __future__ import annotations

import hashlib
import secrets

PREFIX = "tocsin_"


def new_token() -> str:
    """Shown once."""
    return PREFIX + secrets.token_urlsafe(32)


def token_hash(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()


def hint_of(token: str) -> str:
    """Its last four characters."""
    return token[-4:]
