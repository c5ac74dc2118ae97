"""Records of `notification-tallies` as they really come."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tocsin.evaluator.core.activation import Place
from tocsin.evaluator.core.activation_partition import TICK_KEY, Record, Refused, Taken, read, take
from tocsin.evaluator.core.activation_row import Row
from tocsin.evaluator.core.notification import Rulebook
from tocsin.shared.partitioning import partition_for
from tocsin.shared.schemas.tally import Tally, Tick

PARTITIONS = 4
HOME = partition_for(b"n1", PARTITIONS)


def fields(**given: Any) -> dict[str, Any]:
    return {
        "notification_id": "n1",
        "revision": "r1",
        "partition": 0,
        "partitions": 1,
        "epoch": 1,
        "counter": 1,
        "matched": 1,
        "reporting": 2,
        "systems": ["PC-1"],
        "total": 1,
        "time": "2026-11-23T10:00:00Z",
        "sent_at": 1_764_000_000_000,
        **given,
    }


def record(value: bytes | None, key: bytes | None = b"n1", partition: int = HOME, offset: int = 0) -> Record:
    return Record(key, value, Place(partition, offset, 1_764_000_000_000))


def tally(**given: Any) -> bytes:
    return json.dumps(fields(**given)).encode()


def test_a_tally_and_a_tick_are_read() -> None:
    assert isinstance(read(record(tally()), PARTITIONS), Tally)
    assert isinstance(read(record(Tick(time=1).encode(), TICK_KEY, partition=3), PARTITIONS), Tick)


@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        (record(None), "tombstone"),
        (record(tally(), key=None), "null_key"),
        (record(b""), "json_invalid"),
        (record(b"not json"), "json_invalid"),
        (record(b"\xff\xfe\x00"), "json_invalid"),
        (record(b"[" * 200_000), "json_invalid"),
        (record(b'{"a":' * 5_000 + b"1" + b"}" * 5_000), "json_invalid"),
        (record(b"null"), "model_type"),
        (record(b"[]"), "model_type"),
        (record(tally(matched="many")), "int_parsing"),
        (record(tally(matched=float("nan"))), "finite_number"),
        (record(tally(matched=1.5)), "int_from_float"),
        (record(tally(matched=-1)), "number"),
        (record(tally(counter=10**40)), "number"),
        (record(tally(partition=1)), "number"),
        (record(tally(partitions=10**9)), "number"),
        (record(tally(systems=["a"] * 101)), "systems"),
        (record(tally(time="yesterday")), "value_error"),
        (record(tally(notification_id="")), "notification_id"),
        (record(tally(notification_id="n2")), "misplaced"),
        (record(tally(), partition=(HOME + 1) % PARTITIONS), "misplaced"),
        (record(b'{"notification_id":"\\ud800"}'), "json_invalid"),
        (record(b"x" * (2 << 20)), "json_invalid"),
        (record(tally(kind="tally"), key=TICK_KEY), "literal_error"),
        (record(json.dumps({"time": True}).encode(), key=TICK_KEY), "value_error"),
        (record(json.dumps({"kind": "tick", "time": 10**30}).encode(), key=TICK_KEY), "value_error"),
    ],
)
def test_poison_is_refused_with_a_reason(broken: Record, reason: str) -> None:
    result = read(broken, PARTITIONS)
    assert isinstance(result, Refused)
    assert result.reason == reason
    assert len(result.detail) <= 200


def test_what_comes_after_poison_is_taken() -> None:
    rows: dict[str, Row] = {}
    assert isinstance(take(record(b"poison"), PARTITIONS, rows, {}, Rulebook()), Refused)
    taken = take(record(tally(), offset=1), PARTITIONS, rows, {}, Rulebook())
    assert isinstance(taken, Taken)
    assert [write.notification_id for write in taken.writes] == ["n1"]


def test_unknown_fields_of_a_newer_version_are_ignored() -> None:
    assert isinstance(read(record(tally(added_later={"deep": [1]})), PARTITIONS), Tally)
