"""Telling a commit that Kafka lost from one of ours. It excuses a failed soak: it must not excuse too much."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from lost_commits import COMPLETE_COMMIT, lost_commits

COMPLETE_ABORT = 5


def varint(number: int) -> bytes:
    rest = (number << 1) ^ (number >> 63)
    found = bytearray()
    while rest > 0x7F:
        found.append(rest & 0x7F | 0x80)
        rest >>= 7
    return bytes([*found, rest])


def batch(time: int, key: bytes, value: bytes, producer: int = -1, epoch: int = -1, attributes: int = 0) -> bytes:
    body = b"\0" + varint(0) + varint(0) + varint(len(key)) + key + varint(len(value)) + value + varint(0)
    record = varint(len(body)) + body
    length = 49 + len(record)
    head = (0, length, 0, 2, 0, attributes, 0, time, time, producer, epoch, 0, 1)
    return struct.pack(">qiibIhiqqqhii", *head) + record


def state(time: int, status: int, epoch: int = 5) -> bytes:
    return batch(time, b"\0\0\0\x02" + b"detector-a", struct.pack(">hqhib", 0, 1, epoch, 60_000, status))


def offsets(time: int, epoch: int = 5) -> bytes:
    return batch(time, b"group", b"offset", 1, epoch, 0x10)


def marker(time: int, *, commit: bool, epoch: int = 5) -> bytes:
    return batch(time, struct.pack(">hh", 0, commit), b"\0" * 6, 1, epoch, 0x30)


@pytest.mark.parametrize(
    ("states", "written", "lost"),
    [
        ([state(12, COMPLETE_COMMIT)], [offsets(10), marker(11, commit=True)], []),
        ([state(12, COMPLETE_COMMIT)], [offsets(10), marker(90, commit=False, epoch=6)], [12]),
        ([state(12, COMPLETE_COMMIT)], [offsets(10)], [12]),
        ([state(12, COMPLETE_ABORT)], [offsets(10), marker(11, commit=False)], []),
        # The commit before it is no excuse for one that was aborted, nor is that of another epoch.
        (
            [state(12, COMPLETE_COMMIT)],
            [offsets(10), marker(11, commit=True), offsets(20), marker(90, commit=False)],
            [],
        ),
        ([state(12, COMPLETE_COMMIT, epoch=4)], [offsets(10), marker(90, commit=False, epoch=6)], []),
    ],
)
def test_only_a_commit_that_was_noted_and_not_made_is_lost(
    tmp_path: Path, states: list[bytes], written: list[bytes], lost: list[int]
) -> None:
    for name, content in (("__transaction_state-3", states), ("__consumer_offsets-0", written)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "0.log").write_bytes(b"".join(content) + b"\0" * 100)
    assert [one.time for one in lost_commits(tmp_path)] == lost
