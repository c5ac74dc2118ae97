"""What one recipient gets back from `delivery-parked` goes on in the order of the topic, however it comes. Pure.

Some of it is at hand, and the rest is read from the broker: it comes in any order.
"""

from __future__ import annotations

import heapq
from typing import Generic, TypeVar

from tocsin.dispatcher.core.waiting import Entry

Item = TypeVar("Item")


class Arrivals(Generic[Item]):
    """`len` is of all that is on its way, or here and not let on."""

    def __init__(self) -> None:
        self._expected: list[int] = []  # offsets; a heap
        self._here: dict[int, Entry[Item]] = {}
        self._lost: set[int] = set()

    def __len__(self) -> int:
        return len(self._expected) - len(self._lost)

    def expect(self, offset: int) -> None:
        heapq.heappush(self._expected, offset)

    def came(self, offset: int, entry: Entry[Item]) -> None:
        self._here[offset] = entry

    def lost(self, offset: int) -> None:
        if offset in self._expected:
            self._lost.add(offset)

    def next(self) -> Entry[Item] | None:
        """The oldest, once it is here."""
        while self._expected and self._expected[0] in self._lost:
            self._lost.discard(heapq.heappop(self._expected))
        if not self._expected or self._expected[0] not in self._here:
            return None
        return self._here.pop(heapq.heappop(self._expected))
