"""Whatever order deliveries finish in and whenever the process dies, each is settled once and none is passed over."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st

from tocsin.dispatcher.core.offsets import FIT_ANYWHERE, MAX_OPEN, Progress, decode_metadata, encode_metadata

GAPS = st.lists(st.integers(1, 300), min_size=1, max_size=60)


@given(GAPS, st.randoms(use_true_random=False), st.lists(st.integers(0, 40), max_size=6))
@example([1], None, [0, 0])
def test_across_crashes_each_offset_is_settled_exactly_once(gaps: list[int], random: object, lives: list[int]) -> None:
    offsets = [sum(gaps[: at + 1]) for at in range(len(gaps))]  # with holes, as transaction markers leave them
    settled: list[int] = []
    committed: int | None = None
    metadata = ""
    for steps in [*lives, None]:
        progress = Progress(committed, metadata)
        taken: list[int] = []
        for offset in offsets:
            if committed is not None and offset < committed:
                continue
            assert not progress.seen(offset)
            if progress.settled(offset):
                progress.skip(offset)
            else:
                assert progress.admits(offset)
                progress.take(offset)
                taken.append(offset)
        if random is not None:
            random.shuffle(taken)  # type: ignore[attr-defined]
        for offset in taken if steps is None else taken[:steps]:
            progress.settle(offset)
            settled.append(offset)
            committed, metadata = progress.commit()
            assert committed <= min(set(offsets) - set(settled), default=committed)
    assert sorted(settled) == offsets
    assert (committed, metadata) == (offsets[-1] + 1, "")


@given(st.integers(0, 2**40), st.lists(st.integers(1, 5000), max_size=MAX_OPEN))
def test_metadata_reads_back(committed: int, gaps: list[int]) -> None:
    still_open = [committed + sum(gaps[: at + 1]) for at in range(min(len(gaps), 50))]
    newest = (still_open or [committed])[-1] + 1
    assert decode_metadata(committed, encode_metadata(committed, newest, still_open)) == (newest, still_open)


@given(st.text(max_size=50), st.integers(0, 1000))
@example("1:5:!!", 0)
@example("2:5:", 0)
@example("1:5:gA", 3)
@example("1:٣:", 3)
def test_junk_metadata_settles_nothing_it_should_not(metadata: str, committed: int) -> None:
    progress = Progress(committed, metadata)
    if not metadata.startswith("1:"):
        assert not progress.settled(committed)
        assert progress.settled(committed - 1)


def test_a_thousand_open_ones_fit_what_the_broker_takes() -> None:
    still_open = [at * 2_000_000 for at in range(FIT_ANYWHERE)]
    assert len(encode_metadata(0, still_open[-1] + 1, still_open)) <= 4096


@given(st.integers(0, 2**40), st.lists(st.tuples(st.integers(1, 400), st.sampled_from([1, 2, 127, 128, 200, 16_384]))))
@example(0, [(2_000, 1)])
@example(0, [(900, 1_000_000), (2_000, 1)])
@example(0, [(1_000, 16_384), (1, 1)])
@example(2**40, [(1, 1), (1, 125_000), (2_000, 1)])
@example(2**40, [(2_000, 128)])
def test_whatever_is_taken_fits_what_the_broker_takes(first: int, runs: list[tuple[int, int]]) -> None:
    progress, offset = Progress(first), first
    for length, gap in runs:
        for _ in range(length):
            offset += gap
            if progress.admits(offset):
                progress.take(offset)
    offset += 1
    while progress.admits(offset):
        progress.take(offset)
        offset += 1
    progress.settle(offset - 1) if progress.inherited(offset - 1) else None
    _, metadata = progress.commit()
    assert len(metadata) <= 4096


def test_two_thousand_that_follow_each_other_are_open_at_once_and_fewer_beside_one_that_takes_long() -> None:
    def taken(first: int, second: int) -> int:
        progress = Progress(first)
        progress.take(first)
        offset = second
        while progress.admits(offset):
            progress.take(offset)
            offset += 1
        return progress.open

    assert taken(0, 1) == MAX_OPEN
    # 8,000 a second for 30 s, the longest timeout.
    assert 1_000 < taken(0, 240_000) < 1_200
    assert taken(0, 10**9) == FIT_ANYWHERE


def test_a_full_partition_takes_no_more_until_most_of_it_is_settled() -> None:
    progress = Progress(0, "")
    for offset in range(MAX_OPEN):
        assert progress.admits(offset)
        progress.take(offset)
    assert not progress.admits(MAX_OPEN)
    progress.settle(3)
    assert progress.admits(MAX_OPEN)
    assert not progress.nearly_empty
    for offset in range(10, 10 + MAX_OPEN - FIT_ANYWHERE // 2):
        progress.settle(offset)
    assert progress.nearly_empty


def test_what_a_predecessor_left_open_is_taken_however_full_it_is() -> None:
    first = Progress(0, "")
    for offset in range(MAX_OPEN):
        first.take(offset)
    first.settle(MAX_OPEN - 1)
    committed, metadata = first.commit()
    second = Progress(committed, metadata)
    assert (committed, second.open) == (0, MAX_OPEN - 1)
    assert all(second.admits(offset) for offset in range(MAX_OPEN - 1))
    assert second.settled(MAX_OPEN - 1)


def test_a_partition_never_committed_has_nothing_settled() -> None:
    progress = Progress(None)
    assert not progress.settled(0)
    progress.take(5)
    progress.settle(5)
    assert progress.commit() == (6, "")
