"""Names of configuration records: shown as written, compared folded."""

from __future__ import annotations

import unicodedata

MAX_NAME_LENGTH = 200


def check_name(name: str) -> str:
    """The name trimmed and in NFC. Raises ValueError, naming what is wrong."""
    cleaned = unicodedata.normalize("NFC", name.strip())
    if not cleaned:
        raise ValueError("a name must not be empty")
    if len(cleaned) > MAX_NAME_LENGTH:
        raise ValueError(f"a name has at most {MAX_NAME_LENGTH} characters, this one has {len(cleaned)}")
    if any(unicodedata.category(letter) in ("Cc", "Cs") for letter in cleaned):
        raise ValueError("a name must not contain control characters")
    return cleaned


def fold(name: str) -> str:
    """What two names must differ in to be two names."""
    return unicodedata.normalize("NFC", check_name(name).casefold())


def record_key(kind: str, name: str) -> str:
    """The key on `configuration`; it makes names unique by construction."""
    return f"{kind}/{fold(name)}"
