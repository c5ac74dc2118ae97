"""The small shells: partitions, the fence, repeat suppression."""

from __future__ import annotations

import asyncio
import socket
import threading
from dataclasses import dataclass

from tocsin.dispatcher.fence import Fence
from tocsin.dispatcher.partitions import Partitions
from tocsin.dispatcher.suppression import NoSuppression, RedisSuppression


@dataclass
class Clock:
    now: float = 0.0

    def now_ms(self) -> int:
        return int(self.now * 1000)

    def monotonic(self) -> float:
        return self.now


def test_the_fence_closes_when_results_wait_longer_than_a_session() -> None:
    clock = Clock()
    fence = Fence(clock, after_s=10)
    assert not fence.closed
    fence.waiting()
    clock.now = 9.9
    fence.waiting()  # a second try of the same transaction does not begin anew
    assert not fence.closed
    clock.now = 10.0
    assert fence.closed
    fence.confirmed()
    assert not fence.closed


def test_results_of_a_partition_that_has_left_are_dropped() -> None:
    partitions = Partitions()
    partitions.assign(("t", 0), 5, "")
    partition = partitions.get(("t", 0))
    assert partition is not None
    partitions.take(partition, 5, 100)
    assert (partitions.open, partitions.open_bytes) == (1, 100)
    assert partitions.start(partition)
    partitions.remove([("t", 0)])
    partitions.assign(("t", 0), 5, "")
    assert not partitions.settle(partition, 5)
    assert not partitions.start(partition)
    assert (partitions.open, partitions.open_bytes) == (0, 0)


def test_a_partition_being_taken_away_starts_nothing_and_is_waited_for() -> None:
    partitions = Partitions()
    partitions.assign(("t", 0), None, "")
    partition = partitions.get(("t", 0))
    assert partition is not None
    assert partitions.start(partition)
    partitions.stop_starting([("t", 0)])
    assert not partitions.start(partition)
    assert not partitions.wait_until_idle([("t", 0)], 0.01)
    threading.Timer(0.05, partitions.end, [partition, 0]).start()
    assert partitions.wait_until_idle([("t", 0)], 5)


def test_what_has_ended_and_is_not_written_yet_is_open_but_not_unsent() -> None:
    partitions = Partitions()
    partitions.assign(("t", 0), None, "")
    partition = partitions.get(("t", 0))
    assert partition is not None
    for offset in range(3):
        partitions.take(partition, offset, 1)
        assert partitions.start(partition)
    partitions.end(partition, 1)
    assert (partitions.open, partition.unsent) == (3, 2)
    # The settling thread may be quicker than the end of the attempt.
    assert partitions.settle(partition, 0)
    partitions.end(partition, 0)
    assert (partitions.open, partition.unsent) == (2, 1)
    assert partitions.settle(partition, 1)
    assert (partitions.open, partition.unsent) == (1, 1)
    partitions.remove([("t", 0)])
    partitions.end(partition, 2)
    assert (partitions.open, partition.unsent) == (0, 0)


def test_settling_twice_counts_once() -> None:
    partitions = Partitions()
    partitions.assign(("t", 0), None, "")
    partition = partitions.get(("t", 0))
    assert partition is not None
    partitions.take(partition, 0, 1)
    assert partitions.settle(partition, 0)
    assert not partitions.settle(partition, 0)
    assert partitions.commits([partition]) == {("t", 0): (1, "")}


def test_without_redis_or_with_a_dead_or_a_silent_one_nothing_is_known_and_nothing_waits() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]

        async def scenario() -> None:
            loop = asyncio.get_running_loop()
            assert await NoSuppression().known(["a"]) == set()
            for url in (f"redis://127.0.0.1:{port}/0", "redis://127.0.0.1:1/0"):
                clock = Clock()
                suppression = RedisSuppression(url, "", clock)
                started = loop.time()
                for _ in range(3):
                    assert await suppression.known(["a", "b"]) == set()
                assert loop.time() - started < 1.0
                # The breaker is open now: not even 50 ms are spent.
                started = loop.time()
                for _ in range(100):
                    await suppression.remember(["a"])
                assert loop.time() - started < 0.04
                await suppression.close()

        asyncio.run(scenario())
