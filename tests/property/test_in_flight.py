"""How many are in flight at once: bounds that hold, and room that comes back by itself."""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from tocsin.dispatcher.core.in_flight import QUICK_SECONDS, SLOW_TIMES, InFlight


@dataclass(eq=False)
class One:
    at: float
    round: int


def start(flight: InFlight, at: float = 0.0) -> list[One]:
    """As many as may."""
    started: list[One] = []
    while not (flight.busy or flight.full):
        started.append(One(at, flight.round))
        flight.add(started[-1])
    return started


def test_quick_ones_are_no_more_than_keep_the_loop_busy() -> None:
    flight = InFlight(most=100, keeps_busy=8)
    out = start(flight)
    assert len(out) == 8
    for _ in range(50):  # each answered within the round after its own
        flight.next_round()
        for one in out:
            flight.remove(one)
        out = start(flight)
        assert len(flight) == 8


def test_slow_ones_become_as_many_as_there_may_be_within_as_many_rounds_as_that_takes() -> None:
    flight = InFlight(most=100, keeps_busy=8)
    found = []
    for _ in range(30):
        start(flight)
        found.append(len(flight))
        flight.next_round()
    assert found[:5] == [8, 8, 16, 16, 24]
    assert found[24:] == [100] * 6


def test_what_hangs_does_not_take_the_places_of_what_is_quick() -> None:
    flight = InFlight(most=100, keeps_busy=8)
    hanging = [One(0.0, flight.round) for _ in range(5)]
    for one in hanging:
        flight.add(one)
    assert len(start(flight)) == 3
    flight.next_round()
    flight.next_round()
    assert len(start(flight)) == 8
    assert len(flight) == 16


@given(
    most=st.integers(1, 12),
    keeps_busy=st.integers(1, 6),
    steps=st.lists(st.tuples(st.sampled_from(("start", "end", "round", "look")), st.integers(0, 50)), max_size=80),
)
def test_with_any_mixture_there_is_room_again_within_two_rounds_unless_all_places_are_taken(
    most: int, keeps_busy: int, steps: list[tuple[str, int]]
) -> None:
    flight = InFlight(most, keeps_busy)
    at, out = 0.0, list[One]()
    for what, number in steps:
        if what == "start":
            out += start(flight, at)
        elif what == "end" and out:
            flight.remove(out.pop(number % len(out)))
        elif what == "round":
            flight.next_round()
        elif what == "look":
            at += number / 20
            flight.look(at)
        quick = sum(at - one.at < QUICK_SECONDS for one in out)
        assert len(flight) == len(out) <= SLOW_TIMES * most
        assert what != "look" or flight.full == (quick >= most or len(out) == SLOW_TIMES * most)
        young = sum(one.round >= flight.round - 1 for one in out)
        assert flight.busy == (young >= keeps_busy)
        assert young <= keeps_busy
    flight.next_round()
    flight.next_round()
    assert not flight.busy
    assert flight.full or start(flight, at)
