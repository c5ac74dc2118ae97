"""How much of a recipient is in flight, and when the next may start."""

from __future__ import annotations

from tocsin.dispatcher.core.flow import Ended, Flow

OK, FAILED = Ended("ok"), Ended("failed")


def run(flow: Flow, at: float, took: float, how: Ended = OK) -> float:
    """One attempt; when it ended."""
    flow.started(at)
    flow.ended(at + took, took, how)
    return at + took


def room(flow: Flow) -> int:
    started = 0
    while flow.has_room:
        flow.started(0.0)
        started += 1
    return started


def test_a_few_at_first_more_after_each_success_half_after_a_failure() -> None:
    flow = Flow(most=32)
    for _ in range(6):
        run(flow, 0.0, 0.01)
    assert room(flow) == 10
    flow = Flow(most=32)
    for _ in range(100):
        run(flow, 0.0, 0.01)
    run(flow, 0.0, 0.01, FAILED)
    assert room(flow) == 16
    for _ in range(10):
        flow.ended(0.0, 0.01, FAILED)
    flow.in_flight = 0
    assert room(flow) == 1


def test_a_rate_is_a_distance_from_start_to_start_and_nothing_is_saved_up() -> None:
    flow = Flow(most=32, interval=0.1)
    flow.started(100.0)
    assert flow.starts_at == 100.1
    flow.started(107.0)
    assert flow.starts_at == 107.1


def test_a_receiver_that_has_too_much_is_left_alone_longer_and_longer() -> None:
    flow = Flow(most=32)
    waits, at = [], 1000.0
    for _ in range(8):
        at = run(flow, at, 0.01, Ended("failed", slow_down=True))
        waits.append(round(flow.starts_at - at))
        at = flow.starts_at
    assert waits == [1, 2, 4, 8, 16, 32, 60, 60]
    at = run(flow, at, 0.01)
    at = run(flow, at, 0.01, Ended("failed", slow_down=True))
    assert round(flow.starts_at - at) == 1


def test_it_may_ask_for_a_time_but_not_silence_itself_for_ever() -> None:
    for asked, waits in ((7.0, 7), (86_400.0, 600), (0.0, 1)):
        flow = Flow(most=32)
        at = run(flow, 1000.0, 0.01, Ended("failed", slow_down=True, asked=asked))
        assert round(flow.starts_at - at) == waits


def test_as_many_wait_in_memory_as_it_takes_within_a_second() -> None:
    flow = Flow(most=32)
    assert flow.capacity(0.0) == 1000  # not known yet
    at = 0.0
    for _ in range(100):
        at = run(flow, at, 0.05)
    assert flow.capacity(at) == 640
    for _ in range(100):
        at = run(flow, at, 5.0)
    assert flow.capacity(at) == 6
    limited = Flow(most=32, interval=0.1)
    assert limited.capacity(0.0) == 10
    limited.started(0.0)
    assert limited.capacity(0.0) == 9


def test_a_quick_one_is_not_slow_because_of_a_moment_in_which_everything_was_late() -> None:
    flow, at = Flow(most=32), 10.0
    for _ in range(100):
        for _ in range(32):
            flow.started(at)
        at += 0.004
        for _ in range(32):
            flow.ended(at, 0.004, OK)
    for _ in range(32):
        flow.started(at)
    for _ in range(32):
        flow.ended(at + 0.3, 0.3, OK)
        assert flow.capacity(at + 0.3) == 1000


def test_the_first_answers_are_often_late_and_say_nothing_yet() -> None:
    flow = Flow(most=32)
    assert run(flow, 10.0, 0.4) == 10.4
    assert flow.capacity(10.4) == 1000
    for at in (10.8, 11.2, 11.6):
        run(flow, at, 0.4)
    assert flow.capacity(12.0) == 80  # slow for more than a second on end


def test_one_that_takes_very_few_is_believed_at_once() -> None:
    flow = Flow(most=1)
    run(flow, 10.0, 0.1)
    assert flow.capacity(10.1) == 10


def test_one_that_answers_nothing_is_noticed_but_not_at_the_first_look() -> None:
    flow = Flow(most=32)
    flow.started(10.0)
    for at in (10.2, 10.31, 10.4):
        flow.look(at)
    assert flow.capacity(10.4) == 1000
    flow.look(10.5)
    assert flow.capacity(10.5) == 8  # four at once, each of half a second or more
    flow.ended(10.6, 0.01, OK)
    assert flow.capacity(10.6) == 1000


def test_nothing_waits_for_a_recipient_whose_next_start_is_far() -> None:
    flow = Flow(most=32, interval=720.0)
    assert flow.capacity(0.0) == 1
    flow.started(0.0)
    assert flow.capacity(0.0) == 0
    assert flow.capacity(719.5) == 1
