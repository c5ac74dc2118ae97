"""API tokens as they are compared: by a hash. So many random bits need no slow one."""

from __future__ import annotations

import hashlib


def token_hash(token: str) -> str:
    """What is kept of a token."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()
