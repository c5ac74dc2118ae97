"""What `notification-systems` has to be told, and what it is found to have."""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

from confluent_kafka import Message

from tocsin.evaluator.detector.state_reader import StateReader
from tocsin.evaluator.detector.systems import MatchedSystems, read_published
from tocsin.shared.schemas.system import MatchedSystem, system_key

NAMES = ("PC-0", "PC-1", "PC-2", "PC/3")


def said(written: list[tuple[bytes, bytes | None, int]]) -> dict[str, int | None]:
    """Time by key; None for a tombstone."""
    assert all(row is None or MatchedSystem.decode(row).since == at for _, row, at in written)
    return {key.decode(): None if row is None else at for key, row, at in written}


def test_only_what_has_changed_is_written_and_what_no_longer_matches_is_removed() -> None:
    systems = MatchedSystems()
    counts: dict[tuple[str, int], tuple[int, ...]] = {("n", 0): (0, 3), ("n", 1): (1,)}
    assert said(systems.changes(counts, NAMES, {0: 5, 1: 7})) == {"n/PC-0": 5, "n/PC/3": 5, "n/PC-1": 7}
    assert systems.changes(counts, NAMES, {0: 6, 1: 8}) == []
    counts = {**counts, ("n", 0): (2, 3)}
    assert said(systems.changes(counts, NAMES, {0: 9, 1: 9})) == {"n/PC-0": None, "n/PC-2": 9}
    counts = {**counts, ("n", 0): ()}
    assert said(systems.changes(counts, NAMES, {0: 9, 1: 9})) == {"n/PC-2": None, "n/PC/3": None}


def test_the_rows_of_a_deleted_notification_go() -> None:
    systems = MatchedSystems({("old", 0): {"PC-0"}})
    counts = {("n", 0): (1,)}
    assert said(systems.changes(counts, NAMES, {0: 5})) == {"old/PC-0": None, "n/PC-1": 5}
    assert said(systems.changes({}, NAMES, {0: 5})) == {"n/PC-1": None}


def test_what_a_dead_process_had_written_is_put_right() -> None:
    systems = MatchedSystems({("n", 0): {"PC-0", "PC-1"}})
    assert said(systems.changes({("n", 0): (1, 2)}, NAMES, {0: 5})) == {"n/PC-0": None, "n/PC-2": 5}


class FakeReader:
    """A topic in batches."""

    def __init__(self, *batches: list[tuple[bytes, bytes | None]]) -> None:
        self.batches = batches

    def everything(self, topic: str) -> Iterator[list[Message]]:
        for batch in self.batches:
            yield [Message(topic=topic, partition=0, offset=0, key=key, value=value) for key, value in batch]


def row(system: str, partition: int) -> tuple[bytes, bytes]:
    value = MatchedSystem(notification_id="n", system=system, partition=partition, since=1)
    return system_key("n", system), value.encode()


def test_the_newest_rows_of_the_owned_partitions_are_what_the_topic_has() -> None:
    reader = FakeReader(
        [row("PC-0", 0), row("PC-1", 1), row("PC-2", 0), (b"poison", b"poison")],
        [(system_key("n", "PC-2"), None), row("PC-3", 2)],
    )
    assert read_published(cast(StateReader, reader), "t", [0, 2]) == {("n", 0): {"PC-0"}, ("n", 2): {"PC-3"}}
