"""Times and durations as text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tocsin.shared.times import MAX_EPOCH_MS, format_duration, format_rfc3339, parse_duration, parse_rfc3339


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-11-23T10:00:00.123Z", 1_795_428_000_123),
        ("2026-11-23T10:00:00Z", 1_795_428_000_000),
        ("2026-11-23t10:00:00z", 1_795_428_000_000),
        ("2026-11-23 10:00:00Z", 1_795_428_000_000),
        ("2026-11-23T11:00:00+01:00", 1_795_428_000_000),
        ("2026-11-23T04:30:00-05:30", 1_795_428_000_000),
        ("2026-11-23T10:00:00.1Z", 1_795_428_000_100),
        ("2026-11-23T10:00:00.123999999Z", 1_795_428_000_123),
        ("1970-01-01T00:00:00Z", 0),
        ("2016-12-31T23:59:60Z", 1_483_228_800_000),
        ("9999-12-31T23:59:59.999Z", MAX_EPOCH_MS),
    ],
)
def test_an_rfc_3339_time_is_read_to_the_millisecond(text: str, expected: int) -> None:
    assert parse_rfc3339(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "2026-11-23",
        "2026-11-23T10:00:00",
        "2026-11-23T10:00Z",
        "2026-13-01T00:00:00Z",
        "2026-02-30T00:00:00Z",
        "2026-11-23T24:00:00Z",
        "2026-11-23T10:00:00+25:00",
        "2026-11-23T10:00:00+0100",
        "1969-12-31T23:59:59Z",
        "0000-01-01T00:00:00Z",
        "9999-12-31T23:59:59-01:00",
        "1764064800123",
        "２０２６-11-23T10:00:00Z",
        "2026-11-23T10:00:00Z\n",
    ],
)
def test_anything_else_is_no_time(text: str) -> None:
    with pytest.raises(ValueError):
        parse_rfc3339(text)


@given(st.integers(0, MAX_EPOCH_MS))
def test_what_is_written_is_read_back(epoch_ms: int) -> None:
    assert parse_rfc3339(format_rfc3339(epoch_ms)) == epoch_ms


@given(st.integers(0, MAX_EPOCH_MS), st.integers(0, MAX_EPOCH_MS))
def test_texts_sort_as_times_do(one: int, other: int) -> None:
    assert (one < other) == (format_rfc3339(one) < format_rfc3339(other))


@pytest.mark.parametrize(
    ("text", "expected"),
    [("90s", 90_000), ("1h30m", 5_400_000), ("250ms", 250), ("2d", 172_800_000), ("0s", 0), ("1.5h", 5_400_000)],
)
def test_a_duration_is_read(text: str, expected: int) -> None:
    assert parse_duration(text) == expected


@pytest.mark.parametrize("text", ["", "5", "5 m", "m", "-5m", "5m!", "1w", "5M", "1h 30m", "٥m", "9" * 400 + "d"])
def test_a_duration_needs_its_unit(text: str) -> None:
    with pytest.raises(ValueError):
        parse_duration(text)


@given(st.integers(0, MAX_EPOCH_MS))
def test_a_duration_that_is_written_is_read_back(milliseconds: int) -> None:
    assert parse_duration(format_duration(milliseconds)) == milliseconds
