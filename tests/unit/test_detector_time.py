"""What time it is in a partition, and who has been silent for how long."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tocsin.evaluator.core.partition_time import CONFIRMED_WITHIN, PartitionTime, _lose

MINUTE = 60_000


def test_now_is_the_newest_reading_and_never_steps_back() -> None:
    time = PartitionTime()
    time.read(100)
    time.read(50)
    assert time.now == 100


def test_the_wall_clock_carries_it_on_only_while_the_end_is_confirmed() -> None:
    time = PartitionTime(now=100_000)
    time.carry(0, 0)
    time.carry(1_000, 1_000)
    assert time.now == 101_000
    time.carry(6_000, 1_000)  # confirmed exactly 5 s ago
    assert time.now == 106_000
    time.carry(7_000, 1_000)
    time.carry(60_000, None)
    assert time.now == 106_000
    time.carry(61_000, 61_000)  # confirmed again: carried on from here
    time.carry(62_000, 62_000)
    assert time.now == 107_000


def test_before_the_first_reading_there_is_no_time_to_carry() -> None:
    time = PartitionTime()
    time.carry(0, 0)
    time.carry(1_000, 1_000)
    assert time.now == 0


def test_a_process_that_stood_still_does_not_leap() -> None:
    time = PartitionTime(now=100_000)
    time.carry(0, 0)
    time.carry(3_600_000, 3_600_000)
    assert time.now == 100_000


def test_without_outages_the_horizon_is_so_much_before_now() -> None:
    assert PartitionTime(now=20 * MINUTE).horizon(15 * MINUTE) == 5 * MINUTE


def test_an_outage_makes_nobody_older() -> None:
    time = PartitionTime(now=100 * MINUTE, alive_at=0)
    time.alive(20 * MINUTE)  # the broker was away for 20 minutes
    assert time.outages == [(100 * MINUTE, 120 * MINUTE)]
    time.read(121 * MINUTE)
    # Who was heard at minute 99 is 2 minutes old, not 22.
    assert time.horizon(15 * MINUTE) == 86 * MINUTE
    assert time.horizon(2 * MINUTE) == 99 * MINUTE


def test_a_short_silence_is_no_outage() -> None:
    time = PartitionTime(now=100_000, alive_at=0)
    time.alive(CONFIRMED_WITHIN)
    assert time.outages == []


@given(
    st.lists(st.tuples(st.integers(0, 300), st.integers(1, 50)), max_size=5),
    st.integers(0, 400),
    st.integers(1, 200),
    st.integers(0, 400),
)
def test_the_horizon_is_where_the_age_is_reached(
    gaps: list[tuple[int, int]], now: int, within: int, heard: int
) -> None:
    time = PartitionTime()
    for start, length in sorted(gaps):
        _lose(time.outages, start, start + length)
    time.now = now
    lost = set().union(*(range(start, end) for start, end in time.outages)) if time.outages else set()
    heard = min(heard, now)
    age = sum(1 for moment in range(heard, now) if moment not in lost)
    assert (heard <= time.horizon(within)) == (age >= within)
