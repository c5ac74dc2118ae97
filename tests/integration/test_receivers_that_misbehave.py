"""What receivers and clocks do to a delivery: never early, never lost, same id and body, one terminal."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import format_datetime
from itertools import pairwise
from pathlib import Path

import pytest

from delivering import (
    SECRET,
    RunningDispatcher,
    ScriptedServer,
    audits,
    delivery_for,
    dispatcher_settings,
    parked,
    put_deliveries,
    says,
    says_in_turn,
    standing,
    terminals,
    unsigned_recipient,
    wait_for_terminals,
    webhook_recipient,
)
from receiver import Receiver
from support import eventually, put_records
from tocsin.deploy.stack import Stack
from tocsin.dispatcher.ledger_reader import read_ledger
from tocsin.shared.clock import SystemClock
from tocsin.shared.topics import DEFAULT_RETRY_TIERS

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


def too_many(text: str) -> Callable[[int, bytes, socket.socket], None]:
    """Without a text: the date of three seconds from now."""

    def answer(nth: int, request: bytes, connection: socket.socket) -> None:
        when = datetime.fromtimestamp(int(time.time()) + 3, UTC)
        asked = text or format_datetime(when, usegmt=True)
        says("429 Too many", f"Retry-After: {asked}")(nth, request, connection)

    return answer


def test_429_in_all_its_forms(stack: Stack, tmp_path: Path) -> None:
    """Seconds and dates go up to the next tier; junk counts for nothing; 10^9 seconds are a day at most."""
    settings = dispatcher_settings(stack, tmp_path, retry_tiers=(200, 3_000, 6_000))
    asked = {"seconds": "2", "date": "", "junk": "soon", "ages": "1000000000"}
    waits = {"seconds": 3_000, "date": 3_000, "junk": 200, "ages": 6_000}
    servers = {name: ScriptedServer(says_in_turn(too_many(text), says("200 OK"))) for name, text in asked.items()}
    with RunningDispatcher(settings):
        hooks = {name: unsigned_recipient(server.url, name) for name, server in servers.items()}
        put_records(settings, *hooks.values())
        put_deliveries(settings, [delivery_for(hook) for hook in hooks.values()])
        eventually(lambda: len(audits(settings, "attempt")) >= 4)
        failed = [one for one in audits(settings, "attempt") if one.outcome == "failed"]
        found = {one.recipient.name: (one.next_attempt_at or 0) - one.time for one in failed}
        # A date is in whole seconds: the tier that is long enough may be the next one.
        assert found.pop("date") in (3_000, 6_000)
        assert found == {name: wait for name, wait in waits.items() if name != "date"}
        # `ages` asked for a day: its recipient is left alone for ten minutes, what waits for it is parked.
        eventually(lambda: len(audits(settings, "delivered")) == 3)
    for name in ("seconds", "date", "junk"):
        first, second = servers[name].times
        assert second - first >= waits[name] / 1000
        assert len(set(servers[name].bodies())) == 1
    assert len(servers["ages"].requests) == 1
    assert read_ledger(settings).open == 1
    for server in servers.values():
        server.__exit__(None, None, None)


def test_a_server_that_fails_for_the_length_of_the_schedule(stack: Stack, tmp_path: Path) -> None:
    """Ten attempts over two days, by a clock that is set forward: the schedule, the circuit and its probes together."""
    clock = SteppedClock()
    settings = dispatcher_settings(stack, tmp_path, retry_tiers=DEFAULT_RETRY_TIERS)
    with ScriptedServer(says("500 Oops")) as server, RunningDispatcher(settings, extra={"clock": clock}):
        hook = unsigned_recipient(server.url)
        put_records(settings, hook)
        put_deliveries(settings, [delivery_for(hook)])

        def over() -> bool:
            """To when the next attempt is due; then a minute at a time, for the circuit's probes."""
            attempts = audits(settings, "attempt")
            if attempts and attempts[-1].next_attempt_at is not None:
                left = (attempts[-1].next_attempt_at - clock.now_ms()) / 1000
                clock.ahead += max(left + 11, 60)
            return bool(terminals(settings))

        eventually(over, within=150, every=0.5)
    attempts = audits(settings, "attempt")
    assert [one.attempt for one in attempts] == list(range(1, 11))
    for before, after in pairwise(attempts):
        assert before.next_attempt_at is not None
        assert after.time >= before.next_attempt_at
    assert len({one.body_sha256 for one in attempts}) == 1
    (terminal,) = audits(settings, "dead-lettered")
    assert terminal.reason == "attempts_exhausted"


def test_a_pause_of_an_hour_under_load(stack: Stack, tmp_path: Path) -> None:
    clock = SteppedClock()
    settings = dispatcher_settings(stack, tmp_path, recipient_concurrency=1)  # or they overtake on the way
    with Receiver(SECRET) as receiver, RunningDispatcher(settings, extra={"clock": clock}):
        hook = webhook_recipient(settings, receiver.url).model_copy(
            update={"paused": True, "rate": "50/s", "expire_after": 1_800_000}
        )
        put_records(settings, hook)
        eventually(lambda: standing(settings, hook).stops)  # from here on no time counts
        ids: list[str] = []
        for many in range(20, 121, 20):
            ids += put_deliveries(settings, [delivery_for(hook, routed_at=clock.now_ms()) for _ in range(20)])
            eventually(lambda many=many: parked(settings) == many)
            clock.ahead += HOUR / 6
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
