"""Repeats known from Redis. It only ever saves work: absent, slow, flushed or stale, nothing is lost by it.

A key says "done", and is written only after the terminal audit record is durable.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Protocol

import redis.asyncio as redis
from redis.exceptions import RedisError

from tocsin.shared.clock import Clock
from tocsin.shared.telemetry import metrics
from tocsin.shared.telemetry.logs import logger

log = logger(__name__)

TIMEOUT = 0.05
REMEMBER_FOR_S = 4 * 86_400
"""A day longer than a delivery may live."""

FAILURES_TO_OPEN = 3
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 30.0


class Suppression(Protocol):
    """Which deliveries are known to be done."""

    async def known(self, keys: Sequence[str]) -> set[str]: ...

    async def remember(self, keys: Sequence[str]) -> None: ...

    async def close(self) -> None: ...


class NoSuppression:
    """Where there is no Redis."""

    async def known(self, keys: Sequence[str]) -> set[str]:
        return set()

    async def remember(self, keys: Sequence[str]) -> None:
        pass

    async def close(self) -> None:
        pass


class RedisSuppression:
    """Bounded to 50 ms an operation, behind a breaker: after three failures it is left alone for a while."""

    def __init__(self, url: str, prefix: str, clock: Clock) -> None:
        self._client = redis.Redis.from_url(
            url, socket_timeout=TIMEOUT, socket_connect_timeout=TIMEOUT, single_connection_client=False
        )
        self._prefix = f"{prefix}tocsin:done:"
        self._clock = clock
        self._failures = 0
        self._pause = FIRST_PAUSE
        self._closed_until = 0.0

    async def known(self, keys: Sequence[str]) -> set[str]:
        if self._resting():
            return set()
        try:
            async with asyncio.timeout(TIMEOUT):
                found = await self._client.mget([self._prefix + key for key in keys])
        except (RedisError, OSError, TimeoutError) as error:
            self._failed(error)
            return set()
        self._worked()
        return {key for key, value in zip(keys, found, strict=True) if value is not None}

    async def remember(self, keys: Sequence[str]) -> None:
        if self._resting():
            return
        pipeline = self._client.pipeline(transaction=False)
        for key in keys:
            pipeline.set(self._prefix + key, b"1", ex=REMEMBER_FOR_S)
        try:
            async with asyncio.timeout(TIMEOUT):
                await pipeline.execute()
        except (RedisError, OSError, TimeoutError) as error:
            self._failed(error)
        else:
            self._worked()

    async def close(self) -> None:
        try:
            async with asyncio.timeout(TIMEOUT):
                await self._client.aclose()
        except (RedisError, OSError, TimeoutError):
            pass

    def _resting(self) -> bool:
        return self._clock.monotonic() < self._closed_until

    def _worked(self) -> None:
        self._failures = 0
        self._pause = FIRST_PAUSE

    def _failed(self, error: Exception) -> None:
        metrics.SUPPRESSION_ERRORS.inc()
        self._failures += 1
        if self._failures >= FAILURES_TO_OPEN:
            log.warning("redis is left alone for a while", error=type(error).__name__, seconds=self._pause)
            self._closed_until = self._clock.monotonic() + self._pause
            self._pause = min(self._pause * 2, LONGEST_PAUSE)
