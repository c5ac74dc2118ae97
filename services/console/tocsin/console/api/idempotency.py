"""`Idempotency-Key`: a write that is sent again gets the answer it got before.

Answers are remembered by this process for a day. A create is safe beyond that: its record's id is made from the key,
so a repeat after a restart finds the record there.
"""

from __future__ import annotations

import asyncio
import hashlib
import uuid
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from aiohttp import web

from tocsin.console.access.roles import Caller
from tocsin.console.web.problems import ProblemError
from tocsin.shared.ids import NAMESPACE

HEADER = "Idempotency-Key"
LIFETIME_MS = 24 * 3_600_000
MAX_REMEMBERED = 5_000
MAX_KEY = 255
KEPT_HEADERS = ("ETag", "Location", "Content-Type")


@dataclass
class _Answer:
    fingerprint: str
    until: int
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    status: int = 0
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)


class Idempotency:
    """Answers by caller and key."""

    def __init__(self) -> None:
        self._answers: OrderedDict[tuple[str, str], _Answer] = OrderedDict()

    async def once(
        self, request: web.Request, who: Caller, now_ms: int, work: Callable[[], Awaitable[web.Response]]
    ) -> web.Response:
        """What `work` answers, now or when the key came first. Raises ProblemError 400 or 422."""
        key = request.headers.get(HEADER)
        if key is None:
            return await work()
        if not key or len(key) > MAX_KEY:
            raise ProblemError(400, f"{HEADER} has 1 to {MAX_KEY} characters")
        digest = hashlib.sha256(f"{request.method} {request.path_qs}\n".encode() + await request.read()).hexdigest()
        known = self._answers.get((who.id, key))
        if known is None or known.until <= now_ms:
            known = self._answers[who.id, key] = _Answer(digest, now_ms + LIFETIME_MS)
            while len(self._answers) > MAX_REMEMBERED:
                self._answers.popitem(last=False)
        if known.fingerprint != digest:
            raise ProblemError(422, f"this {HEADER} was used for another request")
        async with known.lock:
            if known.status:
                return web.Response(status=known.status, body=known.body, headers=known.headers)
            response = await work()  # a refusal raises, and may be tried again under the same key
            known.status, known.body = response.status, bytes(response.body or b"")  # type: ignore[arg-type]
            known.headers = {name: response.headers[name] for name in KEPT_HEADERS if name in response.headers}
            return response


def id_from_key(request: web.Request, who: Caller, kind: str) -> str | None:
    """The id a created record gets under its key."""
    key = request.headers.get(HEADER)
    return None if key is None else str(uuid.uuid5(NAMESPACE, f"create\x1f{kind}\x1f{who.id}\x1f{key}"))
