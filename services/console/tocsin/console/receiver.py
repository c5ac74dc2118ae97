"""What `tocsin listen` knows about a request: is it genuine, has it come before, how does it look. No socket here."""

from __future__ import annotations

import base64
import hmac
import json
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from standardwebhooks import Webhook, WebhookVerificationError

from tocsin.dispatcher.core.signing import GITHUB_HEADER, PUBLIC_PREFIX, check_secret, sign_github
from tocsin.shared.errors import SettingsError
from tocsin.shared.times import format_rfc3339

PREFIX = "whsec_"
NO_SECRET = "no secret given"  # noqa: S105  a reason, not a secret
MAX_REMEMBERED = 100_000
MAX_BODY_LINES = 40
_MASKED = frozenset({"authorization", "proxy-authorization", "cookie", "x-api-token", "x-api-key", "x-routing-key"})


@dataclass(frozen=True, slots=True)
class Request:
    """One request as it came. Header names are in lower case."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes
    received_at: int  # epoch milliseconds


@dataclass(frozen=True, slots=True)
class Seen:
    """A request and the verdict on it."""

    request: Request
    verified: bool
    why_not: str | None
    repeat: bool
    status: int  # what it was answered

    @property
    def id(self) -> str:
        return self.request.headers.get("webhook-id", "")


class Verifier:
    """Tells genuine requests. Several secrets: any of them may have signed.

    What a request carries says how it is verified: `webhook-signature` by the third-party package that receivers use
    (with a `whpk_…` key, as ed25519), else `X-Hub-Signature-256`, else the secret itself in `header`.
    """

    def __init__(self, secrets: Sequence[str], header: str | None = None) -> None:
        """Raises SettingsError when a secret is none."""
        self._secrets = [secret for secret in secrets if not secret.startswith(PUBLIC_PREFIX)]
        for secret in self._secrets:
            for problem in check_secret(secret):
                raise SettingsError(problem)
        self._header = header.lower() if header else None
        self._webhooks = [Webhook(wrapped(secret)) for secret in self._secrets]
        try:
            self._keys = [public_key_of(secret) for secret in secrets if secret.startswith(PUBLIC_PREFIX)]
        except ValueError as error:
            raise SettingsError(str(error)) from None

    def why_not(self, headers: Mapping[str, str], body: bytes) -> str | None:
        """Why the request is not verified; None when it is. Header names are in lower case."""
        if not (self._webhooks or self._keys):
            return NO_SECRET
        if self._header is not None:
            given = headers.get(self._header, "").encode()
            found = any(hmac.compare_digest(given, secret.encode()) for secret in self._secrets)
            return None if found else f"{self._header} does not hold the secret"
        if "webhook-signature" not in headers and (signature := headers.get(GITHUB_HEADER.lower())):
            found = any(hmac.compare_digest(signature, sign_github(secret, body)) for secret in self._secrets)
            return None if found else "no matching signature found"
        if self._keys and fits_ed25519(self._keys, headers, body):
            return None
        reason = "no matching signature found"
        for webhook in self._webhooks:
            try:
                webhook.verify(body, dict(headers), json_parse=False)
                return None
            except WebhookVerificationError as error:
                reason = str(error).lower()
            except ValueError:  # a body that is not UTF-8, or a malformed header
                reason = "malformed signature headers or body"
        return reason


def public_key_of(text: str) -> Ed25519PublicKey:
    """Of `whpk_` and base64. Raises ValueError."""
    try:
        return Ed25519PublicKey.from_public_bytes(base64.b64decode(text[len(PUBLIC_PREFIX) :], validate=True))
    except ValueError:
        raise ValueError(f"a public key is {PUBLIC_PREFIX} and the base64 of 32 bytes") from None


def fits_ed25519(keys: Sequence[Ed25519PublicKey], headers: Mapping[str, str], body: bytes) -> bool:
    """Whether one of the `v1a` signatures was made with one of the keys. How old it is does not matter here."""
    signed = f"{headers.get('webhook-id', '')}.{headers.get('webhook-timestamp', '')}.".encode() + body
    for one in headers.get("webhook-signature", "").split():
        version, _, encoded = one.partition(",")
        for key in keys if version == "v1a" else ():
            with suppress(InvalidSignature, ValueError):
                key.verify(base64.b64decode(encoded), signed)
                return True
    return False


def wrapped(secret: str) -> str:
    """The form the package takes; it would read a typed secret as base64."""
    return secret if secret.startswith(PREFIX) else PREFIX + base64.b64encode(secret.encode()).decode()


class History:
    """Ids that came before; the newest ones only, so that memory stays bounded."""

    def __init__(self, most: int = MAX_REMEMBERED) -> None:
        self._most = most
        self._ids: OrderedDict[str, None] = OrderedDict()

    def is_repeat(self, webhook_id: str) -> bool:
        if not webhook_id:
            return False
        repeat = webhook_id in self._ids
        self._ids[webhook_id] = None
        self._ids.move_to_end(webhook_id)
        if len(self._ids) > self._most:
            self._ids.popitem(last=False)
        return repeat


def as_json(seen: Seen) -> str:
    """One line."""
    request = seen.request
    headers = {name: "***" if name in _MASKED else value for name, value in request.headers.items()}
    found = {
        "id": seen.id,
        "verified": seen.verified,
        "why_not": seen.why_not,
        "repeat": seen.repeat,
        "received_at": format_rfc3339(request.received_at),
        "method": request.method,
        "path": request.path,
        "status": seen.status,
        "size": len(request.body),
        "headers": headers,
        "body": request.body.decode(errors="replace"),
    }
    return json.dumps(found, ensure_ascii=False)


def headline(seen: Seen) -> str:
    """Time, method, path, id, verdict, repeat, size, answer."""
    request = seen.request
    verdict = "verified" if seen.verified else f"not verified ({seen.why_not})"
    parts = [
        format_rfc3339(request.received_at),
        f"{request.method} {request.path}",
        seen.id or "no webhook-id",
        verdict,
        *(["repeat"] if seen.repeat else []),
        f"{len(request.body)} bytes",
        f"answered {seen.status}",
    ]
    return printable("  ".join(parts))


def body_lines(body: bytes) -> list[str]:
    """JSON indented, anything else as text; control characters spelt out, so that nothing writes to the terminal."""
    try:
        text = json.dumps(json.loads(body), indent=2, ensure_ascii=False)
    except (ValueError, RecursionError):
        text = body.decode(errors="backslashreplace")
    lines = [printable(line) for line in text.splitlines()]
    if len(lines) > MAX_BODY_LINES:
        lines[MAX_BODY_LINES:] = [f"… {len(lines) - MAX_BODY_LINES} more lines"]
    return lines


def printable(text: str) -> str:
    return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in text)
