"""What receivers and clocks do to a delivery: never early, never lost, same id and body, one terminal."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from delivering import (
    SECRET,
    RunningDispatcher,
    ScriptedServer,
    audits,
    delivery_for,
    dispatcher_settings,
    put_deliveries,
    says,
    says_in_turn,
    unsigned_recipient,
    wait_for_terminals,
    webhook_recipient,
)
from receiver import Receiver
from support import eventually, put_records
from tocsin.deploy.stack import Stack
from tocsin.dispatcher.ledger_reader import read_ledger
from tocsin.shared.clock import SystemClock

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

HOUR = 3_600.0


class SteppedClock:
    """The machine's clock, some hours later."""

    def __init__(self) -> None:
        self.ahead = self.wall = 0.0
        self._real = SystemClock()

    def now_ms(self) -> int:
        return self._real.now_ms() + int((self.ahead + self.wall) * 1000)

    def monotonic(self) -> float:
        return self._real.monotonic() + self.ahead


def test_a_pause_of_an_hour_under_load(stack: Stack, tmp_path: Path) -> None:
    clock = SteppedClock()
    settings = dispatcher_settings(stack, tmp_path)
    with Receiver(SECRET) as receiver, RunningDispatcher(settings, extra={"clock": clock}):
        hook = webhook_recipient(settings, receiver.url).model_copy(
            update={"paused": True, "rate": "50/s", "expire_after": 1_800_000}
        )
        put_records(settings, hook)
        ids = []
        for _ in range(6):
            ids += put_deliveries(settings, [delivery_for(hook, routed_at=clock.now_ms()) for _ in range(20)])
            clock.ahead += HOUR / 6
            time.sleep(0.3)  # time for them to be taken in
        put_records(settings, hook.model_copy(update={"paused": False}))
        ids += put_deliveries(settings, [delivery_for(hook, routed_at=clock.now_ms()) for _ in range(20)])
        wait_for_terminals(settings, len(ids), within=60)
    assert [one.id for one in receiver.requests] == ids
    took = receiver.requests[-1].at - receiver.requests[0].at
    assert took >= (len(ids) - 1) / 50 - 0.1
    assert read_ledger(settings).ended == {"delivered": len(ids)}


def test_a_clock_that_steps_back_makes_nothing_early_and_stops_nothing(stack: Stack, tmp_path: Path) -> None:
    clock = SteppedClock()
    settings = dispatcher_settings(stack, tmp_path, retry_tiers=(1_000,))
    with (
        ScriptedServer(says_in_turn(says("500 Oops"), says("200 OK"))) as server,
        Receiver(SECRET) as other,
        RunningDispatcher(settings, extra={"clock": clock}),
    ):
        hook, well = unsigned_recipient(server.url), webhook_recipient(settings, other.url, "Well")
        put_records(settings, hook, well)
        put_deliveries(settings, [delivery_for(hook)])
        eventually(lambda: audits(settings, "attempt"))
        clock.wall -= 3
        put_deliveries(settings, [delivery_for(well) for _ in range(10)])
        wait_for_terminals(settings, 10, within=3)
        wait_for_terminals(settings, 11)
    first, second = server.times
    assert second - first >= 4
