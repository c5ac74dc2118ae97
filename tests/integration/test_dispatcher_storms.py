"""The group and the topics misbehave: one terminal each, nothing lost, and it goes on without a hand."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import pytest
from confluent_kafka import TopicPartition

from broker_faults import set_topic
from delivering import (
    SECRET,
    RunningDispatcher,
    ScriptedServer,
    ServiceProcess,
    delivery_for,
    dispatcher_settings,
    put_deliveries,
    says,
    terminals,
    unsigned_recipient,
    wait_for_terminals,
    webhook_recipient,
)
from receiver import Receiver
from support import eventually, produce, put_records
from tocsin.deploy.stack import Stack
from tocsin.dispatcher.ledger_reader import read_ledger
from tocsin.shared import kafka
from tocsin.shared.telemetry.metrics import TRANSACTIONS_FAILED
from tocsin.shared.topics import DELIVERIES, DELIVERY_AUDIT, DELIVERY_DEAD_LETTER

pytestmark = [pytest.mark.kafka, pytest.mark.slow]


def transactions_failed() -> float:
    """By dispatchers of this process."""
    return sum(one.value for one in TRANSACTIONS_FAILED.collect()[0].samples if one.name.endswith("_total"))


def test_dispatchers_come_and_go_and_each_delivery_ends_once(stack: Stack, tmp_path: Path) -> None:
    """1 → 4 → 1, each while the others are busy: a storm of rebalances."""
    settings = dispatcher_settings(stack, tmp_path, partitions_deliveries=4)
    with Receiver(SECRET, delay=0.01) as receiver:
        recipients = [webhook_recipient(settings, receiver.url, f"R{at}") for at in range(8)]
        paused = webhook_recipient(settings, receiver.url, "Paused").model_copy(update={"paused": True})
        put_records(settings, *recipients, paused)
        ids = put_deliveries(settings, [delivery_for(one) for _ in range(20) for one in (*recipients, paused)])
        with RunningDispatcher(settings):
            with ExitStack() as others:
                for instance in ("2", "3", "4"):
                    so_far = len(receiver.requests)
                    ids += put_deliveries(settings, [delivery_for(one) for _ in range(10) for one in recipients])
                    eventually(lambda so_far=so_far: len(receiver.requests) > so_far)
                    other = RunningDispatcher(settings.model_copy(update={"instance": instance}))
                    intake = others.enter_context(other).dispatcher.intake
                    eventually(lambda intake=intake: intake.assigned)
                ids += put_deliveries(settings, [delivery_for(one) for _ in range(10) for one in recipients])
            put_records(settings, paused.model_copy(update={"paused": False}))
            wait_for_terminals(settings, len(ids), within=90)
    assert terminals(settings) == {(id_, 0): 1 for id_ in ids}
    assert receiver.repeats() == {}
    assert read_ledger(settings).clean


def test_an_audit_topic_that_takes_nothing_is_waited_for_and_nothing_is_sent_twice(
    stack: Stack, tmp_path: Path
) -> None:
    settings = dispatcher_settings(stack, tmp_path)
    with Receiver(SECRET) as receiver, RunningDispatcher(settings):
        hook = webhook_recipient(settings, receiver.url)
        put_records(settings, hook)
        put_deliveries(settings, [delivery_for(hook)])
        wait_for_terminals(settings, 1)
        set_topic(settings, DELIVERY_AUDIT, max_message_bytes=100)
        failed = transactions_failed()
        late = [(hook.id.encode(), delivery_for(hook).encode()) for _ in range(20)]
        produce(kafka.producer(settings.kafka), settings.topic(DELIVERIES), late)
        eventually(lambda: len(receiver.requests) == 21 and transactions_failed() > failed + 1)
        assert len(terminals(settings)) == 1
        set_topic(settings, DELIVERY_AUDIT, max_message_bytes=1_000_000)
        wait_for_terminals(settings, 21, within=60)
    assert set(terminals(settings).values()) == {1}
    assert receiver.repeats() == {}


def test_a_dead_letter_that_its_topic_is_too_small_for_is_not_lost(stack: Stack, tmp_path: Path) -> None:
    settings = dispatcher_settings(stack, tmp_path)
    with ScriptedServer(says("410 Gone")) as server, RunningDispatcher(settings):
        hook = unsigned_recipient(server.url)
        put_records(settings, hook)
        set_topic(settings, DELIVERY_DEAD_LETTER, max_message_bytes=200)
        failed = transactions_failed()
        put_deliveries(settings, [delivery_for(hook)])
        eventually(lambda: transactions_failed() > failed + 2)
        report = read_ledger(settings)
        assert (report.open, report.clean) == (1, True)
        set_topic(settings, DELIVERY_DEAD_LETTER, max_message_bytes=1_000_000)
        wait_for_terminals(settings, 1, within=60)
    assert len(server.requests) == 1
    assert read_ledger(settings).ended == {"dead-lettered": 1}


def test_offsets_that_are_out_of_range_by_now_begin_at_what_is_left(stack: Stack, tmp_path: Path) -> None:
    settings = dispatcher_settings(stack, tmp_path, partitions_deliveries=1)
    with Receiver(SECRET) as receiver:
        hook = webhook_recipient(settings, receiver.url)
        put_records(settings, hook)
        with RunningDispatcher(settings):
            put_deliveries(settings, [delivery_for(hook) for _ in range(5)])
            wait_for_terminals(settings, 5)
        # Retention takes what nobody was there to read.
        lost = put_deliveries(settings, [delivery_for(hook) for _ in range(5)])
        place = TopicPartition(settings.topic(DELIVERIES), 0, 10)
        for future in kafka.admin(settings.kafka).delete_records([place]).values():
            future.result()
        kept = put_deliveries(settings, [delivery_for(hook) for _ in range(5)])
        # As a process of its own: the client's own trouble would be seen as its exit code.
        with ServiceProcess("dispatcher", settings, tmp_path / "log") as process:
            eventually(lambda: len(receiver.requests) == 10 or process.process.poll() is not None)
            assert process.process.poll() is None
            wait_for_terminals(settings, 10)
            assert process.stop() == 0
    assert {one.id for one in receiver.requests[5:]} == set(kept)
    # The ledger names what retention has taken.
    assert {id_ for id_, _ in read_ledger(settings).missing} == set(lost)
