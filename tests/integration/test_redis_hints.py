"""A real Redis, killed, flushed, frozen and restored from an old dump: no loss, no stop, only more repeats."""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis

from delivering import (
    SECRET,
    RunningDispatcher,
    delivery_for,
    dispatcher_settings,
    put_deliveries,
    terminals,
    wait_for_terminals,
    webhook_recipient,
)
from receiver import Receiver
from support import eventually, put_records
from tocsin.deploy.processes import Child, Supervisor
from tocsin.deploy.stack import Stack
from tocsin.deploy.stack.redis import start_redis
from tocsin.dispatcher.ledger_reader import read_ledger
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


def test_whatever_happens_to_redis_every_delivery_ends_once_and_none_waits_for_it(
    stack: Stack, tmp_path: Path, own_redis: OwnRedis
) -> None:
    settings = dispatcher_settings(stack, tmp_path, redis_url=f"redis://127.0.0.1:{own_redis.port}/0")
    fed: list[bytes] = []
    feed = own_redis.client.pubsub()
    feed.subscribe(f"{settings.topic_prefix}tocsin:live")
    with Receiver(SECRET) as receiver, RunningDispatcher(settings):
        hooks = [webhook_recipient(settings, receiver.url, f"R{at}") for at in range(3)]
        put_records(settings, *hooks)
        count = 0

        def deliver(what: Callable[[], None]) -> float:
            """Thirty deliveries while this happens to Redis; how long they took."""
            nonlocal count
            what()
            began = time.monotonic()
            put_deliveries(settings, [delivery_for(hook) for _ in range(10) for hook in hooks])
            count += 30
            eventually(lambda: len(receiver.requests) >= count, within=20)
            return time.monotonic() - began

        def old_dump() -> None:
            own_redis.client.save()
            shutil.copy(own_redis.folder / "dump.rdb", own_redis.folder / "old.rdb")

        def restore() -> None:
            own_redis.kill()
            shutil.copy(own_redis.folder / "old.rdb", own_redis.folder / "dump.rdb")
            own_redis.restart()

        # More than once: on a busy machine the 50 ms may pass, and then it is left alone for a while.
        eventually(lambda: deliver(lambda: None) and own_redis.done() > 0, within=60)
        for _ in range(10):
            message = feed.get_message(ignore_subscribe_messages=True, timeout=0.2)
            if message is not None:
                fed.append(message["data"])
        usual = max(deliver(old_dump), deliver(own_redis.client.flushall), deliver(restore))
        # Frozen, then dead: each operation is given up after 50 ms, and after three Redis is left alone.
        frozen = deliver(own_redis.child.suspend)
        own_redis.child.resume()
        dead = deliver(own_redis.kill)
        print(f"usual {usual:.2f} s, frozen {frozen:.2f} s, dead {dead:.2f} s")
        assert max(frozen, dead) < 1.0 + 3 * usual
        wait_for_terminals(settings, count)
    assert receiver.repeats() == {}
    assert set(terminals(settings).values()) == {1}
    assert read_ledger(settings).ended == {"delivered": count}
    assert fed
    assert all(b'"kind":"delivered"' in record for record in fed)


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
