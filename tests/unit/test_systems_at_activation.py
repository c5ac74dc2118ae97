"""Which systems matched when an activation opened: beyond those that its record names."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from tocsin.console.models.database import Database
from tocsin.console.models.folding import Batch, Stands
from tocsin.console.models.queries import Queries
from tocsin.shared.schemas.activation import Activation
from tocsin.shared.schemas.base import Ref
from tocsin.shared.schemas.system import MatchedSystem, system_key
from tocsin.shared.topics import ACTIVATIONS, NOTIFICATION_SYSTEMS

OPENED = 1_000_000


class Models:
    """Records in, as they stand on their topics."""

    def __init__(self) -> None:
        self.database = Database()
        self.records: list[tuple[str, bytes, bytes | None, Stands]] = []

    def matches(self, system: str, since: int, until: int | None = None, notification: str = "n") -> None:
        key = system_key(notification, system)
        value = MatchedSystem(notification_id=notification, system=system, partition=0, since=since).encode()
        self.records.append((NOTIFICATION_SYSTEMS, key, value, Stands(len(self.records))))
        if until is not None:
            self.records.append((NOTIFICATION_SYSTEMS, key, None, Stands(len(self.records), until)))

    def fold(self, at_once: int = 1_000) -> None:
        for start in range(0, len(self.records), at_once):
            batch = Batch()
            for record in self.records[start : start + at_once]:
                batch.add(*record)
            assert batch.unreadable == 0
            self.database.write(batch.statements())

    def at(self, total: int, *named: str) -> list[str]:
        activation = Activation(
            id="a", notification=Ref(id="n", name="N"), state="active", activated_at=OPENED, matched=total,
            reporting=total, systems_at_activation=named, systems_total=total, systems_truncated=total > len(named),
        )  # fmt: skip
        batch = Batch()
        batch.add(ACTIVATIONS, b"a", activation.encode())
        self.database.write(batch.statements())
        queries = Queries(self.database)

        async def ask() -> list[str]:
            found = await queries.activation("a")
            assert found is not None
            return await queries.systems_at_activation(found)

        return asyncio.run(ask())


@pytest.fixture
def models() -> Iterator[Models]:
    found = Models()
    yield found
    found.database.close()


def test_those_that_matched_when_it_opened_and_no_others(models: Models) -> None:
    models.matches("before", 1_000, until=OPENED)
    models.matches("through", 2_000)
    models.matches("until soon after", 3_000, until=OPENED + 1)
    models.matches("noticed late", OPENED + 900)
    models.matches("later", OPENED + 5_000)
    models.matches("of another", 4_000, notification="o")
    models.matches("again", 1_000, until=2_000)
    models.matches("again", 5_000, until=OPENED + 60_000)
    models.matches("again", OPENED + 70_000)
    models.matches("again, but not then", 1_000, until=2_000)
    models.matches("again, but not then", OPENED + 70_000)
    expected = ["again", "named", "noticed late", "through", "until soon after"]
    for at_once in (1_000, 1, 3):  # and read anew
        models.fold(at_once)
        assert models.at(5, "named") == expected


def test_no_more_than_were_counted_the_named_ones_first_and_then_who_began_first(models: Models) -> None:
    for number in range(300):
        models.matches(f"PC-{number:03}", OPENED - number)
    models.fold()
    assert models.at(3, "PC-000", "PC-001") == ["PC-000", "PC-001", "PC-299"]
    assert len(models.at(300, "PC-007")) == 300


def test_ten_thousand_are_listed(models: Models) -> None:
    for number in range(10_500):
        models.matches(f"PC-{number:05}", 1_000)
    models.fold()
    assert models.at(10_500, "PC-10499") == sorted(["PC-10499", *(f"PC-{number:05}" for number in range(9_999))])


def test_what_the_record_names_is_enough_when_it_names_all(models: Models) -> None:
    models.matches("noticed late", OPENED)
    models.fold()
    assert models.at(2, "B", "A") == ["A", "B"]
