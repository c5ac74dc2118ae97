"""What Redis knows. It only saves work or makes things more precise: absent, slow, flushed or stale, nothing is lost.

- Deliveries that are done: a key is written only after the terminal audit record is durable.
- When a recipient with a rate was last sent to: the next process to have it keeps the distance from the first start.
- A live feed: terminal audit records, published as they become durable; whoever needs all of them reads the topic.

A circuit needs no Redis: it is a row of `recipient-state`, and one process at a time has a recipient.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Mapping, Sequence
from typing import Any, Protocol, TypeVar

import redis.asyncio as redis
from redis.exceptions import RedisError

from tocsin.shared.clock import Clock
from tocsin.shared.telemetry import metrics
from tocsin.shared.telemetry.logs import logger

log = logger(__name__)

T = TypeVar("T")

TIMEOUT = 0.05
REMEMBER_FOR_S = 4 * 86_400
"""A day longer than a delivery may live."""

FAILURES_TO_OPEN = 3
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 30.0
MOST_PUBLISHED = 100
"""Of one transaction: the feed is for people."""


class Suppression(Protocol):
    """Which deliveries are known to be done, and what else several processes tell each other."""

    @property
    def shared(self) -> bool:
        """Whether there is anything to ask."""
        ...

    async def known(self, keys: Sequence[str]) -> set[str]: ...

    async def remember(self, keys: Sequence[str]) -> None: ...

    async def last_start(self, recipient: str) -> int | None:
        """Epoch milliseconds."""
        ...

    async def started(self, starts: Mapping[str, tuple[int, float]]) -> None:
        """(epoch milliseconds, seconds from start to start) by recipient."""
        ...

    async def publish(self, records: Sequence[bytes]) -> None: ...

    async def close(self) -> None: ...


class NoSuppression:
    """Where there is no Redis."""

    shared = False

    async def known(self, keys: Sequence[str]) -> set[str]:
        return set()

    async def remember(self, keys: Sequence[str]) -> None:
        pass

    async def last_start(self, recipient: str) -> int | None:
        return None

    async def started(self, starts: Mapping[str, tuple[int, float]]) -> None:
        pass

    async def publish(self, records: Sequence[bytes]) -> None:
        pass

    async def close(self) -> None:
        pass


class RedisSuppression:
    """Bounded to 50 ms an operation, behind a breaker: after three failures it is left alone for a while."""

    shared = True

    def __init__(self, url: str, prefix: str, clock: Clock) -> None:
        self._client = redis.Redis.from_url(
            url, socket_timeout=TIMEOUT, socket_connect_timeout=TIMEOUT, single_connection_client=False
        )
        self._prefix = f"{prefix}tocsin:"
        self._clock = clock
        self._failures = 0
        self._pause = FIRST_PAUSE
        self._closed_until = 0.0

    async def known(self, keys: Sequence[str]) -> set[str]:
        if self._resting():
            return set()
        found = await self._bounded(self._client.mget([self._done(key) for key in keys]))
        return {key for key, value in zip(keys, found or (), strict=False) if value is not None}

    async def remember(self, keys: Sequence[str]) -> None:
        if self._resting():
            return
        pipeline = self._client.pipeline(transaction=False)
        for key in keys:
            pipeline.set(self._done(key), b"1", ex=REMEMBER_FOR_S)
        await self._bounded(pipeline.execute())

    async def last_start(self, recipient: str) -> int | None:
        if self._resting():
            return None
        found = await self._bounded(self._client.get(f"{self._prefix}started:{recipient}"))
        return int(found) if found is not None and found.isdigit() else None

    async def started(self, starts: Mapping[str, tuple[int, float]]) -> None:
        if self._resting():
            return
        pipeline = self._client.pipeline(transaction=False)
        for recipient, (at_ms, interval) in starts.items():
            pipeline.set(f"{self._prefix}started:{recipient}", str(at_ms), px=max(1_000, int(interval * 1000)))
        await self._bounded(pipeline.execute())

    async def publish(self, records: Sequence[bytes]) -> None:
        if self._resting():
            return
        pipeline = self._client.pipeline(transaction=False)
        for record in records[:MOST_PUBLISHED]:
            pipeline.publish(f"{self._prefix}live", record)
        await self._bounded(pipeline.execute())

    async def close(self) -> None:
        try:
            async with asyncio.timeout(TIMEOUT):
                await self._client.aclose()
        except (RedisError, OSError, TimeoutError):
            pass

    def _done(self, key: str) -> str:
        return f"{self._prefix}done:{key}"

    async def _bounded(self, operation: Awaitable[T]) -> Any:
        """Its answer, or None when there was none in time."""
        try:
            async with asyncio.timeout(TIMEOUT):
                answer = await operation
        except (RedisError, OSError, TimeoutError) as error:
            self._failed(error)
            return None
        self._failures = 0
        self._pause = FIRST_PAUSE
        return answer

    def _resting(self) -> bool:
        return self._clock.monotonic() < self._closed_until

    def _failed(self, error: Exception) -> None:
        metrics.SUPPRESSION_ERRORS.inc()
        self._failures += 1
        if self._failures >= FAILURES_TO_OPEN:
            log.warning("redis is left alone for a while", error=type(error).__name__, seconds=self._pause)
            self._closed_until = self._clock.monotonic() + self._pause
            self._pause = min(self._pause * 2, LONGEST_PAUSE)
