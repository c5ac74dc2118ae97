"""The order of row, event and commit, seen from a bus whose acknowledgements come by hand."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from decimal import Decimal
from typing import Any

import pytest

from tocsin.evaluator.activator.engine import Delivered, Engine, NotTaken, Ticker
from tocsin.evaluator.activator.offsets import Offsets, Position, Seen
from tocsin.evaluator.activator.rows import Rows
from tocsin.evaluator.core.activation import Place
from tocsin.evaluator.core.activation_partition import Record
from tocsin.evaluator.core.notification import Rulebook
from tocsin.shared.clock import SystemClock
from tocsin.shared.configuration.condition import parse_condition
from tocsin.shared.configuration.records import Notification, Sensor, SensorUse, ThresholdSpec
from tocsin.shared.configuration.snapshot import Configuration
from tocsin.shared.headers import Headers
from tocsin.shared.schemas.tally import Tally

T0 = 1_764_000_000_000
BOOK = Rulebook.of(
    Configuration(
        change=1,
        sensors={"s": Sensor(id="s", name="S", metric="m", trigger=parse_condition("> 1"))},
        notifications={
            "n": Notification(
                id="n",
                name="N",
                sensors=(SensorUse(sensor_id="s"),),
                threshold=ThresholdSpec(value=Decimal(1), is_percent=False),
                recipient_ids=(),
            )
        },
    ),
    "",
)


class FakeBus:
    """Writes down what it is told; acknowledges what `let` names."""

    def __init__(self) -> None:
        self.table: dict[bytes, bytes] = {}
        self.said: list[str] = []
        self.waiting: list[tuple[str, asyncio.Future[None]]] = []
        self.values: list[tuple[str, bytes]] = []

    def _future(self, what: str) -> asyncio.Future[None]:
        self.said.append(what)
        future = asyncio.get_running_loop().create_future()
        self.waiting.append((what, future))
        return future

    async def let(self, *names: str) -> list[str]:
        """Acknowledge all of these kinds; what was said since the start."""
        for what, future in self.waiting:
            if what in names and not future.done():
                future.set_result(None)
        await asyncio.sleep(0.01)
        return self.said

    async def refuse(self, name: str, error: Exception) -> list[str]:
        """The oldest unacknowledged one of this kind is not taken; what was said since the start."""
        next(future for what, future in self.waiting if what == name and not future.done()).set_exception(error)
        await asyncio.sleep(0.01)
        return self.said

    def rows(self) -> dict[bytes, bytes]:
        return dict(self.table)

    def write(self, key: bytes, row: bytes | None) -> list[Awaitable[Any]]:
        assert row is not None
        self.table[key] = row
        return [self._future("row")]

    async def send(
        self, topic: str, key: bytes, value: bytes, headers: Headers | None = None, partition: int | None = None
    ) -> Awaitable[Any]:
        self.values.append((topic, value))
        return self._future(topic if partition is None else f"{topic} {partition}")

    async def settle(self, delivered: Delivered, *, commit: bool) -> None:
        self.said.append(f"{'commit' if commit else 'skip'} {delivered.record.place.offset}")

    async def read_again(self, delivered: Delivered, offset: int) -> None:
        self.said.append(f"seek {offset}")


class FakeView:
    """A log that begins at 0, committed at `start`, with records from `there` on."""

    def __init__(self, start: int = 0, there: int = 0) -> None:
        self.start, self.there = start, there

    def positions(self, partitions: set[int]) -> dict[int, Position] | None:
        return {partition: Position(self.start, 0, 100) for partition in partitions}

    def first_from(self, partition: int, offset: int) -> int | None:
        return max(offset, self.there)


def tally(offset: int, matched: int) -> Delivered:
    value = Tally(
        notification_id="n",
        revision=BOOK.rules["n"].revision,
        partition=0,
        partitions=1,
        epoch=1,
        counter=offset,
        matched=matched,
        reporting=5,
        time=T0,
        sent_at=T0,
    )
    return Delivered(Record(b"n", value.encode(), Place(0, offset, T0)), None)


def run(story: Callable[[Engine, FakeBus], Awaitable[None]], view: FakeView | None = None) -> FakeBus:
    async def told() -> FakeBus:
        bus = FakeBus()
        engine = Engine(bus, Rows(1), view or FakeView(), lambda: BOOK, lambda: None)
        await engine.recovered({0})
        flusher = asyncio.create_task(engine.flush())
        await story(engine, bus)
        flusher.cancel()
        return bus

    return asyncio.run(told())


def test_the_event_waits_for_the_row_and_the_commit_waits_for_the_event() -> None:
    async def story(engine: Engine, bus: FakeBus) -> None:
        await engine.take(tally(0, 1))
        assert await bus.let() == ["row"]
        assert await bus.let("row") == ["row", "activations", "notification-events"]
        assert await bus.let("activations") == ["row", "activations", "notification-events"]
        assert (await bus.let("notification-events"))[-1] == "commit 0"

    run(story)


def test_commits_come_in_order_even_when_later_rows_are_acknowledged_first() -> None:
    async def story(engine: Engine, bus: FakeBus) -> None:
        for offset in range(3):
            await engine.take(tally(offset, 0))
        bus.waiting[2][1].set_result(None)
        assert "commit" not in " ".join(await bus.let())
        assert (await bus.let("row"))[-3:] == ["commit 0", "commit 1", "commit 2"]

    run(story)


def test_a_write_that_fails_ends_the_flusher_and_nothing_is_committed() -> None:
    async def told() -> list[str]:
        bus = FakeBus()
        engine = Engine(bus, Rows(1), FakeView(), lambda: BOOK, lambda: None)
        await engine.recovered({0})
        await engine.take(tally(0, 1))
        bus.waiting[0][1].set_exception(OSError("the broker said no"))
        with pytest.raises(OSError, match="said no"):
            await engine.flush()
        return bus.said

    assert asyncio.run(told()) == ["row"]


EVENT = ["activations", "notification-events"]


def test_an_event_that_the_broker_did_not_take_is_sent_again_before_anything_is_committed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("tocsin.evaluator.activator.engine.BROKER_RETRY_S", 0)

    async def story(engine: Engine, bus: FakeBus) -> None:
        await engine.take(tally(0, 1))
        await bus.let("row")
        await bus.refuse("activations", NotTaken())
        assert await bus.let("notification-events") == ["row", *EVENT, *EVENT]
        await bus.refuse("notification-events", NotTaken())
        assert await bus.let("activations") == ["row", *EVENT, *EVENT, *EVENT]
        assert (await bus.let(*EVENT))[-1] == "commit 0"

    run(story)


def test_what_follows_an_event_that_was_not_taken_is_sent_again_behind_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tocsin.evaluator.activator.engine.BROKER_RETRY_S", 0)

    async def story(engine: Engine, bus: FakeBus) -> None:
        await engine.take(tally(0, 1))
        await engine.take(tally(1, 0))
        assert (await bus.let("row"))[2:] == [*EVENT, *EVENT]
        first = [value for topic, value in bus.values if topic == "notification-events"]
        await bus.let("activations")
        await bus.refuse("notification-events", NotTaken())
        await bus.let("notification-events")
        assert [value for topic, value in bus.values if topic == "notification-events"] == [*first, *first]
        assert (await bus.let(*EVENT))[-2:] == ["commit 0", "commit 1"]

    run(story)


def test_what_waiting_cannot_help_ends_the_flusher() -> None:
    async def told() -> list[str]:
        bus = FakeBus()
        engine = Engine(bus, Rows(1), FakeView(), lambda: BOOK, lambda: None)
        await engine.recovered({0})
        flusher = asyncio.create_task(engine.flush())
        await engine.take(tally(0, 1))
        await bus.let("row")
        await bus.refuse("notification-events", OSError("too large"))
        await bus.let("activations")
        with pytest.raises(OSError, match="too large"):
            await flusher
        return bus.said

    assert asyncio.run(told()) == ["row", *EVENT]


def test_a_recovery_that_was_overtaken_does_not_say_where_reading_goes_on() -> None:
    class SlowView(FakeView):
        def positions(self, partitions: set[int]) -> dict[int, Position] | None:
            if not partitions:
                assert overtaken.wait(5)
            return super().positions(partitions)

    overtaken = threading.Event()

    async def told() -> list[str]:
        bus = FakeBus()
        engine = Engine(bus, Rows(1), SlowView(), lambda: BOOK, lambda: None)
        stale = asyncio.create_task(engine.recovered(set()))
        await asyncio.sleep(0)
        await engine.recovered({0})
        overtaken.set()
        await stale
        await engine.take(tally(0, 0))
        return bus.said

    assert asyncio.run(told()) == ["row"]


def test_repeats_are_skipped_and_a_record_left_out_is_read_again() -> None:
    async def story(engine: Engine, bus: FakeBus) -> None:
        await engine.take(tally(6, 0))
        await engine.take(tally(7, 0))
        await engine.take(tally(9, 0))
        await engine.take(tally(10, 0))
        await engine.take(tally(8, 0))
        await bus.let("row")

    said = run(story, FakeView(start=7)).said
    assert said == ["skip 6", "row", "seek 8", "skip 9", "skip 10", "row", "commit 7", "commit 8"]


def test_a_gap_is_looked_into_once_however_many_records_were_queued_behind_it() -> None:
    async def story(engine: Engine, bus: FakeBus) -> None:
        for offset in range(1, 500):
            await engine.take(tally(offset, 0))

    assert run(story).said.count("seek 0") == 1


def test_a_record_that_does_not_come_though_asked_for_is_asked_for_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tocsin.evaluator.activator.engine.READ_AGAIN_S", 0.05)

    async def story(engine: Engine, bus: FakeBus) -> None:
        while bus.said.count("seek 0") < 2:
            await engine.take(tally(1, 0))
            await asyncio.sleep(0.01)

    assert run(story).said.count("skip 1") > 2


def test_records_that_are_gone_from_the_log_are_not_waited_for() -> None:
    async def story(engine: Engine, bus: FakeBus) -> None:
        await engine.take(tally(50, 0))
        await bus.let("row")

    assert run(story, FakeView(start=7, there=50)).said == ["row", "commit 50"]


def test_after_a_recovery_the_outbox_goes_out_before_anything_is_taken() -> None:
    async def first(engine: Engine, bus: FakeBus) -> None:
        await engine.take(tally(0, 1))
        await bus.let()

    left = run(first).table

    async def told() -> list[str]:
        bus = FakeBus()
        bus.table = left
        engine = Engine(bus, Rows(1), FakeView(), lambda: BOOK, lambda: None)
        recovering = asyncio.create_task(engine.recovered({0}))
        await asyncio.sleep(0.05)
        assert not recovering.done()
        await bus.let("activations", "notification-events")
        await recovering
        return bus.said

    assert asyncio.run(told()) == ["activations", "notification-events"]


def test_one_notification_does_not_fill_its_outbox_without_end() -> None:
    async def story(engine: Engine, bus: FakeBus) -> None:
        async def take_all() -> None:
            for offset in range(40):
                await engine.take(tally(offset, (offset + 1) % 2))

        taking = asyncio.create_task(take_all())
        await asyncio.sleep(0.05)
        assert bus.said.count("row") == 8
        while not taking.done():
            await bus.let("row", "activations", "notification-events")

    run(story)


def test_a_tick_goes_into_every_owned_partition_but_waits_for_the_one_before() -> None:
    async def told() -> list[str]:
        bus = FakeBus()
        ticker = Ticker(bus, SystemClock(), 3_600, lambda: {1, 2})
        running = asyncio.create_task(ticker.run())
        ticker.poke()
        await asyncio.sleep(0.01)
        ticker.poke()
        await bus.let("notification-tallies 1")
        ticker.poke()
        await asyncio.sleep(0.01)
        running.cancel()
        return bus.said

    assert asyncio.run(told()) == ["notification-tallies 1", "notification-tallies 2", "notification-tallies 1"]


def test_a_tick_that_was_not_taken_does_not_stop_the_ticker() -> None:
    class Refusing(FakeBus):
        async def send(self, topic: str, *args: Any, **kwargs: Any) -> Awaitable[Any]:
            self.said.append(topic)
            raise NotTaken

    async def told() -> list[str]:
        bus = Refusing()
        ticker = Ticker(bus, SystemClock(), 3_600, lambda: {1})
        running = asyncio.create_task(ticker.run())
        for _ in range(3):
            ticker.poke()
            await asyncio.sleep(0.01)
        running.cancel()
        return bus.said

    assert asyncio.run(told()) == ["notification-tallies"] * 3


@pytest.mark.parametrize(
    ("position", "start"),
    [
        (Position(-1001, 3, 9), 3),
        (Position(5, 3, 9), 5),
        (Position(9, 3, 9), 9),
        (Position(1, 3, 9), 3),
        (Position(99, 0, 9), 0),
    ],
)
def test_reading_goes_on_at_the_commit_or_where_the_log_begins(position: Position, start: int) -> None:
    assert position.start == start


def test_records_of_partitions_that_are_not_ours_are_no_business_of_ours() -> None:
    assert Offsets().see(3, 0) is Seen.REPEAT
