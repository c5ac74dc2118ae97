"""Who is next: one lane a recipient."""

from __future__ import annotations

from tocsin.dispatcher.core.lanes import Lanes


def drain(lanes: Lanes[str]) -> list[str]:
    found = []
    while turn := lanes.take():
        found.append(turn[1])
    return found


def test_lanes_are_served_in_turn_and_each_is_bounded() -> None:
    lanes: Lanes[str] = Lanes(per_lane=2, in_all=10)
    for item in ("a1", "a2", "a3", "a4", "b1", "b2"):
        lanes.offer(item[0], item)
    assert drain(lanes) == ["a1", "b1", "a2", "b2"]
    assert (lanes.in_flight, lanes.waiting) == (4, 2)
    lanes.done("a")
    assert drain(lanes) == ["a3"]
    lanes.done("b")
    assert drain(lanes) == []


def test_all_lanes_together_are_bounded_too() -> None:
    lanes: Lanes[str] = Lanes(per_lane=5, in_all=3)
    for at in range(6):
        lanes.offer(f"r{at}", f"{at}")
    assert drain(lanes) == ["0", "1", "2"]
    lanes.done("r1")
    assert drain(lanes) == ["3"]


def test_a_full_lane_does_not_hold_up_the_others() -> None:
    lanes: Lanes[str] = Lanes(per_lane=1, in_all=10)
    for at in range(100):
        lanes.offer("sick", f"s{at}")
    lanes.offer("healthy", "h")
    assert drain(lanes) == ["s0", "h"]


def test_what_waits_can_be_dropped_and_lanes_go_on_afterwards() -> None:
    lanes: Lanes[str] = Lanes(per_lane=1, in_all=10)
    for item in ("a1", "a2", "b1"):
        lanes.offer(item[0], item)
    assert lanes.take() == ("a", "a1")
    assert lanes.drop_waiting() == 2
    assert drain(lanes) == []
    lanes.offer("a", "a3")
    assert drain(lanes) == []
    lanes.done("a")
    assert drain(lanes) == ["a3"]
    lanes.done("a")
    assert (lanes.in_flight, lanes.waiting) == (0, 0)
