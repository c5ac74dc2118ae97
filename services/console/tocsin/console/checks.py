"""Whether a webhook can be sent as it is written: the dispatcher's own pure rules, asked when it is saved."""

from __future__ import annotations

import re
from collections.abc import Iterable

from tocsin.dispatcher.core.egress import EgressPolicy, check_url
from tocsin.dispatcher.core.headers import check_headers
from tocsin.dispatcher.core.signing import GITHUB_HEADER, check_secret
from tocsin.dispatcher.core.templates import check_template

__all__ = [
    "GITHUB_HEADER",
    "EgressPolicy",
    "check_email",
    "check_headers",
    "check_secret",
    "check_template",
    "check_url",
]

# The form HTML gives to <input type=email>, and at least one character that is not a dot around each dot.
_EMAIL = re.compile(
    r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(?:\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*"
    r"@[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?(?:\.[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?)*",
    re.ASCII,
)
MAX_EMAIL = 254
"""RFC 5321, section 4.5.3.1.3, less the angle brackets."""
MAX_LOCAL_PART = 64


def check_email(address: str) -> list[str]:
    """Problems of an email address: one address, no display name."""
    if len(address) > MAX_EMAIL or len(address.partition("@")[0]) > MAX_LOCAL_PART:
        return [f"the address has more than {MAX_EMAIL} characters, or more than {MAX_LOCAL_PART} before the @"]
    if not _EMAIL.fullmatch(address):
        return [f"{address[:64]!r} is not one email address such as oncall@example.com"]
    return []


def statuses(texts: Iterable[str]) -> tuple[int, ...]:
    """HTTP statuses from 400 to 599, sorted. Raises ValueError."""
    found = set()
    for text in texts:
        if not re.fullmatch(r"[45]\d\d", text, re.ASCII):
            raise ValueError(f"{text[:64]!r} is not an HTTP status from 400 to 599")
        found.add(int(text))
    return tuple(sorted(found))
