"""How a receiver knows that a webhook is genuine. Pure: time and randomness come in, but for a new secret.

Source: Standard Webhooks 1.0.0; GitHub, "Validating webhook deliveries".

| scheme     | header                | value                                                     |
|------------|-----------------------|-----------------------------------------------------------|
| `standard` | `webhook-signature`   | `v1,` base64 of HMAC-SHA256 over `id.timestamp.body`      |
| `ed25519`  | `webhook-signature`   | `v1a,` base64 of the Ed25519 signature over the same text |
| `github`   | `X-Hub-Signature-256` | `sha256=` hex of HMAC-SHA256 over the body                |
| `header`   | any                   | the secret itself                                         |
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import assert_never

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tocsin.dispatcher.core.headers import check_headers
from tocsin.shared.configuration.records import Scheme

PREFIX = "whsec_"
PRIVATE_PREFIX = "whsk_"
PUBLIC_PREFIX = "whpk_"
GENERATED_BYTES = 32
MIN_KEY_BYTES = 24
MAX_KEY_BYTES = 64
SEED_BYTES = 32
GITHUB_HEADER = "X-Hub-Signature-256"


def generate_secret(scheme: Scheme = "standard") -> str:
    """Of 32 random bytes: `whsec_…`, or `whsk_…` for ed25519."""
    prefix = PRIVATE_PREFIX if scheme == "ed25519" else PREFIX
    return prefix + base64.b64encode(secrets.token_bytes(GENERATED_BYTES)).decode()


def check_secret(secret: str, scheme: Scheme = "standard") -> list[str]:
    """What is wrong with a typed secret; never shows it."""
    if not secret:
        return ["the secret must not be empty"]
    try:
        match scheme:
            case "standard":
                return _check_standard(secret)
            case "ed25519":
                private_key(secret)
            case "header":
                problems = check_headers([("secret", secret)])
                return [problem.replace("header 'secret': the value", "the secret") for problem in problems]
            case "github":
                pass
            case _:
                assert_never(scheme)
    except ValueError as error:
        return [str(error)]
    return []


def _check_standard(secret: str) -> list[str]:
    if secret.startswith((PRIVATE_PREFIX, PUBLIC_PREFIX)):
        return [f"a secret that starts with {secret[:5]} is an ed25519 key: set scheme: ed25519"]
    length = len(signing_key(secret))
    if secret.startswith(PREFIX) and not MIN_KEY_BYTES <= length <= MAX_KEY_BYTES:
        return [f"a secret that starts with {PREFIX} holds {MIN_KEY_BYTES} to {MAX_KEY_BYTES} bytes, not {length}"]
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


def private_key(secret: str) -> Ed25519PrivateKey:
    """Of `whsk_` and the base64 of the 32-byte seed, or of seed and public key together. Raises ValueError."""
    wanted = f"an ed25519 secret is {PRIVATE_PREFIX} and the base64 of a 32-byte seed"
    if not secret.startswith(PRIVATE_PREFIX):
        raise ValueError(wanted)
    try:
        data = base64.b64decode(secret[len(PRIVATE_PREFIX) :], validate=True)
    except (binascii.Error, ValueError):
        raise ValueError(wanted) from None
    if len(data) not in (SEED_BYTES, 2 * SEED_BYTES):
        raise ValueError(f"{wanted}, not of {len(data)} bytes")
    key = Ed25519PrivateKey.from_private_bytes(data[:SEED_BYTES])
    if data[SEED_BYTES:] not in (b"", key.public_key().public_bytes_raw()):
        raise ValueError("the ed25519 secret's second half is not the public key of its first")
    return key


def public_key(secret: str) -> str:
    """`whpk_…`: what the receiver verifies with. Raises ValueError."""
    return PUBLIC_PREFIX + base64.b64encode(private_key(secret).public_key().public_bytes_raw()).decode()


def sign(key: bytes, message_id: str, timestamp: int, body: bytes) -> str:
    """`v1,<base64>` of HMAC-SHA256 over `id.timestamp.body`; the timestamp is in seconds, of the attempt."""
    return _sign_v1(key, _signed_text(message_id, timestamp, body))


def _signed_text(message_id: str, timestamp: int, body: bytes) -> bytes:
    return b"%s.%d.%s" % (message_id.encode(), timestamp, body)


def _sign_v1(key: bytes, text: bytes) -> str:
    return "v1," + base64.b64encode(hmac.digest(key, text, hashlib.sha256)).decode()


def signature_headers(keys: tuple[bytes, ...], message_id: str, timestamp: int, body: bytes) -> dict[str, str]:
    """The three headers of `standard`; several keys give several signatures, newest first."""
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": " ".join(sign(key, message_id, timestamp, body) for key in keys),
    }


def sign_github(secret: str, body: bytes) -> str:
    """The value of `X-Hub-Signature-256`."""
    return "sha256=" + hmac.digest(secret.encode(), body, hashlib.sha256).hex()


@dataclass(frozen=True, slots=True)
class SigningSecret:
    """A decrypted secret. Its repr would show it: it is never logged."""

    secret: str
    scheme: Scheme
    until_ms: int | None = None  # when it stops signing; never, for the one in use

    def __repr__(self) -> str:
        return f"SigningSecret(scheme={self.scheme!r}, until_ms={self.until_ms})"


class Signer:
    """The headers that prove one recipient's requests. Made once for many attempts."""

    def __init__(self, secrets_: Sequence[SigningSecret], header: str | None = None) -> None:
        """Newest first; `header` names the one that carries the secret itself. Raises ValueError."""
        self._fixed: dict[str, str] = {}
        self._github: str | None = None
        self._signing: list[tuple[int | None, Callable[[bytes], str]]] = []
        for one in secrets_:
            match one.scheme:
                case "standard" | "ed25519":
                    self._signing.append((one.until_ms, _text_signer(one)))
                case "github":
                    self._github = one.secret
                case "header":
                    if not header:
                        raise ValueError("the scheme `header` needs the name of a header")
                    self._fixed[header] = one.secret
                case _:
                    assert_never(one.scheme)

    @property
    def names(self) -> frozenset[str]:
        """Of the headers it sets."""
        return frozenset(self.headers("", 0, b""))

    def headers(self, message_id: str, now_ms: int, body: bytes) -> dict[str, str]:
        """Of one attempt. `webhook-id` is always there: receivers drop repeats by it."""
        found = {"webhook-id": message_id}
        if self._signing:
            timestamp = now_ms // 1000
            text = _signed_text(message_id, timestamp, body)
            found["webhook-timestamp"] = str(timestamp)
            found["webhook-signature"] = " ".join(
                [signed(text) for until, signed in self._signing if until is None or now_ms < until]
            )
        if self._github is not None:
            found[GITHUB_HEADER] = sign_github(self._github, body)
        return found | self._fixed if self._fixed else found


def _text_signer(one: SigningSecret) -> Callable[[bytes], str]:
    if one.scheme == "ed25519":
        key = private_key(one.secret)
        return lambda text: "v1a," + base64.b64encode(key.sign(text)).decode()
    return _hmac_signer(signing_key(one.secret))


def _hmac_signer(key: bytes) -> Callable[[bytes], str]:
    """As `_sign_v1`, with the key taken in once. `hmac.digest` would hand the interpreter's lock to another thread
    each time, which costs more than signing; this hands it on for long texts only."""
    keyed = hmac.new(key, digestmod=hashlib.sha256)

    def sign_text(text: bytes) -> str:
        one = keyed.copy()
        one.update(text)
        return "v1," + base64.b64encode(one.digest()).decode()

    return sign_text
