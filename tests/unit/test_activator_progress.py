"""Is it stuck, or only waiting? And was it stopped?"""

from __future__ import annotations

from tocsin.evaluator.activator.fence import Fence
from tocsin.evaluator.activator.offsets import Position
from tocsin.evaluator.activator.progress import Progress


class Hand:
    """A clock moved by hand."""

    def __init__(self) -> None:
        self.seconds = 100.0

    def now_ms(self) -> int:
        return int(self.seconds * 1000)

    def monotonic(self) -> float:
        return self.seconds


def test_a_commit_that_stands_still_while_the_end_moves_is_stuck() -> None:
    progress = Progress(patience_s=10)
    assert [progress.observe(4, True, {0: Position(5, 0, 6 + second)}) for second in range(3)] == [None] * 3
    why = progress.observe(4, True, {0: Position(5, 0, 20)})
    assert why == "partition 0 stands still for 12 s, 15 behind"


def test_moving_or_being_at_the_end_is_progress() -> None:
    progress = Progress(patience_s=10)
    for second in range(10):
        assert progress.observe(4, True, {0: Position(second, 0, 100), 1: Position(7, 0, 7)}) is None


def test_time_without_the_broker_does_not_count() -> None:
    progress = Progress(patience_s=10)
    progress.observe(4, True, {0: Position(5, 0, 9)})
    assert [progress.observe(4, True, None) for _ in range(100)] == [None] * 100
    assert progress.observe(4, True, {0: Position(5, 0, 9)}) is None


def test_a_recovery_that_never_ends_is_stuck() -> None:
    progress = Progress(patience_s=10)
    assert [progress.observe(4, False, {}, 7) for _ in range(3)] == [None] * 3
    assert progress.observe(4, False, {}, 7) == "recovery stands still for 12 s"


def test_a_recovery_that_gets_on_may_take_as_long_as_it_takes() -> None:
    progress = Progress(patience_s=10)
    assert [progress.observe(4, False, {}, step) for step in range(100)] == [None] * 100


def test_a_join_may_take_twice_as_long() -> None:
    progress = Progress(patience_s=10)
    assert [progress.observe(4, False, {}) for _ in range(5)] == [None] * 5
    assert progress.observe(4, False, {}) == "no partitions assigned for 24 s"


def test_one_long_sleep_of_the_machine_is_not_patience_used_up() -> None:
    progress = Progress(patience_s=30)
    progress.observe(4, True, {0: Position(5, 0, 9)})
    assert progress.observe(3_600, True, {0: Position(5, 0, 9)}) is None


def test_a_partition_that_went_elsewhere_is_forgotten() -> None:
    progress = Progress(patience_s=10)
    progress.observe(8, True, {0: Position(5, 0, 9)})
    progress.observe(8, True, {0: Position(5, 0, 9)})
    progress.observe(8, True, {})
    assert progress.observe(8, True, {0: Position(5, 0, 9)}) is None


def test_a_process_that_was_stopped_longer_than_its_session_ends_before_it_sends() -> None:
    clock, ends = Hand(), list[str]()
    fence = Fence(clock, limit_s=9, end=ends.append)
    clock.seconds += 8
    fence.check()
    assert ends == []
    clock.seconds += 2
    fence.check()
    assert ends == ["stood still for 10.0 s: another process may own its partitions"]
