"""What waits in memory for one recipient. Pure.

Without an order there is one lane, served from its front. A lane with a name has an order: one of it is out at a
time, and lanes take turns.
"""

from __future__ import annotations

from collections import deque
from typing import Generic, TypeVar

import msgspec

Item = TypeVar("Item")


class Entry(msgspec.Struct, Generic[Item], frozen=True):
    """A delivery in memory."""

    item: Item
    lane: str | None
    size: int
    parked_at: int | None = None  # its offset in `delivery-parked`; none: it came from elsewhere


class Waiting(Generic[Item]):
    """`bytes` and `len` are of all that waits."""

    def __init__(self) -> None:
        self._lanes: dict[str | None, deque[Entry[Item]]] = {}
        self._turn: deque[str | None] = deque()  # lanes that may go, each once
        self._out: set[str] = set()
        self._count = 0
        self.bytes = 0

    def __len__(self) -> int:
        return self._count

    def __bool__(self) -> bool:
        """Whether one may go."""
        return bool(self._turn)

    def put(self, entry: Entry[Item]) -> None:
        lane = self._lanes.get(entry.lane)
        if lane is None:
            lane = self._lanes[entry.lane] = deque()
        lane.append(entry)
        self._count += 1
        self.bytes += entry.size
        if len(lane) == 1 and entry.lane not in self._out:
            self._turn.append(entry.lane)

    def take(self) -> Entry[Item]:
        """The next that may go. Only where there is one; `back` must follow."""
        name = self._turn.popleft()
        lane = self._lanes[name]
        entry = lane.popleft()
        if not lane:
            del self._lanes[name]
        if name is None:
            if lane:
                self._turn.append(name)
        else:
            self._out.add(name)
        self._forget(entry)
        return entry

    def back(self, lane: str | None) -> None:
        """The one of this lane that was out has ended."""
        if lane is None:
            return
        self._out.discard(lane)
        if lane in self._lanes and lane not in self._turn:
            self._turn.append(lane)

    def take_newest(self) -> list[Entry[Item]]:
        """The newest that has its place in the topic, else all that have none; with an order, all of the longest lane.

        What left for the topic later would come behind what left before.
        """
        name = max(self._lanes, key=lambda lane: len(self._lanes[lane]))
        if name is not None:
            return self.clear(name)
        return self.clear_unparked() or [self._pop_plain()]

    def clear_unparked(self) -> list[Entry[Item]]:
        """Without an order: those that came last and have no place in the topic yet, in order."""
        found: list[Entry[Item]] = []
        while (lane := self._lanes.get(None)) and lane[-1].parked_at is None:
            found.append(self._pop_plain())
        found.reverse()
        return found

    def _pop_plain(self) -> Entry[Item]:
        lane = self._lanes[None]
        entry = lane.pop()
        if not lane:
            self._remove(None)
        self._forget(entry)
        return entry

    def clear(self, lane: str | None = None) -> list[Entry[Item]]:
        """All that waits, or all of one lane, in order; gone from here."""
        names = list(self._lanes) if lane is None else [lane] if lane in self._lanes else []
        found = [entry for name in names for entry in self._lanes[name]]
        for name in names:
            self._remove(name)
        for entry in found:
            self._forget(entry)
        return found

    def _remove(self, name: str | None) -> None:
        del self._lanes[name]
        if name in self._turn:
            self._turn.remove(name)

    def _forget(self, entry: Entry[Item]) -> None:
        self._count -= 1
        self.bytes -= entry.size
