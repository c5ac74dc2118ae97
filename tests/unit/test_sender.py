"""The sending loop with everything around it faked: what is parked, fetched, sent and cut off."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from msgspec.structs import replace

from delivering import delivery_for, unsigned_recipient
from support import eventually
from tocsin.dispatcher.core.audit import Origin
from tocsin.dispatcher.core.desk import DeskPolicy, Fetch
from tocsin.dispatcher.core.flow import FIRST_IN_FLIGHT
from tocsin.dispatcher.core.outcomes import Accepted
from tocsin.dispatcher.core.standing import CircuitPolicy
from tocsin.dispatcher.fence import Fence
from tocsin.dispatcher.parked_reader import Seen
from tocsin.dispatcher.partitions import Partition, Partitions
from tocsin.dispatcher.pipeline import Pipeline
from tocsin.dispatcher.sender import Sender
from tocsin.dispatcher.sender_parts import SenderParts
from tocsin.dispatcher.stages.records import parked_key
from tocsin.dispatcher.stages.steps import Settled, Taken
from tocsin.dispatcher.standings import Standings
from tocsin.dispatcher.strangers import CATCH_UP_SECONDS
from tocsin.dispatcher.suppression import NoSuppression, Suppression
from tocsin.shared.clock import Clock, SystemClock
from tocsin.shared.configuration.records import Recipient
from tocsin.shared.configuration.snapshot import Configuration
from tocsin.shared.topics import DELIVERY_PARKED

HOOK = unsigned_recipient("https://example.com")


@dataclass
class Source:
    current: Configuration


@dataclass
class Fetcher:
    wanted: list[Fetch] = field(default_factory=list)

    def want(self, fetches: Sequence[Fetch]) -> None:
        self.wanted += fetches


@dataclass
class Loop:
    """A sender and its surroundings."""

    work: Callable[[Taken], Awaitable[Settled]]
    recipient: Recipient = HOOK
    settled: list[Settled] = field(default_factory=list)
    fetcher: Fetcher = field(default_factory=Fetcher)
    partitions: Partitions = field(default_factory=Partitions)
    suppression: Suppression = field(default_factory=NoSuppression)
    clock: Clock = field(default_factory=SystemClock)
    policy: DeskPolicy = field(default_factory=DeskPolicy)

    def __post_init__(self) -> None:
        self.source = Source(Configuration(recipients={HOOK.id: self.recipient}))
        self.partitions.assign(("deliveries", 0), None, "")
        self.parked = self.partitions.assign_parked(("delivery-parked", 0), None)
        found = self.partitions.get(("deliveries", 0))
        assert found is not None
        self.partition: Partition = found
        clock = self.clock
        parts = SenderParts(
            pipeline=Pipeline(self.work),
            channels={},
            suppression=self.suppression,
            standings=Standings(self.source, CircuitPolicy(), "1"),
            configuration=self.source,
            partitions=self.partitions,
            fetcher=self.fetcher,
            fence=Fence(clock),
            clock=clock,
            settle=self.settled.append,
        )
        self.sender = Sender(parts, self.policy)

    def take(self, offset: int, change: int = 0) -> Taken:
        delivery = delivery_for(HOOK, configuration_change=change)
        self.partitions.take(self.partition, offset, 10)
        return Taken(delivery, self.partition, offset, Origin(None, "1"), value=delivery.encode())


@contextmanager
def running(loop: Loop) -> Iterator[Loop]:
    loop.sender.start()
    loop.sender.parked_restored(loop.parked, {})
    eventually(lambda: loop.parked.ready)
    try:
        yield loop
    finally:
        loop.sender.close()


async def deliver(taken: Taken) -> Settled:
    return Settled(taken.partition, taken.offset, attempt=Accepted(200))


def test_what_a_paused_recipient_gets_is_parked_and_comes_back_in_order_when_it_goes_on() -> None:
    with running(Loop(deliver, HOOK.model_copy(update={"paused": True}))) as loop:
        batch = [loop.take(offset) for offset in range(3)]
        loop.sender.submit(batch)
        eventually(lambda: [one.offset for one in loop.settled if one.offset is not None] == [0, 1, 2])
        outs = [out for one in loop.settled for out in one.records if out.topic == DELIVERY_PARKED]
        assert [out.value for out in outs] == [one.value for one in batch]
        assert {out.partition for out in outs} == {0}
        keys = [parked_key(one.delivery) for one in batch]
        seen = [Seen(HOOK.id, key, at, None, 0, False, None, False) for at, key in enumerate(keys)]
        loop.sender.parked_seen(loop.parked, seen)
        time.sleep(0.3)  # some looks around
        assert loop.fetcher.wanted == []
        loop.source.current = Configuration(change=1, recipients={HOOK.id: HOOK})
        eventually(lambda: [one.offset for one in loop.fetcher.wanted] == [0, 1, 2])
        loop.settled.clear()
        for fetch, taken in zip(loop.fetcher.wanted, batch, strict=True):
            loop.partitions.take(loop.parked, fetch.offset, 10)
            parked = replace(taken, partition=loop.parked, offset=fetch.offset, parked=True)
            loop.sender.parked_fetched([(fetch, parked)])
        eventually(lambda: sum(one.offset is not None for one in loop.settled) == 3)
    ended = [one for one in loop.settled if one.offset is not None]
    assert [one.partition for one in ended] == [loop.parked] * 3
    # Each with the tombstone of its place.
    assert [(out.key.decode(), out.value) for one in ended for out in one.records] == [(key, None) for key in keys]


def test_what_is_cut_off_anywhere_is_in_flight_no_longer() -> None:
    async def forever(taken: Taken) -> Settled:
        await asyncio.sleep(60)
        raise AssertionError

    with running(Loop(forever)) as loop:
        loop.sender.submit([loop.take(offset) for offset in range(3)])
        eventually(lambda: loop.partition.in_flight == 3)
        assert not loop.partitions.wait_until_idle([("deliveries", 0)], 0.01)
        loop.sender.cut_off(5)
        assert loop.partitions.wait_until_idle([("deliveries", 0)], 1)
    assert loop.settled == []


def test_those_that_wait_for_their_receivers_hold_nobody_back() -> None:
    async def forever(taken: Taken) -> Settled:
        await asyncio.sleep(60)
        raise AssertionError

    with running(Loop(forever, policy=DeskPolicy(keeps_busy=1))) as loop:
        loop.sender.submit([loop.take(offset) for offset in range(10)])
        eventually(lambda: loop.partition.in_flight == FIRST_IN_FLIGHT)  # of this recipient
        loop.sender.cut_off(5)


def test_no_more_than_keep_the_loop_busy_are_in_flight_when_receivers_answer_at_once() -> None:
    most = 0

    async def at_once(taken: Taken) -> Settled:
        nonlocal most
        most = max(most, loop.partition.in_flight)
        await asyncio.sleep(0)  # a round of the loop
        return await deliver(taken)

    with running(Loop(at_once, policy=DeskPolicy(keeps_busy=1))) as loop:
        loop.sender.submit([loop.take(offset) for offset in range(500)])
        eventually(lambda: len(loop.settled) == 500)
    assert most <= 2 < FIRST_IN_FLIGHT  # one more, of another round


def test_what_comes_late_of_a_partition_that_has_left_goes_nowhere() -> None:
    with running(Loop(deliver)) as loop:
        late = loop.take(0)
        loop.partitions.remove([("deliveries", 0), ("delivery-parked", 0)])
        loop.sender.forget([0])
        loop.sender.submit([late])
        loop.sender.parked_seen(loop.parked, [Seen(HOOK.id, "k", 0, None, 0, False, None, False)])
        time.sleep(0.2)  # nothing is to happen
    assert loop.settled == []
    assert loop.fetcher.wanted == []


@dataclass
class Later(SystemClock):
    """A clock that can be set forward."""

    ahead: float = 0.0

    def monotonic(self) -> float:
        return super().monotonic() + self.ahead


def test_a_recipient_not_heard_of_yet_is_sent_nothing_before_it_is_known_how_it_stands() -> None:
    sent: list[int] = []

    async def note(taken: Taken) -> Settled:
        sent.append(taken.offset)
        return await deliver(taken)

    paused = HOOK.model_copy(update={"paused": True})
    with running(Loop(note)) as loop:
        loop.source.current = Configuration(change=6)
        loop.sender.submit([loop.take(0, change=7), loop.take(1, change=7)])
        loop.sender.submit([loop.take(2, change=7)])
        time.sleep(0.3)  # nothing is to happen
        assert loop.settled == []
        loop.source.current = Configuration(change=7, recipients={HOOK.id: paused})
        loop.sender.submit([loop.take(3, change=7)])
        eventually(lambda: [one.offset for one in loop.settled if one.offset is not None] == [0, 1, 2, 3])
    outs = [out for one in loop.settled for out in one.records if out.topic == DELIVERY_PARKED]
    assert len(outs) == 4
    assert sent == []


def test_a_configuration_that_never_catches_up_is_not_waited_for_for_ever() -> None:
    clock = Later()
    with running(Loop(deliver, clock=clock)) as loop:
        loop.source.current = Configuration(change=6)
        loop.sender.submit([loop.take(0, change=7)])
        time.sleep(0.3)  # nothing is to happen
        assert loop.settled == []
        clock.ahead = CATCH_UP_SECONDS + 1
        eventually(lambda: [one.offset for one in loop.settled] == [0])


def test_what_is_parked_for_a_recipient_not_heard_of_yet_stays_parked_when_that_one_is_paused() -> None:
    """By a process that has taken over with an old configuration."""
    sent: list[str] = []

    async def note(taken: Taken) -> Settled:
        sent.append(taken.delivery.id)
        return await deliver(taken)

    loop = Loop(note)
    loop.source.current = Configuration(change=6)
    with running(loop):
        waiting = [loop.take(offset, change=7) for offset in range(3)]
        keys = [parked_key(one.delivery) for one in waiting]
        loop.sender.parked_seen(
            loop.parked, [Seen(HOOK.id, key, at, None, 0, False, None, False) for at, key in enumerate(keys)]
        )

        def fetched() -> None:
            fetches, loop.fetcher.wanted = loop.fetcher.wanted, []
            for fetch in fetches:
                loop.partitions.take(loop.parked, fetch.offset, 10)
                parked = replace(waiting[fetch.offset], partition=loop.parked, offset=fetch.offset, parked=True)
                loop.sender.parked_fetched([(fetch, parked)])

        eventually(lambda: len(loop.fetcher.wanted) == 3)
        fetched()
        time.sleep(0.3)  # nothing is to happen
        assert sent == []
        loop.source.current = Configuration(change=7, recipients={HOOK.id: HOOK.model_copy(update={"paused": True})})
        eventually(lambda: not loop.parked.bytes)  # given back
        time.sleep(0.3)  # nothing is to happen
        assert (sent, [one for one in loop.settled if one.offset is not None], loop.fetcher.wanted) == ([], [], [])
        loop.source.current = Configuration(change=8, recipients={HOOK.id: HOOK})
        eventually(lambda: len(loop.fetcher.wanted) == 3)
        fetched()
        eventually(lambda: sum(one.offset is not None for one in loop.settled) == 3)
    assert sent == [one.delivery.id for one in waiting]


def test_a_parked_one_is_not_kept_back_for_ever_by_a_configuration_that_never_catches_up() -> None:
    clock = Later()
    with running(Loop(deliver, clock=clock)) as loop:
        loop.source.current = Configuration(change=6)
        one = loop.take(0, change=7)
        seen = Seen(HOOK.id, parked_key(one.delivery), 0, None, 0, False, None, False)
        loop.sender.parked_seen(loop.parked, [seen])
        eventually(lambda: loop.fetcher.wanted)
        loop.partitions.take(loop.parked, 0, 10)
        loop.sender.parked_fetched([(loop.fetcher.wanted[0], replace(one, partition=loop.parked, parked=True))])
        time.sleep(0.3)  # nothing is to happen
        assert loop.settled == []
        clock.ahead = CATCH_UP_SECONDS + 1
        eventually(lambda: [one.partition for one in loop.settled] == [loop.parked])


def test_a_pause_counts_in_all_partitions_though_another_one_has_just_come() -> None:
    with running(Loop(deliver)) as loop:
        loop.sender.submit([loop.take(0)])
        eventually(lambda: len(loop.settled) == 1)
        other = loop.partitions.assign_parked(("delivery-parked", 1), None)
        loop.source.current = Configuration(change=1, recipients={HOOK.id: HOOK.model_copy(update={"paused": True})})
        loop.sender.parked_restored(other, {})
        eventually(lambda: other.ready)
        time.sleep(0.3)  # some looks around
        loop.sender.submit([loop.take(1)])
        eventually(lambda: [one.offset for one in loop.settled if one.offset is not None] == [0, 1])
    assert DELIVERY_PARKED in {out.topic for out in loop.settled[-1].records}


class FirstAnswerLate(NoSuppression):
    """As Redis may be."""

    def __init__(self) -> None:
        self.asked = 0

    async def known(self, keys: Sequence[str]) -> set[str]:
        self.asked += 1
        if self.asked == 1:
            await asyncio.sleep(0.1)
        return set()


def test_batches_go_on_in_the_order_in_which_they_were_read_though_redis_answers_in_another() -> None:
    with running(Loop(deliver, suppression=FirstAnswerLate())) as loop:
        for offset in range(3):
            loop.sender.submit([loop.take(offset)])
        eventually(lambda: len(loop.settled) == 3)
    assert [one.offset for one in loop.settled] == [0, 1, 2]
