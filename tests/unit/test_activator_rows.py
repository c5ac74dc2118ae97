"""What comes back from the changelog, and what is sent again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import faust
import pytest

from tocsin.evaluator.activator.faust_parts import AckedTable
from tocsin.evaluator.activator.rows import Rows
from tocsin.evaluator.core.activation_row import Pending, Row, encode_row
from tocsin.evaluator.core.lifecycle import State


def pending(ordinal: int, activation: str = "a") -> Pending:
    return Pending(f"{activation}-{ordinal}", "activated", ordinal, activation, 0, "{}", "{}")


def row(name: str = "n1", edition: int = 1, *events: Pending, state: State = State.IDLE) -> Row:
    return Row(name, edition=edition, state=state, outbox=events, ordinal=max((e.ordinal for e in events), default=0))


def table_of(*rows: Row) -> dict[bytes, bytes]:
    return {row.notification_id.encode(): encode_row(row) for row in rows}


def test_a_new_process_sends_every_outbox_again_in_order() -> None:
    rows = Rows(1)
    left = rows.restore(table_of(row("n1", 1, pending(1), pending(2)), row("n2")), {0})
    assert [(name, event.id) for name, event in left] == [("n1", "a-1"), ("n1", "a-2")]


def test_what_this_process_knows_to_be_out_is_not_sent_again() -> None:
    rows = Rows(1)
    rows.sent([("n1", pending(1))])
    assert [event.id for _, event in rows.restore(table_of(row("n1", 1, pending(1), pending(2))), {0})] == ["a-2"]


def test_ordinals_that_began_anew_elsewhere_are_not_taken_for_known_ones() -> None:
    rows = Rows(1)
    rows.sent([("n1", pending(5))])
    assert [event.id for _, event in rows.restore(table_of(row("n1", 1, pending(1, "b"))), {0})] == ["b-1"]


def test_rows_of_other_partitions_and_broken_rows_are_left_out() -> None:
    rows = Rows(4)
    table = {**table_of(row("n1", 1, pending(1))), b"n2": b"poison", b"n3": encode_row(row("n4", 1, pending(1)))}
    assert rows.restore(table, {0, 1, 2, 3}) != []
    assert Rows(4).restore(table, set()) == []
    assert [name for name, _ in rows.restore(table, {0, 1, 2, 3})] == ["n1"]


@dataclass
class FakeMessage:
    key: bytes | None
    value: bytes | None
    partition: int = 0


class FakeEvent:
    def __init__(self, key: bytes | None, value: bytes | None) -> None:
        self.message = FakeMessage(key, value)
        self.key, self.value = key, value


@pytest.fixture
def table() -> Any:
    made: Any = AckedTable(faust.App("test", store="memory://"), name="t", key_type=bytes, value_type=bytes)
    made.written, made.editions = [], {}
    return made


def put(row: Row) -> Any:
    return FakeEvent(row.notification_id.encode(), encode_row(row))


def test_a_row_written_by_a_process_that_was_cut_off_does_not_come_back(table: Any) -> None:
    table.apply_changelog_batch([put(row(edition=1)), put(row(edition=5))])
    table.apply_changelog_batch([put(row(edition=2))])
    assert table.data[b"n1"] == encode_row(row(edition=5))


def test_poison_in_the_changelog_keeps_the_last_good_row(table: Any) -> None:
    table.apply_changelog_batch([put(row()), FakeEvent(b"n1", b"poison"), FakeEvent(None, b"{}")])
    assert dict(table.data.data) == {b"n1": encode_row(row())}


def test_a_tombstone_removes_a_row_of_the_same_batch_and_a_new_row_begins_anew(table: Any) -> None:
    table.apply_changelog_batch([put(row(edition=7)), FakeEvent(b"n1", None)])
    assert dict(table.data.data) == {}
    table.apply_changelog_batch([FakeEvent(b"n1", None), put(row(edition=1))])
    assert dict(table.data.data) == {b"n1": encode_row(row(edition=1))}
