"""Passwords: Argon2id with the first parameters OWASP recommends, in PHC form."""

from __future__ import annotations

import os

from cryptography.exceptions import InvalidKey
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

MIN_LENGTH = 10
MAX_LENGTH = 1_024
MEMORY_KIB = 19 * 1024
ITERATIONS = 2
_DUMMY = "$argon2id$v=19$m=19456,t=2,p=1$MDEyMzQ1Njc4OWFiY2RlZg$HEHVmJETHio7iqHcrA+tMdY4uIRibsVmcgkBgFiBRCU"
"""Of a password nobody knows."""


def check_password(password: str, name: str = "") -> list[str]:
    """What is wrong with a new password."""
    if len(password) < MIN_LENGTH:
        return [f"a password has at least {MIN_LENGTH} characters; a few words do well"]
    if len(password) > MAX_LENGTH:
        return [f"a password has at most {MAX_LENGTH} characters"]
    if len(set(password)) < 4 or password.casefold() == name.casefold():
        return ["this password is too easy to guess"]
    return []


def hash_password(password: str) -> str:
    """Takes some 50 ms of one core on purpose."""
    salt = os.urandom(16)
    return Argon2id(salt=salt, length=32, iterations=ITERATIONS, lanes=1, memory_cost=MEMORY_KIB).derive_phc_encoded(
        password.encode()
    )


def verify_password(password: str, password_hash: str | None) -> bool:
    """None, for somebody who does not exist, takes as long as a wrong password."""
    try:
        Argon2id.verify_phc_encoded(password.encode("utf-8", "surrogatepass"), password_hash or _DUMMY)
    except (InvalidKey, ValueError):
        return False
    return password_hash is not None
