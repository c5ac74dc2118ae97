"""`Idempotency-Key`: a write that is sent again gets the answer it got before.

The answers themselves are remembered by this process for a day. That a write was done is remembered by the topic, with
the change it made (repeats.py): a repeat after a restart, or at another console, finds it done and is answered from
what stands there now. A created record's id is made from the key.
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
from tocsin.console.repeats import LIFETIME_MS, Keyed, KeyReusedError, done_before, in_hand
from tocsin.console.web.context import console
from tocsin.console.web.problems import ProblemError
from tocsin.shared.ids import NAMESPACE

HEADER = "Idempotency-Key"
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
            raise KeyReusedError
        async with known.lock:
            if known.status:
                return web.Response(status=known.status, body=known.body, headers=known.headers)
            keyed = Keyed.of(who.id, key, digest, now_ms)
            done_before(console(request).directory.state, keyed, now_ms)
            token = in_hand.set(keyed)
            try:
                response = await work()  # a refusal raises, and may be tried again under the same key
            finally:
                in_hand.reset(token)
            known.status, known.body = response.status, bytes(response.body or b"")  # type: ignore[arg-type]
            known.headers = {name: response.headers[name] for name in KEPT_HEADERS if name in response.headers}
            return response


def is_repeat(request: web.Request) -> bool:
    """Whether the topic says that the request in hand was done before."""
    services = console(request)
    return done_before(services.directory.state, in_hand.get(), services.clock.now_ms())


def id_from_key(request: web.Request, who: Caller, kind: str) -> str | None:
    """The id a created record gets under its key."""
    key = request.headers.get(HEADER)
    return None if key is None else str(uuid.uuid5(NAMESPACE, f"create\x1f{kind}\x1f{who.id}\x1f{key}"))
