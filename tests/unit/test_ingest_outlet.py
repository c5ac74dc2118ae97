"""The way to the broker, with a broker inside the process."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator

import pytest

from tocsin.ingest.outlet import NotTakenError, Outlet, OutletPolicy, Receipt, Settled
from tocsin.shared.settings import KafkaSettings
from tocsin.shared.telemetry.health import Health
from tocsin.shared.telemetry.repeats import RepeatFilter

AWAY = KafkaSettings({"bootstrap.servers": "127.0.0.1:1"})
MOCK = KafkaSettings({"bootstrap.servers": "mock", "test.mock.num.brokers": "1"})


def status(health: Health) -> int:
    report = health.report("/-/ready")
    assert report is not None
    return report[0]


@pytest.fixture
def outlet() -> Iterator[Outlet]:
    made = Outlet(MOCK, OutletPolicy(10_000, 1000, 1 << 20), Health("broker"), "t")
    yield made
    made.close(5)


async def send(outlet: Outlet, count: int) -> Settled:
    receipt = Receipt(outlet)
    for number in range(count):
        receipt.expect()
        try:
            outlet.send("t", b"k", b"%d" % number, [], receipt.delivered)
        except NotTakenError as error:
            receipt.withdraw(str(error))
    return await asyncio.wait_for(receipt.wait(), 20)


def test_a_receipt_waits_for_every_message(outlet: Outlet) -> None:
    assert asyncio.run(send(outlet, 100)) == Settled(0, None)
    assert asyncio.run(send(outlet, 0)) == Settled(0, None)
    assert outlet.waiting() == 0


def test_a_producer_that_failed_for_good_is_replaced(outlet: Outlet) -> None:
    asyncio.run(send(outlet, 1))
    before = outlet._producer
    outlet._fatal.set()
    while outlet._producer is before:
        pass
    assert asyncio.run(send(outlet, 10)) == Settled(0, None)


def test_what_the_broker_does_not_take_in_time_has_failed_and_health_says_so() -> None:
    health = Health("broker")
    outlet = Outlet(AWAY, OutletPolicy(300, 1000, 1 << 20), health, "t")
    assert status(health) == 200
    settled = asyncio.run(send(outlet, 5))
    assert settled.failed == 5
    assert status(health) == 503
    assert not outlet.acknowledging
    assert outlet.waiting() == 0
    outlet.close(0)


def test_what_is_still_under_way_at_the_end_is_given_up_and_counted() -> None:
    outlet = Outlet(AWAY, OutletPolicy(60_000, 1000, 1 << 20), Health("broker"), "t")
    for _ in range(3):
        outlet.send("t", b"k", b"v", [], lambda error, _message: outlet.settled(error))
    assert outlet.waiting() == 3
    assert outlet.close(0.1) == 3
    assert outlet.waiting() == 0


def test_a_full_queue_takes_nothing_and_the_receipt_still_ends() -> None:
    outlet = Outlet(AWAY, OutletPolicy(300, 3, 1 << 20), Health("broker"), "t")
    assert asyncio.run(send(outlet, 10)).failed == 10
    outlet.close(0)


def test_repeated_log_lines_are_shown_once_and_then_counted() -> None:
    now = 0.0
    repeats = RepeatFilter(30, lambda: now)

    def shown(text: str) -> str | None:
        record = logging.LogRecord("n", logging.INFO, "p", 1, text, (), None)
        return record.getMessage() if repeats.filter(record) else None

    assert shown("failed after 5 ms") == "failed after 5 ms"
    assert shown("failed after 17 ms") is None
    assert shown("another") == "another"
    now = 31.0
    assert shown("failed after 6 ms") == "failed after 6 ms (and 1 more like it)"
    assert shown("failed after 6 ms") is None
