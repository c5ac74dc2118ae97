"""How an attempt can end. Pure."""

from __future__ import annotations

import msgspec

MAX_EXCERPT_BYTES = 1024


class Accepted(msgspec.Struct, frozen=True):
    """The receiver has taken it."""

    status: int
    excerpt: str = ""


class Refused(msgspec.Struct, frozen=True):
    """Trying again is useless: 410, a status the recipient calls permanent, SMTP 5xx, no such template."""

    reason: str
    status: int | None = None
    excerpt: str = ""
    detail: str = ""  # for people: what to mend


class Unavailable(msgspec.Struct, frozen=True):
    """Trying again may help: timeout, 429, 5xx, no connection."""

    reason: str
    status: int | None = None
    excerpt: str = ""
    retry_after_ms: int | None = None  # what the receiver asked for
    detail: str = ""  # for people: what to mend


class Unknown(msgspec.Struct, frozen=True):
    """It was written and no answer came: it may have arrived. Retried like a failure."""

    reason: str
    status: int | None = None
    excerpt: str = ""


Outcome = Accepted | Refused | Unavailable | Unknown


def excerpt_of(data: bytes) -> str:
    """The beginning of an answer, at most 1 KiB as UTF-8, control characters escaped."""
    text = data[:MAX_EXCERPT_BYTES].decode("utf-8", "replace")
    shown = "".join(letter if letter.isprintable() else letter.encode("unicode_escape").decode() for letter in text)
    return shown.encode()[:MAX_EXCERPT_BYTES].decode("utf-8", "ignore")


def classify_status(status: int, permanent: tuple[int, ...], excerpt: str, retry_after_ms: int | None) -> Outcome:
    """2xx is success and nothing else; a redirect is a failure like any other."""
    if 200 <= status < 300:
        return Accepted(status, excerpt)
    if status == 410:
        return Refused("gone", status, excerpt)
    if status in permanent:
        return Refused("permanent_refusal", status, excerpt)
    return Unavailable(f"http_{status}", status, excerpt, retry_after_ms)
