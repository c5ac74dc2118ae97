"""Takes a recipient's secrets out of what its receiver sends back. Pure.

Some receivers echo the whole request, headers and all, into their error pages; the beginning of an answer goes into
the audit and into dead letters.
"""

from __future__ import annotations

import base64
import html
import json
import re
from collections.abc import Iterable
from urllib.parse import quote, quote_plus

MASK = b"***"


class Redactor:
    """Made once for a recipient. Its repr shows nothing."""

    __slots__ = ("_pattern",)

    def __init__(self, secrets: Iterable[str]) -> None:
        forms = {form for secret in secrets if secret for form in _forms(secret)}
        longest_first = sorted(forms, key=lambda form: (-len(form), form))
        self._pattern = re.compile(b"|".join(re.escape(form) for form in longest_first)) if forms else None

    def __repr__(self) -> str:
        return "Redactor()"

    def __call__(self, data: bytes) -> bytes:
        return self._pattern.sub(MASK, data) if self._pattern is not None and data else data


def _forms(secret: str) -> Iterable[bytes]:
    """As it was sent, and as pages and logs write it."""
    plain = secret.encode("utf-8", "replace")
    yield plain
    yield plain.decode("latin-1").encode()  # read as Latin-1, written as UTF-8
    yield json.dumps(secret)[1:-1].encode()
    yield json.dumps(secret, ensure_ascii=False)[1:-1].encode("utf-8", "replace")
    yield html.escape(secret).encode("utf-8", "replace")
    yield quote(plain, safe="").encode()
    yield quote_plus(plain).encode()
    yield repr(secret)[1:-1].encode("utf-8", "replace")
    yield base64.b64encode(plain)
