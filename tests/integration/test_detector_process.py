"""The detector as a process on a real broker."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from detecting import notification, reading, sensor
from detector_processes import Detectors
from sensing import make_sensor
from support import eventually, produce, put_records, read_all, settings_for, with_topics
from tocsin.deploy.stack import Stack
from tocsin.evaluator.detector.settings import DetectorSettings
from tocsin.shared.headers import header
from tocsin.shared.partitioning import partition_for
from tocsin.shared.topics import SENSOR_READINGS, SENSOR_READINGS_REJECTED

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(180)]

NOW = time.time_ns() // 1_000_000


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """One of this file's own: its broker is killed, and the shared one holds the topics of a thousand tests."""
    with Stack(tmp_path_factory.mktemp("detector-stack")) as own:
        yield own


@pytest.fixture
def detectors(stack: Stack, tmp_path: Path) -> Iterator[Detectors]:
    settings = with_topics(settings_for(stack.bootstrap_servers, tmp_path, DetectorSettings))
    found = Detectors(settings, tmp_path)
    yield found
    found.end()


def test_a_crossing_is_published_counted_and_survives_a_kill(detectors: Detectors) -> None:
    put_records(detectors.settings, sensor("busy", "cpu", "> 90", "< 80"), notification("n", "busy"))
    first = detectors.start()
    detectors.send(("PC-1", "cpu", 50, NOW), ("PC-2", "cpu", 95, NOW), ("PC-1", "cpu", 91, NOW + 1))
    eventually(lambda: len(detectors.changes()) == 2)
    eventually(lambda: sum(tally.matched for tally in detectors.tallies().values()) == 2)
    assert sum(tally.reporting for tally in detectors.tallies().values()) == 2
    assert len(detectors.tallies()) == detectors.settings.partitions_readings

    first.kill()
    first.wait()
    second = detectors.start()
    detectors.send(("PC-1", "cpu", 85, NOW + 2), ("PC-1", "cpu", 79, NOW + 3), ("PC-2", "cpu", 70, NOW - 1))
    eventually(lambda: len(detectors.changes()) == 3)
    eventually(lambda: sum(tally.matched for tally in detectors.tallies().values()) == 1)
    (cleared,) = [change for change in detectors.changes() if change.state == "clear"]
    assert (cleared.system, cleared.value, cleared.time, cleared.previous) == ("PC-1", 79.0, NOW + 3, "triggered")
    assert cleared.source is not None
    assert cleared.source.partition == partition_for(b"PC-1", detectors.settings.partitions_readings)

    second.send_signal(signal.SIGTERM)
    assert second.wait(20) == 0
    assert "Traceback" not in detectors.log()


def test_timers_fire_live_and_those_due_while_nobody_looked_fire_afterwards(detectors: Detectors) -> None:
    now = time.time_ns() // 1_000_000
    silent = make_sensor("> 90", keep="1s", no_data={"after": "2s", "then": "no-data"})
    mean = make_sensor("> 50", aggregate={"function": "avg", "window": "1m"})
    put_records(
        detectors.settings,
        silent.model_copy(update={"id": "silent", "name": "silent", "metric": "cpu"}),
        mean.model_copy(update={"id": "mean", "name": "mean", "metric": "load"}),
    )
    first = detectors.start()
    detectors.send(("PC-1", "cpu", 95, now), ("PC-1", "cpu", 50, now + 100), ("PC-1", "load", 60, now))
    eventually(lambda: len(detectors.changes()) == 4)
    assert shown(detectors) == [
        ("mean", "triggered", 60.0, now, "reading"),
        ("silent", "triggered", 95.0, now, "reading"),
        ("silent", "clear", 50.0, now + 1100, "timer"),
        ("silent", "no-data", 50.0, now + 2100, "timer"),
    ]

    first.kill()
    first.wait()
    # What was due between these two readings is judged in its place, and the window still holds what it held.
    detectors.send(("PC-1", "cpu", 95, now + 5000), ("PC-1", "cpu", 60, now + 9000), ("PC-1", "load", 30, now + 9000))
    detectors.start()
    eventually(lambda: len(detectors.changes()) == 9)
    assert shown(detectors)[1:2] + shown(detectors)[5:] == [
        ("mean", "clear", 45.0, now + 9000, "reading"),
        ("silent", "triggered", 95.0, now + 5000, "reading"),
        ("silent", "no-data", 95.0, now + 7000, "timer"),
        ("silent", "clear", 60.0, now + 9000, "reading"),
        ("silent", "no-data", 60.0, now + 11_000, "timer"),
    ]
    assert "Traceback" not in detectors.log()


def shown(detectors: Detectors) -> list[tuple[str, str, float | None, int, str]]:
    """The changes of each sensor in their order."""
    found = [(one.sensor_id, one.state, one.value, one.time, one.reason) for one in detectors.changes()]
    return sorted(found, key=lambda row: row[0])


def test_poison_is_rejected_untouched_and_the_next_record_is_processed(detectors: Detectors) -> None:
    put_records(detectors.settings, sensor("busy", "cpu", "> 90"))
    detectors.start()
    topic = detectors.settings.topic(SENSOR_READINGS)
    poison = {
        b"not-json": b"not json",
        b"not-finite": reading("PC-1", "cpu", 1, NOW).replace(b":1,", b":NaN,"),
        b"too-deep": b"[" * 100_000,
        b"too-large": b'{"system":"' + b"x" * (2 << 20) + b'"}',
        b"bad-utf8": b"\xff\xfe",
        b"wrong-type": reading("PC-1", "cpu", "high", NOW),
        b"missing": b'{"system":"PC-1"}',
    }
    produce(detectors.producer, topic, [(b"PC-1", value) for value in poison.values()])
    produce(detectors.producer, topic, [(None, reading("PC-1", "cpu", 95, NOW)), (b"PC-1", None)])
    produce(detectors.producer, topic, [(b"PC-2", reading("PC-1", "cpu", 95, NOW))])
    wrong = 1 - partition_for(b"PC-1", 2) if partition_for(b"PC-1", 4) < 2 else 0
    detectors.producer.produce(
        topic, key=b"PC-1", value=reading("PC-1", "cpu", 95, NOW), partition=wrong, headers=[("mine", b"1")]
    )
    detectors.send(("PC-1", "cpu", 91, NOW + 5))
    eventually(lambda: len(detectors.changes()) == 1)
    eventually(lambda: len(read_all(detectors.settings, SENSOR_READINGS_REJECTED)) == len(poison) + 4)
    found = read_all(detectors.settings, SENSOR_READINGS_REJECTED)
    reasons = {header(message.headers(), "reason"): message for message in found}
    assert set(reasons) == {*poison, b"no-value", b"misplaced"}
    for reason, value in poison.items():
        assert reasons[reason].value() == value
        assert (header(reasons[reason].headers(), "source") or b"").startswith(topic.encode())
    assert sum(header(message.headers(), "reason") == b"misplaced" for message in found) == 3
    (with_header,) = [message for message in found if header(message.headers(), "mine")]
    assert with_header.value() == reading("PC-1", "cpu", 95, NOW)
    assert [change.value for change in detectors.changes()] == [91.0]


def test_an_edit_starts_over_live_and_while_the_detector_is_away(detectors: Detectors) -> None:
    put_records(detectors.settings, sensor("busy", "cpu", "> 90"), notification("n", "busy"))
    first = detectors.start()
    detectors.send(("PC-1", "cpu", 95, NOW), ("PC-2", "cpu", 96, NOW))
    eventually(lambda: len(detectors.changes()) == 2)
    put_records(detectors.settings, sensor("busy", "cpu", "> 94", name="Busy"))
    eventually(lambda: len(detectors.changes()) == 4, within=5)
    edited = [change for change in detectors.changes() if change.reason == "edited"]
    assert {(change.system, change.state, change.previous) for change in edited} == {
        ("PC-1", "clear", "triggered"),
        ("PC-2", "clear", "triggered"),
    }
    eventually(lambda: sum(tally.matched for tally in detectors.tallies().values()) == 0)
    detectors.send(("PC-1", "cpu", 95, NOW + 1))
    eventually(lambda: len(detectors.changes()) == 5)

    first.kill()
    first.wait()
    put_records(detectors.settings, sensor("busy", "cpu", "> 99", name="Busy"))
    detectors.start()
    eventually(lambda: len(detectors.changes()) == 6)
    (last,) = [change for change in detectors.changes() if change.reason == "edited" and change not in edited]
    assert (last.system, last.sensor, last.state) == ("PC-1", "Busy", "clear")


def test_a_system_that_is_forgotten_becomes_clear_and_counts_no_more(detectors: Detectors) -> None:
    put_records(detectors.settings, sensor("busy", "cpu", "> 90"), notification("n", "busy"))
    detectors.start()
    detectors.send(("PC-1", "cpu", 95, NOW), ("PC-2", "cpu", 96, NOW))
    eventually(lambda: len(detectors.changes()) == 2)
    eventually(lambda: sum(tally.matched for tally in detectors.tallies().values()) == 2)
    done = detectors.command("forget", "PC-1", "--comment", "scrapped")
    assert (done.returncode, done.stdout) == (0, "1 system forgotten: PC-1\n"), done.stderr
    eventually(lambda: len(detectors.changes()) == 3)
    (last,) = [change for change in detectors.changes() if change.reason == "forgotten"]
    assert (last.system, last.state, last.previous) == ("PC-1", "clear", "triggered")

    def counts() -> tuple[int, int]:
        tallies = detectors.tallies().values()
        return sum(tally.matched for tally in tallies), sum(tally.reporting for tally in tallies)

    eventually(lambda: counts() == (1, 1))
    detectors.send(("PC-1", "cpu", 97, NOW + 1))
    eventually(lambda: counts() == (2, 2))
    assert [change.state for change in detectors.changes() if change.system == "PC-1"][-1] == "triggered"


def level(at: int) -> float:
    """Above, between and below the two thresholds, unlike on every system."""
    round_, system = divmod(at, 40)
    return (91, 85, 85, 70, 85, 70, 91)[(round_ * 5 + system * round_ // 7) % 7] + at % 7 / 10


def expected_changes(log: list[tuple[str, str, float, int]]) -> list[tuple[str, str, float, int]]:
    """By the words: > 90 triggers, < 80 clears."""
    on: set[str] = set()
    found = []
    for system, _, value, at in log:
        if value > 90 and system not in on:
            on.add(system)
            found.append((system, "triggered", value, at))
        elif value < 80 and system in on:
            on.discard(system)
            found.append((system, "clear", value, at))
    return found


@pytest.mark.slow
def test_kills_rebalances_and_a_broker_restart_lose_and_repeat_nothing(detectors: Detectors, stack: Stack) -> None:
    put_records(detectors.settings, sensor("busy", "cpu", "> 90", "< 80"), notification("n", "busy"))
    systems = [f"PC-{number}" for number in range(40)]
    log = [(systems[at % 40], "cpu", level(at), NOW + at) for at in range(12_000)]
    small = {"TOCSIN_DETECTOR_BATCH": "300", "TOCSIN_DETECTOR_CHECKPOINT_EVERY": "500ms"}
    first = detectors.start("a", **small)
    detectors.send(*log[:3_000])
    eventually(lambda: len(detectors.changes()) > 20)
    second = detectors.start("b", **small)
    detectors.send(*log[3_000:6_000])
    first.kill()
    detectors.send(*log[6_000:8_000])
    third = detectors.start("a", **small)
    detectors.send(*log[8_000:10_000])
    stack.restart_kafka(kill=True)
    detectors.send(*log[10_000:])
    wanted = expected_changes(log)

    def found() -> list[tuple[str, str, float | None, int]]:
        return sorted((change.system, change.state, change.value, change.time) for change in detectors.changes())

    eventually(lambda: len(found()) >= len(wanted), within=100, every=1.0)
    assert found() == sorted(wanted)
    assert second.poll() is None
    assert third.poll() is None
    last = {system: state for system, state, _, _ in wanted}
    on = list(last.values()).count("triggered")
    assert 0 < on < 40
    eventually(lambda: sum(tally.matched for tally in detectors.tallies().values()) == on, within=30)
    for process in (second, third):
        process.send_signal(signal.SIGTERM)
    assert [second.wait(30), third.wait(30)] == [0, 0]
    assert "Traceback" not in detectors.log()
