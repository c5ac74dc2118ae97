"""A real Redis, killed, flushed, frozen and restored from an old dump: no loss, no stop, only more repeats."""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from tocsin.deploy.processes import Child, Supervisor
from tocsin.deploy.stack.redis import start_redis
from tocsin.dispatcher.suppression import RedisSuppression

pytestmark = [
    pytest.mark.kafka,
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("redis-server") is None, reason="redis-server is not installed"),
]


class Clock:
    """One that lets no breaker close for long."""

    def now_ms(self) -> int:
        return int(time.time() * 1000)

    def monotonic(self) -> float:
        return time.monotonic() * 1_000


class OwnRedis:
    """A redis-server that anything may happen to."""

    def __init__(self, folder: Path, supervisor: Supervisor) -> None:
        self.folder, self._supervisor = folder, supervisor
        self.child, self.port = self._start(None)
        self.client = redis.Redis("127.0.0.1", self.port)

    def _start(self, port: int | None) -> tuple[Child, int]:
        started = start_redis(self.folder, self._supervisor, port)
        assert started is not None
        return started

    def kill(self) -> None:
        self.child.kill()

    def restart(self) -> None:
        self.child, _ = self._start(self.port)
        self.client = redis.Redis("127.0.0.1", self.port)

    def done(self) -> int:
        return len(self.client.keys("*done:*"))


@pytest.fixture
def own_redis(tmp_path: Path) -> Iterator[OwnRedis]:
    with Supervisor() as supervisor:
        yield OwnRedis(tmp_path / "redis", supervisor)


def test_what_it_is_told_it_knows(own_redis: OwnRedis) -> None:
    """Asked again while a busy machine lets the 50 ms pass."""

    async def scenario() -> None:
        redis_ = RedisSuppression(f"redis://127.0.0.1:{own_redis.port}/0", "p.", Clock())
        for _ in range(50):
            await redis_.remember(["a:0", "b:1"])
            await redis_.started({"r": (1_764_064_800_123, 720.0)})
            if await redis_.known(["a:0", "a:1", "b:1"]) == {"a:0", "b:1"} and await redis_.last_start("r"):
                break
            await asyncio.sleep(0.1)
        else:
            raise AssertionError("it never knew")
        assert await redis_.last_start("r") == 1_764_064_800_123
        assert await redis_.last_start("other") is None
        await redis_.close()

    asyncio.run(scenario())
    assert 700 <= own_redis.client.ttl("p.tocsin:started:r") <= 720
