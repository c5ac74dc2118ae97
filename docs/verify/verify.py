"""Is this webhook genuine? The standard library alone; `cryptography` for an ed25519 public key.

WEBHOOK_SECRET=whsec_… python verify.py ID TIMESTAMP SIGNATURE < body
"""

import base64
import hashlib
import hmac
import os
import sys
import time


def is_genuine(secret: str, webhook_id: str, timestamp: str, signatures: str, body: bytes) -> bool:
    signed = f"{webhook_id}.{timestamp}.".encode() + body
    fresh = timestamp.isdecimal() and abs(time.time() - int(timestamp)) < 300
    return fresh and any(_fits(secret, signed, one) for one in signatures.split())


def _fits(secret: str, signed: bytes, signature: str) -> bool:
    if secret.startswith("whpk_"):
        return signature.startswith("v1a,") and _fits_ed25519(secret, signed, signature)
    key = base64.b64decode(secret[6:]) if secret.startswith("whsec_") else secret.encode()
    expected = "v1," + base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()
    return hmac.compare_digest(expected.encode(), signature.encode())


def _fits_ed25519(public_key: str, signed: bytes, signature: str) -> bool:
    from cryptography.exceptions import InvalidSignature  # noqa: PLC0415
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey  # noqa: PLC0415

    try:
        key = Ed25519PublicKey.from_public_bytes(base64.b64decode(public_key[5:]))
        key.verify(base64.b64decode(signature[4:]), signed)
    except (InvalidSignature, ValueError):
        return False
    return True


if __name__ == "__main__":
    genuine = is_genuine(os.environ["WEBHOOK_SECRET"], *sys.argv[1:4], sys.stdin.buffer.read())
    print("genuine" if genuine else "NOT genuine")
    sys.exit(0 if genuine else 1)
