"""Which headers a recipient may set. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable

_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+", re.ASCII)  # RFC 9110 section 5.6.2
_FORBIDDEN_IN_VALUES = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
MAX_NAME = 256
MAX_VALUE = 4096

# They frame the message or belong to the connection: whoever sets them can smuggle a second request.
REFUSED = frozenset(
    {"host", "connection", "content-length", "transfer-encoding", "te", "trailer", "upgrade", "keep-alive", "expect"}
)
REFUSED_PREFIXES = ("proxy-", "webhook-")


def check_headers(headers: Iterable[tuple[str, str | None]]) -> list[str]:
    """Problems, readable. A value of None is one that is kept encrypted and was checked when it was typed."""
    problems: list[str] = []
    seen: set[str] = set()
    for name, value in headers:
        shown = name[:64]
        folded = name.lower()
        if not _TOKEN.fullmatch(name):
            problems.append(f"header {shown!r}: a name has letters, digits and !#$%&'*+-.^_`|~ only")
        elif len(name) > MAX_NAME:
            problems.append(f"header {shown!r}: a name has at most {MAX_NAME} characters")
        elif folded in REFUSED or folded.startswith(REFUSED_PREFIXES):
            problems.append(f"header {shown!r}: is set by the sender itself and may not be given")
        elif folded in seen:
            problems.append(f"header {shown!r}: is there twice (upper and lower case are the same)")
        seen.add(folded)
        problems += _check_value(shown, value)
    return problems


def _check_value(shown: str, value: str | None) -> list[str]:
    # The value itself is never shown: it may be secret.
    if value is None:
        return []
    if _FORBIDDEN_IN_VALUES.search(value):
        return [f"header {shown!r}: the value must not contain control characters such as CR, LF or NUL"]
    if len(value) > MAX_VALUE:
        return [f"header {shown!r}: the value has at most {MAX_VALUE} characters, not {len(value)}"]
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        return [f"header {shown!r}: the value must be valid Unicode"]
    return []
