"""How a receiver knows that a webhook is genuine. Pure: time and randomness come in, but for a new secret.

Source: Standard Webhooks 1.0.0; GitHub, "Validating webhook deliveries".
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import secrets

PREFIX = "whsec_"
GENERATED_BYTES = 32
MIN_KEY_BYTES = 24
MAX_KEY_BYTES = 64


def generate_secret() -> str:
    """`whsec_` and the base64 of 32 random bytes."""
    return PREFIX + base64.b64encode(secrets.token_bytes(GENERATED_BYTES)).decode()


def check_secret(secret: str) -> list[str]:
    """What is wrong with a typed secret; never shows it."""
    if not secret:
        return ["the secret must not be empty"]
    if not secret.startswith(PREFIX):
        return []
    try:
        key = signing_key(secret)
    except ValueError as error:
        return [str(error)]
    if not MIN_KEY_BYTES <= len(key) <= MAX_KEY_BYTES:
        return [f"a secret that starts with {PREFIX} holds {MIN_KEY_BYTES} to {MAX_KEY_BYTES} bytes, not {len(key)}"]
    return []


def signing_key(secret: str) -> bytes:
    """The bytes that sign: those behind `whsec_`, or the secret's own UTF-8 bytes. Raises ValueError."""
    if not secret:
        raise ValueError("the secret must not be empty")
    if not secret.startswith(PREFIX):
        return secret.encode()
    try:
        return base64.b64decode(secret[len(PREFIX) :], validate=True)
    except (binascii.Error, ValueError):
        raise ValueError(f"a secret that starts with {PREFIX} must go on in base64") from None


def sign(key: bytes, message_id: str, timestamp: int, body: bytes) -> str:
    """`v1,<base64>` of HMAC-SHA256 over `id.timestamp.body`; the timestamp is in seconds, of the attempt."""
    signed = b"%s.%d.%s" % (message_id.encode(), timestamp, body)
    return "v1," + base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()


def signature_headers(keys: tuple[bytes, ...], message_id: str, timestamp: int, body: bytes) -> dict[str, str]:
    """The three headers; several keys (a rotation) give several signatures, newest first."""
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": " ".join(sign(key, message_id, timestamp, body) for key in keys),
    }


def sign_github(secret: str, body: bytes) -> str:
    """The value of `X-Hub-Signature-256`."""
    return "sha256=" + hmac.digest(secret.encode(), body, hashlib.sha256).hex()
