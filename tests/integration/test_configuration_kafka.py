"""The store and the follower on a real broker: fencing, transactions, a change live in under a second."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from support import eventually, put_records, read_all, settings_for, with_topics
from tocsin.console.state import Change, ConflictError, Delete, Operation, Put, State
from tocsin.console.store import Store, WriterFencedError
from tocsin.deploy.stack import Stack
from tocsin.shared import kafka
from tocsin.shared.configuration.codec import CHANGE_HEADER, COUNT_HEADER
from tocsin.shared.configuration.follower import ConfigurationFollower
from tocsin.shared.configuration.records import Group, Sensor
from tocsin.shared.errors import BrokerError, TopicError
from tocsin.shared.headers import header
from tocsin.shared.settings import CommonSettings
from tocsin.shared.topics import CONFIGURATION, CONFIGURATION_AUDIT

pytestmark = pytest.mark.kafka

FEW_PARTITIONS = {
    "partitions_readings": 1,
    "partitions_deliveries": 1,
    "partitions_default": 1,
    "retry_tiers": (5_000,),
}
"""Each test has topics of its own; making them is most of its time."""


@pytest.fixture
def settings(stack: Stack, tmp_path: Path) -> CommonSettings:
    return with_topics(settings_for(stack.bootstrap_servers, tmp_path, **FEW_PARTITIONS))


@pytest.fixture
def follower(settings: CommonSettings) -> Iterator[ConfigurationFollower]:
    running = ConfigurationFollower(settings)
    running.start()
    yield running
    running.close()


def group(name: str, record_id: str | None = None) -> Put:
    return Put(Group(id=record_id or f"id-{name}", name=name))


def putting(*operations: Operation) -> Callable[[State], list[Operation]]:
    return lambda state: list(operations)


def test_a_change_is_live_in_a_follower_in_under_a_second(
    settings: CommonSettings, follower: ConfigurationFollower
) -> None:
    store = Store(settings, "test")
    took = []
    for number in range(3):
        change = store.write(putting(group(f"G{number}")))
        answered = time.monotonic()
        assert change is not None
        assert follower.wait_for(change.number, timeout=10)
        took.append(time.monotonic() - answered)
        assert f"id-G{number}" in follower.current.groups
    assert min(took) < 1.0, "the best of three, because the machine may have other work"


def test_all_records_of_a_change_carry_its_number_and_count_and_take_effect_together(
    settings: CommonSettings, follower: ConfigurationFollower
) -> None:
    seen: list[int] = []
    watching = ConfigurationFollower(settings, lambda configuration: seen.append(len(configuration.groups)))
    watching.start()
    change = Store(settings, "test").write(putting(*(group(f"G{number}") for number in range(50))))
    assert change is not None
    assert watching.wait_for(change.number, 5)
    watching.close()
    assert set(seen) == {0, 50}
    records = read_all(settings, CONFIGURATION)
    assert {header(record.headers(), CHANGE_HEADER) for record in records} == {str(change.number).encode()}
    assert {header(record.headers(), COUNT_HEADER) for record in records} == {b"51"}, "fifty groups and the settings"


def test_the_audit_topic_tells_who_changed_what(settings: CommonSettings) -> None:
    Store(settings, "cli:ada").write(putting(group("G")))
    records = [json.loads(message.value() or b"") for message in read_all(settings, CONFIGURATION_AUDIT)]
    assert {(one["action"], one["kind"], one["name"], one["actor"]) for one in records} == {
        ("created", "group", "G", "cli:ada"),
        ("created", "settings", "deployment", "cli:ada"),
    }
    types = {header(message.headers(), "ce_type") for message in read_all(settings, CONFIGURATION_AUDIT)}
    assert types == {b"dev.tocsin.configuration.created"}


def test_change_numbers_grow_though_deletions_are_compacted_away(settings: CommonSettings) -> None:
    store = Store(settings, "test")
    first = store.write(putting(group("G")))
    second = store.write(putting(Delete("id-G")))
    third = store.write(putting(group("H")))
    assert first is not None
    assert second is not None
    assert third is not None
    end = third.number
    assert first.number < second.number < third.number
    assert store.read().change == end


def test_a_writer_that_is_fenced_starts_over_on_what_the_other_has_written(settings: CommonSettings) -> None:
    first_tries: list[Change] = []

    def interfere(change: Change) -> None:
        first_tries.append(change)
        if len(first_tries) == 1:
            Store(settings, "second").write(putting(group("Second")))

    seen: list[list[str]] = []

    def build(state: State) -> list[Operation]:
        seen.append([record.name for record in state.of_kind("group")])
        return [group("First")]

    assert Store(settings, "first", before_commit=interfere).write(build) is not None
    assert seen == [[], ["Second"]], "the second try is made of what the other writer left"
    assert [record.name for record in Store(settings, "x").read().of_kind("group")] == ["First", "Second"]


def test_a_writer_fenced_twice_gives_up_with_nothing_written(settings: CommonSettings) -> None:
    taken = iter(range(9))

    def interfere(change: Change) -> None:
        Store(settings, "other").write(putting(group(f"Other {next(taken)}")))

    with pytest.raises(WriterFencedError, match="nothing of this change was written"):
        Store(settings, "first", before_commit=interfere).write(putting(group("First")))
    assert [record.name for record in Store(settings, "x").read().of_kind("group")] == ["Other 0", "Other 1"]


def test_two_writers_of_one_name_cannot_both_have_it(settings: CommonSettings) -> None:
    def interfere(change: Change) -> None:
        Store(settings, "other").write(putting(group("Same", "other")))

    with pytest.raises(ConflictError, match="already taken"):
        Store(settings, "first", before_commit=interfere).write(putting(group("Same", "mine")))
    assert [record.id for record in Store(settings, "x").read().of_kind("group")] == ["other"]


def test_many_writers_at_once_never_mix_their_changes(settings: CommonSettings) -> None:
    Store(settings, "test").write(putting(group("warm up")))
    done: list[str] = []

    def write(name: str) -> None:
        try:
            Store(settings, name).write(putting(*(group(f"{name} {number}") for number in range(20))))
            done.append(name)
        except BrokerError:
            pass

    threads = [threading.Thread(target=write, args=(name,)) for name in "abc"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    state = Store(settings, "x").read()
    counts = {name: sum(1 for one in state.of_kind("group") if one.name.startswith(f"{name} ")) for name in "abc"}
    assert done, "at least the last one to take the place gets through"
    assert counts == {name: 20 if name in done else 0 for name in "abc"}


KILLED = """
import os, signal, sys
from pathlib import Path
from tocsin.console.state import Put
from tocsin.console.store import Store
from tocsin.shared import kafka
from tocsin.shared.configuration.records import Group
from tocsin.shared.settings import CommonSettings, KafkaSettings

settings = CommonSettings.load(
    {}, state_dir=Path(sys.argv[3]), topic_prefix=sys.argv[2], kafka=KafkaSettings({"bootstrap.servers": sys.argv[1]})
)

def die(change):
    # All records are with the broker before the process ends: the worst moment.
    import time
    time.sleep(1.0)
    os.kill(os.getpid(), signal.SIGKILL)

Store(settings, "killed", before_commit=die).write(
    lambda state: [Put(Group(id=f"k{number}", name=f"Killed {number}")) for number in range(100)]
)
"""


def test_a_writer_killed_before_its_commit_leaves_nothing_half_applied(
    settings: CommonSettings, follower: ConfigurationFollower, tmp_path: Path
) -> None:
    Store(settings, "test").write(putting(group("Before")))
    done = subprocess.run(
        [sys.executable, "-c", KILLED, settings.kafka.bootstrap_servers, settings.topic_prefix, str(tmp_path)],
        timeout=60,
        check=False,
        env=dict(os.environ),
    )
    assert done.returncode == -signal.SIGKILL
    uncommitted = [message.key() for message in read_all(settings, CONFIGURATION, "read_uncommitted")]
    assert any((key or b"").startswith(b"group/killed") for key in uncommitted), "the records had reached the broker"
    change = Store(settings, "after").write(putting(group("After")))
    assert change is not None
    assert follower.wait_for(change.number, 5)
    assert {one.name for one in follower.current.groups.values()} == {"Before", "After"}


def test_a_record_that_cannot_be_read_keeps_the_last_good_one_until_it_is_mended(
    settings: CommonSettings, follower: ConfigurationFollower
) -> None:
    sensor = Sensor.model_validate({"id": "s", "name": "CPU", "metric": "m", "trigger": "> 1"})
    put_records(settings, sensor)
    eventually(lambda: "s" in follower.current.sensors, within=5)
    producer = kafka.producer(settings.kafka)
    producer.produce(settings.topic(CONFIGURATION), key=b"sensor/cpu", value=b"{not json", partition=0)
    assert producer.flush(10) == 0
    eventually(lambda: follower.unreadable, within=5)
    assert follower.current.sensors["s"].metric == "m"
    change = put_records(settings, sensor.model_copy(update={"metric": "mended"}))
    assert follower.wait_for(change, 5)
    assert follower.current.sensors["s"].metric == "mended"
    assert follower.unreadable == {}


def test_a_change_written_without_a_transaction_in_pieces_ends_up_whole(
    settings: CommonSettings, follower: ConfigurationFollower
) -> None:
    from tocsin.shared.configuration.codec import change_headers, encode_record  # noqa: PLC0415

    producer = kafka.producer(settings.kafka)
    for number in range(2):
        key, value = encode_record(Group(id=f"g{number}", name=f"G{number}"))
        producer.produce(settings.topic(CONFIGURATION), key=key, value=value, headers=change_headers(9, 2), partition=0)
        assert producer.flush(10) == 0
        time.sleep(0.5)  # long enough for the follower to reach the end in between
    eventually(lambda: len(follower.current.groups) == 2, within=5)


def test_without_its_topics_the_store_names_the_way_out(stack: Stack, tmp_path: Path) -> None:
    bare = settings_for(stack.bootstrap_servers, tmp_path)
    with pytest.raises(TopicError, match="configuration does not exist; run: tocsin topics apply"):
        Store(bare, "test").read()
    with pytest.raises(TopicError, match="tocsin topics apply"):
        Store(bare, "test").write(putting(group("G")))
