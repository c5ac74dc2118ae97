"""What a webhook client is: one request to a checked address within a total time, and what came of it.

Two of them are under the same contract suite: `http_lean.py`, a plain asyncio protocol that sends everything unless
told otherwise, and `http_aiohttp.py`, on aiohttp's client, for whoever sets TOCSIN_HTTP_CLIENT=aiohttp.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import msgspec
import yarl

from tocsin.dispatcher.core.outcomes import Unavailable, Unknown

CONNECT_TIMEOUT = 5.0
MAX_RESPONSE_BYTES = 16 * 1024
"""Read of an answer's body at the most, and of its head."""

KEEPALIVE = 4.0
"""Seconds a connection may be idle. Shorter than the usual servers' 5: one that closes as we write loses the answer."""


@dataclass(frozen=True, slots=True)
class Target:
    """One recipient's webhook: what stays the same over its requests."""

    method: str
    url: yarl.URL
    headers: Mapping[str, str]
    timeout: float  # seconds, in all


class Answer(msgspec.Struct, frozen=True):
    """What the receiver said: as much of it as is read."""

    status: int
    body: bytes
    retry_after: str | None = None


class Endpoint(Protocol):
    """The way to one target. Its connections serve nobody else."""

    async def send(self, headers: Mapping[str, str], body: bytes) -> Answer | Unavailable | Unknown:
        """One request, with these headers beside the target's own. Whatever the receiver does is returned."""
        ...

    def close(self) -> None:
        """The target is not used any more."""
        ...


class HttpClient(Protocol):
    """Makes endpoints. Used from one event loop; opens nothing before the first request."""

    def open(self, target: Target) -> Endpoint: ...

    async def close(self) -> None: ...
