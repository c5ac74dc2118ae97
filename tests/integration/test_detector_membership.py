"""A detector's place in its group is its name's: a restart takes it back, a stop gives it up, a double loses it."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from detecting import configuration, sensor
from detector_processes import Detectors
from support import eventually, put_records, settings_for, with_topics
from tocsin.deploy.stack import Stack
from tocsin.evaluator.core.plan import make_plan
from tocsin.evaluator.detector.batch import Batch
from tocsin.evaluator.detector.engine import Engine
from tocsin.evaluator.detector.inbox import Assignment, Inbox, Revocation
from tocsin.evaluator.detector.intake import Intake
from tocsin.evaluator.detector.parsing import Parsed
from tocsin.evaluator.detector.settings import DetectorSettings
from tocsin.shared.clock import SystemClock
from tocsin.shared.errors import FencedError
from tocsin.shared.kafka import SESSION_TIMEOUT_MS

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(120)]

NOW = time.time_ns() // 1_000_000
SYSTEMS = [f"PC-{number}" for number in range(20)]
"""In all partitions."""


@pytest.fixture
def detectors(stack: Stack, tmp_path: Path) -> Iterator[Detectors]:
    settings = with_topics(settings_for(stack.bootstrap_servers, tmp_path, DetectorSettings))
    put_records(settings, sensor("busy", "cpu", "> 90"))
    found = Detectors(settings, tmp_path)
    yield found
    found.end()


def swing(detectors: Detectors, turn: int) -> None:
    """Every system crosses the threshold, up or down in turn."""
    detectors.send(*((system, "cpu", 95.0 if turn % 2 else 50.0, NOW + turn) for system in SYSTEMS))


def published(detectors: Detectors, turn: int) -> bool:
    """Once and in order by every system; the first turn is up."""
    found: dict[str, list[int]] = {system: [] for system in SYSTEMS}
    for change in detectors.changes():
        found[change.system].append(change.time - NOW)
    return all(times == list(range(1, turn + 1)) for times in found.values())


def share(detectors: Detectors, number: int) -> int:
    """How often a process has been given its share of the partitions."""
    return detectors.log(number).count("state restored")


def two(detectors: Detectors) -> None:
    """Two of them, each with its share."""
    detectors.start("a")
    eventually(lambda: share(detectors, 0) == 1)
    detectors.start("b")
    eventually(lambda: (share(detectors, 0), share(detectors, 1)) == (2, 1))
    swing(detectors, 1)
    eventually(lambda: published(detectors, 1))


def test_who_is_killed_and_comes_back_has_its_partitions_again_and_the_other_sees_nothing(detectors: Detectors) -> None:
    two(detectors)
    detectors.running[0].kill()
    detectors.running[0].wait()
    detectors.start("a")
    swing(detectors, 2)
    eventually(lambda: published(detectors, 2), within=SESSION_TIMEOUT_MS / 1000 + 20)
    assert share(detectors, 2) == 1
    assert share(detectors, 1) == 1
    assert "revoked" not in detectors.log(1)


def test_who_is_stopped_leaves_its_partitions_to_the_other_before_its_session_ends(detectors: Detectors) -> None:
    two(detectors)
    detectors.running[0].send_signal(signal.SIGTERM)
    assert detectors.running[0].wait(20) == 0
    eventually(lambda: share(detectors, 1) == 2, within=SESSION_TIMEOUT_MS / 1000 - 3)
    swing(detectors, 2)
    eventually(lambda: published(detectors, 2))


def test_a_frozen_one_whose_name_has_been_taken_writes_nothing_when_it_wakes_up_and_ends(detectors: Detectors) -> None:
    frozen = detectors.start("a")
    swing(detectors, 1)
    eventually(lambda: published(detectors, 1))
    frozen.send_signal(signal.SIGSTOP)
    successor = detectors.start("a")
    swing(detectors, 2)
    eventually(lambda: published(detectors, 2), within=SESSION_TIMEOUT_MS / 1000 + 20)
    frozen.send_signal(signal.SIGCONT)
    for turn in range(3, 8):
        swing(detectors, turn)
        eventually(lambda turn=turn: published(detectors, turn))  # type: ignore[misc]
    assert frozen.wait(20) == 2
    assert "TOCSIN_INSTANCE" in detectors.log(0)
    swing(detectors, 8)
    eventually(lambda: published(detectors, 8))
    assert successor.poll() is None


class Forgetful:
    """An intake whose client, once, takes its own place in the group for another's."""

    def __init__(self, intake: Intake) -> None:
        self._intake = intake

    def route(self, partitions: Iterable[int]) -> None:
        self._intake.route(partitions)

    def take(self, most: int, timeout: float) -> Batch:
        raise FencedError("a session is over")

    def close(self) -> None:
        self._intake.close()


def test_who_only_believes_that_its_place_is_taken_joins_anew(detectors: Detectors) -> None:
    plan = Engine(make_plan(configuration()), detectors.settings.partitions_readings)
    inbox = Inbox(detectors.settings, plan.partitions, lambda: plan.known, SystemClock())
    inbox.start()
    try:
        first = assignment_of(inbox)
        first.answer(dict.fromkeys(first.offsets, 0))
        inbox._intake = Forgetful(inbox._intake)
        again = assignment_of(inbox)
        assert again.generation > first.generation
        assert again.offsets.keys() == first.offsets.keys()
        again.answer(dict.fromkeys(again.offsets, 0))
        swing(detectors, 1)
        eventually(lambda: isinstance(item := inbox.next(1.0), Parsed) and len(item.batch))
    finally:
        inbox.stop()
        while not inbox.closed:
            if isinstance(item := inbox.next(0.1), Revocation):
                item.done.set()


def assignment_of(inbox: Inbox) -> Assignment:
    """The next one; what was before it is given up."""

    def found() -> Assignment | None:
        item = inbox.next(0.2)
        if isinstance(item, Revocation):
            item.done.set()
        return item if isinstance(item, Assignment) else None

    assignment = eventually(found)
    assert isinstance(assignment, Assignment)
    return assignment
