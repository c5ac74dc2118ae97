"""The console's read models: deliveries folded, what is kept, and who is told of what."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, TypeVar

import pytest

from tocsin.console.models import hub as hub_module
from tocsin.console.models import systems as systems_module
from tocsin.console.models.database import Database
from tocsin.console.models.folding import Batch
from tocsin.console.models.hub import MOST_TOPICS, Hub, Notice
from tocsin.console.models.keeping import STATEMENTS, forget
from tocsin.console.models.queries import Page, Queries, Wanted
from tocsin.console.models.systems import POINTS, Systems
from tocsin.deploy.bench.delivering import event_of
from tocsin.shared.schemas.audit import AuditRecord
from tocsin.shared.schemas.base import Ref
from tocsin.shared.schemas.delivery import DeadLetter, Delivery
from tocsin.shared.topics import ACTIVATIONS, DELIVERY_AUDIT, DELIVERY_DEAD_LETTER, NOTIFICATION_SYSTEMS

T = TypeVar("T")
HOUR = 3_600_000
BASE = 1_764_064_800_000


def audit(kind: str, delivery: str = "d", at: int = 0, **more: Any) -> bytes:
    recipient = more.pop("recipient", "r")
    record = AuditRecord.model_validate(
        {
            "id": f"{delivery}-{kind}-{at}",
            "kind": kind,
            "delivery_id": delivery,
            "event_id": "e",
            "activation_id": "a",
            "notification": {"id": "n", "name": "N"},
            "recipient": {"id": recipient, "name": recipient.upper()},
            "time": BASE + at,
            **more,
        }
    )
    return record.encode()


FAILED = {"attempt": 1, "outcome": "failed", "reason": "http_503", "status": 503, "channel": "webhook", "latency_ms": 7}
LIFE = [
    audit("routed", at=0),
    audit("attempt", at=10, **FAILED, next_attempt_at=BASE + 5_000),
    audit("attempt", at=5_000, attempt=2, outcome="ok", status=200, channel="webhook", latency_ms=3),
    audit("delivered", at=5_000, attempt=2),
]
REPLAYED = [
    audit("routed", at=HOUR, replay=1),
    audit("attempt", at=HOUR + 5, **FAILED, replay=1, next_attempt_at=BASE + 2 * HOUR),
]


class Models:
    """Records in, batch by batch; questions out."""

    def __init__(self) -> None:
        self.database = Database()
        self.queries = Queries(self.database)

    def fold(self, *batches: Iterable[bytes], topic: str = DELIVERY_AUDIT) -> None:
        for records in batches:
            batch = Batch()
            for record in records:
                batch.add(topic, None, record)
            assert batch.unreadable == 0
            self.database.write(batch.statements())

    def ask(self, question: Callable[[Queries], Awaitable[T]]) -> T:
        async def ask() -> T:
            return await question(self.queries)

        return asyncio.run(ask())

    def listed(self, **wanted: Any) -> list[tuple[str, str, int]]:
        page: Page = self.ask(lambda queries: queries.deliveries(Wanted(**wanted)))
        return [(row["id"], row["state"], row["attempts"]) for row in page.rows]


@pytest.fixture
def models() -> Iterable[Models]:
    made = Models()
    yield made
    made.database.close()


def ways() -> list[list[list[bytes]]]:
    """However a life and its replay are cut into batches; the last: all of it read twice."""
    records = [*LIFE, *REPLAYED]
    cuts = [[records], [[one] for one in records]]
    cuts += [[records[:at], records[at:]] for at in range(1, len(records))]
    return [*cuts, [records[:3], records, records[2:4]]]


@pytest.mark.parametrize("batches", ways()[:-1])
def test_a_delivery_is_the_same_however_its_records_are_cut_into_batches(
    models: Models, batches: list[list[bytes]]
) -> None:
    models.fold(*batches)
    found = models.ask(lambda queries: queries.delivery("d"))
    assert found is not None
    steps = found.pop("steps")
    # The history is every record as it was written.
    assert steps == [json.loads(record) for record in (*LIFE, *REPLAYED)]
    assert found == {
        "id": "d", "replay": 1, "event_id": "e", "activation_id": "a", "notification_id": "n", "notification": "N",
        "recipient_id": "r", "recipient": "R", "routed_at": BASE, "updated_at": BASE + HOUR + 5, "state": "retrying",
        "attempts": 1, "channel": "webhook", "outcome": "failed", "reason": "http_503", "status": 503, "latency_ms": 7,
        "next_at": BASE + 2 * HOUR, "event": None,
    }  # fmt: skip


@pytest.mark.parametrize("batches", ways())
def test_reading_again_changes_nothing_in_a_list(models: Models, batches: list[list[bytes]]) -> None:
    models.fold(*batches)
    before = models.ask(lambda queries: queries.deliveries(Wanted()))
    models.fold([*LIFE, *REPLAYED], LIFE, [*LIFE[:2], *REPLAYED[:1]])
    assert models.ask(lambda queries: queries.deliveries(Wanted())) == before
    assert models.listed() == [("d", "retrying", 1)]


def test_the_end_of_a_delivery_says_why(models: Models) -> None:
    models.fold([LIFE[0], LIFE[1], audit("dead-lettered", at=50, attempt=10, reason="attempts_exhausted")])
    (row,) = models.ask(lambda queries: queries.deliveries(Wanted())).rows
    assert (row["state"], row["reason"], row["status"], row["next_at"]) == (
        "dead-lettered",
        "attempts_exhausted",
        503,
        None,
    )


def test_a_time_that_is_none_spoils_its_record_only(models: Models) -> None:
    bad = json.loads(LIFE[1])
    bad["next_attempt_at"] = "soon"
    batch = Batch()
    for record in (LIFE[0], json.dumps(bad).encode()):
        batch.add(DELIVERY_AUDIT, None, record)
    models.database.write(batch.statements())
    assert batch.unreadable == 1
    assert models.listed() == [("d", "waiting", 0)]


def test_every_combination_of_filters_finds_the_same_as_looking_at_all(models: Models) -> None:
    records = []
    for number in range(60):
        about = {"recipient": f"r{number % 3}", "notification": {"id": f"n{number % 4}", "name": "N"}}
        about["activation_id"] = f"a{number % 7}"
        records.append(audit("routed", f"d{number:02d}", number // 2, **about))
        if number % 5:
            records.append(audit("delivered", f"d{number:02d}", number // 2 + 1, **about))
    models.fold(records)
    everything = models.ask(lambda queries: queries.deliveries(Wanted(), None, 100)).rows
    assert [row["id"] for row in everything] == [f"d{number:02d}" for number in reversed(range(60))]
    for recipient in (None, "r1"):
        for notification in (None, "n2"):
            for activation in (None, "a3"):
                for state in (None, "waiting"):
                    for since in (None, BASE + 10):
                        wanted = Wanted(recipient, notification, activation, state, since)
                        expected = [
                            row["id"]
                            for row in everything
                            if recipient in (None, row["recipient_id"])
                            and notification in (None, row["notification_id"])
                            and activation in (None, row["activation_id"])
                            and state in (None, row["state"])
                            and (since is None or row["routed_at"] >= since)
                        ]
                        assert all_pages(models, wanted) == expected


def all_pages(models: Models, wanted: Wanted) -> list[str]:
    found: list[str] = []
    after = None
    while True:
        page = models.ask(lambda queries, after=after: queries.deliveries(wanted, after, 7))  # type: ignore[misc]
        found += [row["id"] for row in page.rows]
        after = page.next
        if after is None:
            return found


def letter(delivery: str, replay: int = 0) -> bytes:
    of = Delivery(id=delivery, replay=replay, recipient=Ref(id="r", name="R"), event=event_of(), routed_at=BASE)
    return DeadLetter(delivery=of, reason="attempts_exhausted", time=BASE + replay).encode()


@pytest.mark.parametrize("letters_first", [True, False])
def test_a_dead_letter_that_was_replayed_is_listed_no_more(models: Models, letters_first: bool) -> None:
    """Whichever of the two topics comes first."""
    audits = [audit("routed", one) for one in ("d1", "d2")] + [audit("routed", "d1", 9, replay=1)]
    if letters_first:
        models.fold([letter("d1"), letter("d2")], topic=DELIVERY_DEAD_LETTER)
    models.fold(audits)
    if not letters_first:
        models.fold([letter("d1"), letter("d2")], topic=DELIVERY_DEAD_LETTER)
    found = models.ask(lambda queries: queries.dead_letters(recipient="r"))
    assert [row["delivery_id"] for row in found.rows] == ["d2"]
    models.fold([letter("d1", 1)], topic=DELIVERY_DEAD_LETTER)
    found = models.ask(lambda queries: queries.dead_letters())
    assert [(row["delivery_id"], row["replay"]) for row in found.rows] == [("d1", 1), ("d2", 0)]
    assert sorted(models.ask(lambda queries: queries.failed_since("r", 0))) == ["d1", "d1", "d2"]


def test_what_a_topic_keeps_no_longer_is_forgotten(models: Models) -> None:
    models.fold([audit(kind, f"d{number}", number * HOUR) for number in range(10) for kind in ("routed", "delivered")])
    gone = list(forget(models.database, {DELIVERY_AUDIT: 4 * HOUR}, BASE + 10 * HOUR))
    assert sum(gone) == 6
    assert [id_ for id_, _, _ in models.listed()] == ["d9", "d8", "d7", "d6"]
    assert models.database.rows("SELECT count(*) AS count FROM steps") == [{"count": 4}]
    # Every table that grows has its rule, and each rule is one that SQLite understands.
    assert list(forget(models.database, dict.fromkeys(STATEMENTS, HOUR), BASE)) == []
    assert {ACTIVATIONS, NOTIFICATION_SYSTEMS} <= set(STATEMENTS)


def test_systems_that_are_silent_are_forgotten_and_found_again() -> None:
    systems = Systems()
    for number in range(1_000):
        systems.take(
            json.dumps({"system": f"S{number:03d}", "metric": "m", "value": 1, "time": BASE + number}).encode()
        )
    assert systems.names("s99") == [f"S99{digit}" for digit in range(10)]
    assert systems.forget(BASE + 990) == 990
    assert (systems.names(), systems.metrics) == ([f"S99{digit}" for digit in range(10)], {"m": 10})
    systems.take(json.dumps({"system": "S5", "metric": "m", "value": 1, "time": BASE + 5}).encode())
    assert systems.names()[0] == "S5"
    assert systems.names("S5") == ["S5"]


def test_a_series_keeps_its_last_points_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(systems_module, "MAX_SYSTEMS", 1)
    systems = Systems()
    for number in range(POINTS + 30):
        for name in ("A", "B"):
            reading = {"system": name, "metric": "m", "value": number, "time": BASE + number}
            systems.take(json.dumps(reading).encode())
    assert systems.names() == ["A"]
    (latest,) = systems.by_name["A"].series.values()
    assert latest.history is not None
    points = latest.history.points()
    assert (len(points), points[0], points[-1]) == (POINTS, (BASE + 30, 30.0), (BASE + POINTS + 29, POINTS + 29.0))


async def notices(changes: list[set[str]], wanted: frozenset[str], watchers: int = 1) -> list[Notice]:
    """What a stream says when these come one after the other, each in its own notice."""
    hub = Hub(asyncio.get_running_loop())
    found: list[Notice] = []
    streams = [hub.watch("", wanted) for _ in range(watchers)]

    async def read(stream: Any, into: list[Notice]) -> None:
        into.extend([notice async for notice in stream if notice is not None])

    tasks = [asyncio.create_task(read(stream, found if stream is streams[0] else [])) for stream in streams]
    await asyncio.sleep(0)
    for number, change in enumerate(changes, 1):
        hub.changed(change)
        while hub._number < number:  # noqa: ASYNC110  a notice nobody wants wakes nobody
            await asyncio.sleep(0.01)
    hub.close()
    await asyncio.gather(*tasks)
    return found


def test_a_stream_is_told_of_what_it_wants_only() -> None:
    changes = [{"deliveries", "delivery:d1"}, {"systems"}, {"delivery:d2", "audit"}]
    found = asyncio.run(notices(changes, frozenset({"delivery:d2", "systems"})))
    assert [one.topics for one in found] == [("systems",), ("delivery:d2",)]
    everything = asyncio.run(notices(changes, frozenset()))
    assert [one.topics for one in everything] == [("deliveries", "delivery:d1"), ("systems",), ("audit", "delivery:d2")]


def test_a_notice_stays_small_and_still_reaches_who_watches_one_of_many() -> None:
    many = {f"delivery:d{number}" for number in range(3 * MOST_TOPICS)} | {"deliveries"}
    found = asyncio.run(notices([many], frozenset({"delivery:d7"})))
    assert [one.topics for one in found] == [("delivery:*",)]
    assert asyncio.run(notices([many], frozenset({"recipient:r"}))) == []


def test_a_stream_shows_that_it_lives_however_much_happens_that_it_does_not_want(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(hub_module, "KEEPALIVE_SECONDS", 0.4)

    async def first() -> Notice | None:
        hub = Hub(asyncio.get_running_loop())
        stream = hub.watch("", frozenset({"systems"}))

        async def happens() -> None:
            while True:
                hub.changed({"deliveries"})
                await asyncio.sleep(0.05)

        busy = asyncio.create_task(happens())
        try:
            async with asyncio.timeout(5):
                return await anext(stream)
        finally:
            busy.cancel()
            await stream.aclose()
            assert hub._watching == 0

    assert asyncio.run(first()) is None


def test_the_more_pages_watch_the_rarer_are_notices() -> None:
    async def took(watchers: int) -> float:
        loop = asyncio.get_running_loop()
        began = loop.time()
        await notices([{"a"}, {"b"}], frozenset(), watchers)
        return loop.time() - began

    assert asyncio.run(took(1)) < 0.8
    assert asyncio.run(took(40)) > 1.9
