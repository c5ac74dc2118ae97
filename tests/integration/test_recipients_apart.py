"""A sick, slow, paused or limited recipient: what waits for it is kept, and nobody else notices."""

from __future__ import annotations

import json
import math
import threading
import time
from collections import Counter
from pathlib import Path

import pytest

from delivering import (
    SECRET,
    RunningDispatcher,
    ScriptedServer,
    ServiceProcess,
    audits,
    delivery_for,
    dispatcher_settings,
    event_of,
    parked,
    put_deliveries,
    says,
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

pytestmark = [pytest.mark.kafka, pytest.mark.slow]


def test_a_pause_outlasts_a_restart_and_what_waited_goes_out_in_order_at_the_rate(stack: Stack, tmp_path: Path) -> None:
    settings = dispatcher_settings(stack, tmp_path, recipient_concurrency=1)  # or they overtake on the way
    with Receiver(SECRET) as receiver, Receiver(SECRET) as other:
        paused = webhook_recipient(settings, receiver.url, "Paused").model_copy(update={"paused": True})
        free = webhook_recipient(settings, other.url, "Free")
        put_records(settings, paused, free)
        with RunningDispatcher(settings):
            ids = put_deliveries(settings, [delivery_for(paused) for _ in range(30)])
            put_deliveries(settings, [delivery_for(free) for _ in range(30)])
            wait_for_terminals(settings, 30)
            eventually(lambda: parked(settings) == 30)
        report = read_ledger(settings)
        assert (report.clean, report.open, len(other.requests), receiver.requests) == (True, 30, 30, [])
        with RunningDispatcher(settings):
            more = put_deliveries(settings, [delivery_for(paused) for _ in range(5)])
            eventually(lambda: parked(settings) == 35)
            assert receiver.requests == []
            put_records(settings, paused.model_copy(update={"paused": False, "rate": "20/s"}))
            wait_for_terminals(settings, 65)
    assert [one.id for one in receiver.requests] == ids + more
    gaps = [after.at - before.at for before, after in zip(receiver.requests, receiver.requests[1:], strict=False)]
    assert sum(gaps) >= 34 * 0.05 - 0.1
    assert parked(settings) == 0
    assert read_ledger(settings).clean
    (stop,) = standing(settings, paused).stops
    assert stop.end is not None


def test_a_circuit_opens_and_only_probes_go_out_until_one_succeeds(stack: Stack, tmp_path: Path) -> None:
    settings = dispatcher_settings(stack, tmp_path, circuit_probe=1_000)
    well = threading.Event()

    def answer(nth: int, request: bytes, connection: object) -> None:
        says("200 OK" if well.is_set() else "500 Oops")(nth, request, connection)  # type: ignore[arg-type]

    with ScriptedServer(answer) as server, Receiver(SECRET) as other, RunningDispatcher(settings):
        sick = unsigned_recipient(server.url, "Sick")
        told = webhook_recipient(settings, other.url, "Told")
        sick = sick.model_copy(update={"on_failing_id": told.id, "retry": (200,) * 20})
        put_records(settings, sick, told)
        put_deliveries(settings, [delivery_for(sick) for _ in range(20)])
        eventually(lambda: standing(settings, sick).opened_at)
        eventually(lambda: len(server.requests) < 20 and parked(settings) >= 8)
        before = len(server.requests)
        # The first probe fails too: its owner is told, once, by another road.
        eventually(lambda: other.requests)
        sent = len(server.requests) - before
        failed_probes = int(math.log2(standing(settings, sick).probe_every / settings.circuit_probe))
        assert sent <= failed_probes + 1
        assert json.loads(other.requests[0].body)["notificationName"] == "Recipient Sick keeps failing"
        well.set()
        wait_for_terminals(settings, 21)
        eventually(lambda: standing(settings, sick).opened_at is None)
    assert len(other.requests) == 1
    assert parked(settings) == 0
    report = read_ledger(settings)
    assert (report.clean, report.ended) == (True, {"delivered": 21})


def test_410_disables_and_enabling_lets_what_waited_go(stack: Stack, tmp_path: Path) -> None:
    settings = dispatcher_settings(stack, tmp_path)
    gone = threading.Event()
    gone.set()

    def answer(nth: int, request: bytes, connection: object) -> None:
        says("410 Gone" if gone.is_set() else "200 OK")(nth, request, connection)  # type: ignore[arg-type]

    with ScriptedServer(answer) as server:
        hook = unsigned_recipient(server.url)
        put_records(settings, hook)
        with RunningDispatcher(settings):
            put_deliveries(settings, [delivery_for(hook)])
            wait_for_terminals(settings, 1)
            state = standing(settings, hook)
            assert state.disabled_because == "gone"
            put_deliveries(settings, [delivery_for(hook) for _ in range(3)])
            eventually(lambda: parked(settings) == 3)
        gone.clear()
        with RunningDispatcher(settings):
            # This one comes after those that wait: they have been read by then.
            put_deliveries(settings, [delivery_for(hook)])
            eventually(lambda: parked(settings) == 4)
            assert len(server.requests) == 1
            put_records(settings, hook.model_copy(update={"enabled_at": (state.disabled_at or 0) + 1}))
            ended = wait_for_terminals(settings, 5)
    assert Counter(one.kind for one in ended) == {"dead-lettered": 1, "delivered": 4}


def test_with_an_order_nothing_overtakes_a_failed_head_over_a_kill(stack: Stack, tmp_path: Path) -> None:
    settings = dispatcher_settings(stack, tmp_path, retry_tiers=(400,))
    seen: dict[bytes, int] = {}

    def answer(nth: int, request: bytes, connection: object) -> None:
        """Each delivery fails twice."""
        id_ = next(line for line in request.split(b"\r\n") if line.lower().startswith(b"webhook-id:"))
        seen[id_] = seen.get(id_, 0) + 1
        says("200 OK" if seen[id_] > 2 else "400 No")(nth, request, connection)  # type: ignore[arg-type]

    with ScriptedServer(answer) as server:
        hook = unsigned_recipient(server.url).model_copy(update={"ordered": "activation", "retry": (400,) * 5})
        put_records(settings, hook)
        lanes = ("00000000-0000-4000-8000-00000000000a", "00000000-0000-4000-8000-00000000000b")
        ids = {lane: [] for lane in lanes}
        for at in range(6):
            lane = lanes[at % 2]
            ids[lane] += put_deliveries(settings, [delivery_for(hook, event=event_of(activation_id=lane))])
        with ServiceProcess("dispatcher", settings, tmp_path / "log") as killed:
            eventually(lambda: len(server.requests) >= 4, within=60)
            killed.kill()
        with RunningDispatcher(settings):
            wait_for_terminals(settings, 6, within=60)
    ended = [one.delivery_id for one in sorted(audits(settings, "delivered"), key=lambda one: one.time)]
    for lane in lanes:
        assert [id_ for id_ in ended if id_ in ids[lane]] == ids[lane]
    assert set(terminals(settings).values()) == {1}
    assert read_ledger(settings).clean


def test_ten_hanging_recipients_do_not_take_the_slots_of_the_others(stack: Stack, tmp_path: Path) -> None:
    settings = dispatcher_settings(stack, tmp_path, concurrency=16, shutdown_grace=1)
    over = threading.Event()

    def hang(nth: int, request: bytes, connection: object) -> None:
        over.wait(30)

    with Receiver(SECRET) as receiver, ScriptedServer(hang) as hanging, RunningDispatcher(settings):
        sick = [unsigned_recipient(hanging.url, f"Sick {at}", timeout=30_000) for at in range(10)]
        healthy = [webhook_recipient(settings, receiver.url, f"Healthy {at}") for at in range(4)]
        put_records(settings, *sick, *healthy)
        put_deliveries(settings, [delivery_for(one) for _ in range(30) for one in sick])
        eventually(lambda: len(hanging.requests) >= 16)
        put_deliveries(settings, [delivery_for(one) for _ in range(50) for one in healthy])
        eventually(lambda: len(receiver.requests) >= 200, within=20)
        # What the hanging ones cannot take does not wait in memory.
        eventually(lambda: parked(settings) >= 200)
        over.set()
    assert receiver.repeats() == {}


def test_a_delivery_that_became_too_old_is_given_up_but_not_by_a_pause(stack: Stack, tmp_path: Path) -> None:
    settings = dispatcher_settings(stack, tmp_path)
    with Receiver(SECRET) as receiver, RunningDispatcher(settings):
        hook = webhook_recipient(settings, receiver.url)
        put_records(settings, hook)
        now = int(time.time() * 1000)
        old, young = delivery_for(hook, routed_at=now - 4 * 86_400_000), delivery_for(hook)
        put_deliveries(settings, [old, young])
        ended = wait_for_terminals(settings, 2)
    assert {one.delivery_id: one.kind for one in ended} == {old.id: "expired", young.id: "delivered"}
    assert len(receiver.requests) == 1


def test_what_waits_for_a_deleted_recipient_is_cancelled(stack: Stack, tmp_path: Path) -> None:
    settings = dispatcher_settings(stack, tmp_path)
    with Receiver(SECRET) as receiver, RunningDispatcher(settings):
        hook = webhook_recipient(settings, receiver.url).model_copy(update={"paused": True})
        put_records(settings, hook)
        put_deliveries(settings, [delivery_for(hook) for _ in range(5)])
        eventually(lambda: parked(settings) == 5)
        put_records(settings, delete=["recipient/hook"])
        ended = wait_for_terminals(settings, 5)
    assert {one.kind for one in ended} == {"cancelled"}
    assert receiver.requests == []
