"""The dispatcher killed, stopped, cut off and moved: one terminal record each, repeats only of what was in flight."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
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
    put_deliveries,
    says,
    says_in_turn,
    terminals,
    unsigned_recipient,
    wait_for_terminals,
    webhook_recipient,
)
from receiver import Receiver
from support import eventually, put_records
from tocsin.deploy.stack import Stack
from tocsin.dispatcher.settings import DispatcherSettings

pytestmark = [pytest.mark.kafka, pytest.mark.slow]


def at_each_point(run: Callable[[Stack, Path, str, int], None], stack: Stack, tmp_path: Path) -> None:
    """All at once: most of the time passes until the broker takes each of them for dead."""
    points = {"answered": 120, "before_commit": 2, "committed": 1}
    with ThreadPoolExecutor(len(points)) as pool:
        runs = [pool.submit(run, stack, tmp_path / point, point, nth) for point, nth in points.items()]
    for one in runs:
        one.result()


def fifty_each(settings: DispatcherSettings, receiver: Receiver, shaky: ScriptedServer) -> list[str]:
    """Deliveries to five recipients and to one whose first attempt fails; their ids."""
    recipients = [webhook_recipient(settings, receiver.url, f"R{at}") for at in range(5)]
    recipients.append(unsigned_recipient(shaky.url, "Shaky"))
    put_records(settings, *recipients)
    return put_deliveries(settings, [delivery_for(one) for _ in range(50) for one in recipients])


def test_a_kill_leaves_one_terminal_for_each_delivery(stack: Stack, tmp_path: Path) -> None:
    """After the answer and before the audit, after the audit and before the commit, after the commit."""
    at_each_point(kill_at, stack, tmp_path)


def kill_at(stack: Stack, tmp_path: Path, point: str, nth: int) -> None:
    tmp_path.mkdir()
    settings = dispatcher_settings(stack, tmp_path)
    with Receiver(SECRET) as receiver, ScriptedServer(says_in_turn(says("500 No"), says("200 OK"))) as shaky:
        ids = fifty_each(settings, receiver, shaky)
        with ServiceProcess("dispatcher", settings, tmp_path / "log", crash_at=point, nth=nth) as killed:
            assert killed.process.wait(60) == -9
        before = terminals(settings)
        with ServiceProcess("dispatcher", settings, tmp_path / "log") as second:
            wait_for_terminals(settings, len(ids), within=60)
            assert second.stop() == 0
        assert terminals(settings) == {(id_, 0): 1 for id_ in ids}
        # What had a terminal record at the kill was not sent again.
        settled = {delivery for delivery, _ in before}
        assert not settled & set(receiver.repeats())
        assert len(receiver.repeats()) <= 256
        assert {one.id for one in receiver.requests} <= set(ids)
        assert all(one.verified for one in receiver.requests)


def test_sigterm_at_any_point_repeats_nothing(stack: Stack, tmp_path: Path) -> None:
    """At the same points as a kill: what has been answered is settled before it ends."""
    at_each_point(stop_at, stack, tmp_path)


def stop_at(stack: Stack, tmp_path: Path, point: str, nth: int) -> None:
    tmp_path.mkdir()
    settings = dispatcher_settings(stack, tmp_path)
    with Receiver(SECRET) as receiver, ScriptedServer(says_in_turn(says("500 No"), says("200 OK"))) as shaky:
        ids = fifty_each(settings, receiver, shaky)
        log = tmp_path / "log"
        with ServiceProcess("dispatcher", settings, log, crash_at=point, nth=nth, by=signal.SIGTERM) as stopped:
            assert stopped.process.wait(60) == 0
        assert len(audits(settings, "attempt")) == len(receiver.requests) + len(shaky.requests)
        with ServiceProcess("dispatcher", settings, log) as second:
            wait_for_terminals(settings, len(ids), within=60)
            assert second.stop() == 0
        assert terminals(settings) == {(id_, 0): 1 for id_ in ids}
        assert receiver.repeats() == {}
        assert len(receiver.requests) + len(shaky.requests) == len(ids) + 1


def test_sigterm_finishes_what_is_in_flight_and_nothing_is_repeated(stack: Stack, tmp_path: Path) -> None:
    settings = dispatcher_settings(stack, tmp_path)
    with Receiver(SECRET, delay=0.02) as receiver:
        recipients = [webhook_recipient(settings, receiver.url, f"R{at}") for at in range(4)]
        put_records(settings, *recipients)
        ids = put_deliveries(settings, [delivery_for(one) for _ in range(200) for one in recipients])
        with ServiceProcess("dispatcher", settings, tmp_path / "log") as first:
            eventually(lambda: len(receiver.requests) > 60, within=30, every=0.01)
            assert first.stop() == 0
        taken = len(receiver.requests)
        assert taken < len(ids)
        # Everything that was sent is on the record already.
        assert len(terminals(settings)) == taken
        with ServiceProcess("dispatcher", settings, tmp_path / "log") as second:
            wait_for_terminals(settings, len(ids), within=60)
            assert second.stop() == 0
    assert receiver.repeats() == {}
    assert terminals(settings) == {(id_, 0): 1 for id_ in ids}


def test_a_grace_too_short_is_audited_as_unknown_and_tried_again(stack: Stack, tmp_path: Path) -> None:
    settings = dispatcher_settings(stack, tmp_path, shutdown_grace=300)
    over = threading.Event()

    def slow(nth: int, request: bytes, connection: object) -> None:
        over.wait(30)  # longer than the grace

    with ScriptedServer(says_in_turn(slow, says("200 OK"))) as server:  # type: ignore[arg-type]
        recipient = unsigned_recipient(server.url)
        put_records(settings, recipient)
        with RunningDispatcher(settings):
            put_deliveries(settings, [delivery_for(recipient)])
            eventually(lambda: server.requests)
        over.set()
        (attempt,) = audits(settings, "attempt")
        assert (attempt.outcome, attempt.reason) == ("unknown", "shutdown")
        with RunningDispatcher(settings):
            wait_for_terminals(settings, 1)
    assert [one.outcome for one in audits(settings, "attempt")] == ["unknown", "ok"]


def test_a_second_dispatcher_joins_and_leaves_and_each_delivery_ends_once(stack: Stack, tmp_path: Path) -> None:
    settings = dispatcher_settings(stack, tmp_path)
    other = settings.model_copy(update={"instance": "2"})
    with Receiver(SECRET, delay=0.01) as receiver:
        recipients = [webhook_recipient(settings, receiver.url, f"R{at}") for at in range(8)]
        put_records(settings, *recipients)
        ids = put_deliveries(settings, [delivery_for(one) for _ in range(150) for one in recipients])
        with RunningDispatcher(settings):
            eventually(lambda: len(receiver.requests) > 50, every=0.01)

            def the_second_has_its_share() -> bool:
                # More comes as long as it takes: the first alone may be through before the second has joined.
                ids.extend(put_deliveries(settings, [delivery_for(one) for one in recipients]))
                return any(one.dispatcher == "2" for one in audits(settings, "delivered"))

            with RunningDispatcher(other):
                eventually(the_second_has_its_share, within=60)
            wait_for_terminals(settings, len(ids), within=60)
    assert terminals(settings) == {(id_, 0): 1 for id_ in ids}
    assert receiver.repeats() == {}


@pytest.fixture(scope="module")
def own_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A broker that may be killed and stopped."""
    with Stack(tmp_path_factory.mktemp("own-stack"), with_redis=False, with_smtp=False) as stack:
        yield stack


def test_a_broker_restart_loses_nothing_and_kills_nobody(own_stack: Stack, tmp_path: Path) -> None:
    settings = dispatcher_settings(own_stack, tmp_path)
    with Receiver(SECRET, delay=0.02) as receiver:
        recipients = [webhook_recipient(settings, receiver.url, f"R{at}") for at in range(4)]
        put_records(settings, *recipients)
        ids = put_deliveries(settings, [delivery_for(one) for _ in range(250) for one in recipients])
        with ServiceProcess("dispatcher", settings, tmp_path / "log") as process:
            eventually(lambda: len(receiver.requests) > 100, every=0.01)
            own_stack.restart_kafka(kill=True)
            wait_for_terminals(settings, len(ids), within=90)
            assert process.stop() == 0
    assert terminals(settings) == {(id_, 0): 1 for id_ in ids}
    assert {one.id for one in receiver.requests} == set(ids)


def test_cut_off_from_the_broker_it_stops_sending_by_itself(own_stack: Stack, tmp_path: Path) -> None:
    settings = dispatcher_settings(own_stack, tmp_path, recipient_concurrency=1)
    with Receiver(SECRET, delay=0.1) as receiver:
        recipient = webhook_recipient(settings, receiver.url)
        put_records(settings, recipient)
        ids = put_deliveries(settings, [delivery_for(recipient) for _ in range(250)])
        with RunningDispatcher(settings):
            eventually(lambda: len(receiver.requests) > 5)
            own_stack.suspend_kafka()
            cut_off = time.monotonic()
            eventually(lambda: time.monotonic() - receiver.requests[-1].at > 2, within=30)
            last = receiver.requests[-1].at - cut_off
            assert 7 < last < 14  # the session is 10 s; without the fence it would go on to 25
            sent = len(receiver.requests)
            own_stack.resume_kafka()
            receiver.delay = 0
            wait_for_terminals(settings, len(ids), within=90)
        assert sent < len(ids)
    assert terminals(settings) == {(id_, 0): 1 for id_ in ids}
