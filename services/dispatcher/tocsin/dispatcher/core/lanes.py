"""Who is next: one lane a recipient, each with its own bound, served in turn. Pure.

A recipient that is slow fills its own lane and nobody else's; what has room is served round-robin.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Generic, TypeVar

Item = TypeVar("Item")


@dataclass
class _Lane(Generic[Item]):
    waiting: deque[Item] = field(default_factory=deque)
    in_flight: int = 0


class Lanes(Generic[Item]):
    """At most `per_lane` of one lane in flight, and `in_all` of all."""

    def __init__(self, per_lane: int, in_all: int) -> None:
        self._per_lane = per_lane
        self._in_all = in_all
        self._lanes: dict[str, _Lane[Item]] = {}
        self._ready: deque[str] = deque()  # lanes with something waiting and room; each once
        self.in_flight = 0
        self.waiting = 0

    def offer(self, lane: str, item: Item) -> None:
        """It waits its turn in its lane."""
        found = self._lanes.setdefault(lane, _Lane())
        found.waiting.append(item)
        self.waiting += 1
        if len(found.waiting) == 1 and found.in_flight < self._per_lane:
            self._ready.append(lane)

    def take(self) -> tuple[str, Item] | None:
        """The next one of the next lane, now in flight; None when nothing may start."""
        if not self._ready or self.in_flight >= self._in_all:
            return None
        lane = self._ready.popleft()
        found = self._lanes[lane]
        item = found.waiting.popleft()
        found.in_flight += 1
        self.in_flight += 1
        self.waiting -= 1
        if found.waiting and found.in_flight < self._per_lane:
            self._ready.append(lane)
        return lane, item

    def done(self, lane: str) -> None:
        """One of this lane is no longer in flight."""
        found = self._lanes[lane]
        found.in_flight -= 1
        self.in_flight -= 1
        if found.waiting:
            if found.in_flight == self._per_lane - 1:
                self._ready.append(lane)
        elif not found.in_flight:
            del self._lanes[lane]

    def drop_waiting(self) -> int:
        """Forget all that has not started; how many they were."""
        dropped = self.waiting
        for lane in [name for name, found in self._lanes.items() if not found.in_flight]:
            del self._lanes[lane]
        for found in self._lanes.values():
            found.waiting.clear()
        self._ready.clear()
        self.waiting = 0
        return dropped
