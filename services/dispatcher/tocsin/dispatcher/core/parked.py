"""Which deliveries of one recipient wait in `delivery-parked`, oldest first. Pure; eight bytes a delivery.

Without an order all of them are in one lane, and many may be taken at once. A lane with a name has an order: one is
taken at a time, and the next only when it is settled. A head that failed is written anew with its due time: its
lane waits until that record is seen, and then for its time.
"""

from __future__ import annotations

import heapq
from array import array
from bisect import bisect_left
from dataclasses import dataclass, field

COMPACT_AFTER = 4_096


class Offsets:
    """Ascending, taken from the front; some are put before all others."""

    def __init__(self) -> None:
        self._all = array("q")
        self._at = 0
        self._first: list[int] = []  # given back, or written anew; a heap
        self._gone: set[int] = set()

    def __len__(self) -> int:
        return len(self._all) - self._at - len(self._gone) + len(self._first)

    def append(self, offset: int) -> None:
        self._all.append(offset)

    def put_first(self, offset: int) -> None:
        heapq.heappush(self._first, offset)

    def head(self) -> int | None:
        if self._first:
            return self._first[0]
        self._pass_over_the_gone()
        return self._all[self._at] if self._at < len(self._all) else None

    def pop(self) -> int:
        """The head. Only where there is one."""
        if self._first:
            return heapq.heappop(self._first)
        self._pass_over_the_gone()
        found = self._all[self._at]
        self._at += 1
        if self._at > COMPACT_AFTER and self._at * 2 > len(self._all):
            self._all = self._all[self._at :]
            self._at = 0
        return found

    def discard(self, offset: int) -> bool:
        """Whether it was there."""
        if offset in self._first:
            self._first.remove(offset)
            heapq.heapify(self._first)
            return True
        found = bisect_left(self._all, offset, self._at)
        if found == len(self._all) or self._all[found] != offset or offset in self._gone:
            return False
        self._gone.add(offset)
        return True

    def _pass_over_the_gone(self) -> None:
        while self._at < len(self._all) and self._all[self._at] in self._gone:
            self._gone.discard(self._all[self._at])
            self._at += 1


BEFORE_ALL = -1


@dataclass(slots=True)
class _Lane:
    offsets: Offsets = field(default_factory=Offsets)
    taken: int | None = None  # the one being worked on; BEFORE_ALL: one that was never here
    expecting: bool = False  # it is being written anew
    due_ms: int = 0  # of its head, written anew
    listed: bool = False  # among those that may go


class Parked:
    """One recipient's."""

    def __init__(self) -> None:
        self._plain = Offsets()
        self._lanes: dict[str, _Lane] = {}
        self._turn: list[tuple[int, str]] = []  # lanes that may go, by their heads; a heap
        self._due: list[tuple[int, str]] = []  # lanes that wait for a time; a heap

    def __len__(self) -> int:
        """Waiting, not taken."""
        return len(self._plain) + sum(len(lane.offsets) for lane in self._lanes.values())

    def add(self, offset: int, lane: str | None, due_ms: int = 0, *, front: bool = False) -> None:
        """Seen in the topic, in the order of offsets. `front`: a head that was written anew."""
        if lane is None:
            self._plain.append(offset)
            return
        found = self._lanes.setdefault(lane, _Lane())
        if front:
            found.offsets.put_first(offset)
            found.expecting = False
            found.due_ms = due_ms
        else:
            found.offsets.append(offset)
        self._list(lane, found)

    def gone(self, offset: int, lane: str | None) -> None:
        """Settled by a predecessor."""
        if lane is None:
            self._plain.discard(offset)
        elif found := self._lanes.get(lane):
            found.offsets.discard(offset)
            self._drop_if_empty(lane, found)

    def may_go(self, now_ms: int) -> bool:
        """Whether one could be taken."""
        return bool(len(self._plain)) or self._next_lane(now_ms) is not None

    def holds(self, lane: str | None) -> bool:
        """Whether something of this lane is before whatever comes now."""
        if lane is None:
            return len(self._plain) > 0
        found = self._lanes.get(lane)
        return found is not None and (
            found.expecting or len(found.offsets) > 0 or found.taken not in (None, BEFORE_ALL)
        )

    def precedes(self, offset: int) -> bool:
        """Whether something without an order waits here that is older than this."""
        head = self._plain.head()
        return head is not None and head < offset

    def wait_for(self, lane: str) -> None:
        """One that was never here and comes before all of this lane is being worked on; `settled` must follow."""
        self._lanes.setdefault(lane, _Lane()).taken = BEFORE_ALL

    def take(self, now_ms: int) -> tuple[int, str | None] | None:
        """The oldest that may go."""
        name = self._next_lane(now_ms)
        plain = self._plain.head()
        if name is None or (plain is not None and plain < self._turn[0][0]):
            return None if plain is None else (self._plain.pop(), None)
        heapq.heappop(self._turn)
        lane = self._lanes[name]
        lane.listed = False
        lane.taken = lane.offsets.pop()
        lane.due_ms = 0
        return lane.taken, name

    def give_back(self, offset: int, lane: str | None) -> None:
        """It was taken and stays where it is."""
        if lane is None:
            self._plain.put_first(offset)
        elif found := self._lanes.get(lane):
            found.taken = None
            found.offsets.put_first(offset)
            self._list(lane, found)

    def settled(self, offset: int, lane: str | None, *, again: bool = False) -> None:
        """It was taken and is done with. `again`: it is being written anew."""
        if lane is None:
            return
        found = self._lanes.get(lane)
        if found is None:
            return
        if found.taken == offset:
            found.taken = None
        found.expecting = found.expecting or again
        self._list(lane, found)
        self._drop_if_empty(lane, found)

    def _list(self, name: str, lane: _Lane) -> None:
        head = lane.offsets.head()
        if lane.listed or lane.taken is not None or lane.expecting or head is None:
            return
        lane.listed = True
        if lane.due_ms:
            heapq.heappush(self._due, (lane.due_ms, name))
        else:
            heapq.heappush(self._turn, (head, name))

    def _next_lane(self, now_ms: int) -> str | None:
        while self._due and self._due[0][0] <= now_ms:
            _, name = heapq.heappop(self._due)
            if lane := self._lanes.get(name):
                lane.due_ms = 0
                self._list_anew(name, lane)
        while self._turn:
            head, name = self._turn[0]
            lane = self._lanes.get(name)
            free = lane is not None and lane.taken is None and not lane.expecting and not lane.due_ms
            if lane is not None and free and lane.offsets.head() == head:
                return name
            # What it says is no longer so: its head has gone, or another has come before it.
            heapq.heappop(self._turn)
            if lane is not None:
                self._list_anew(name, lane)
        return None

    def _list_anew(self, name: str, lane: _Lane) -> None:
        lane.listed = False
        self._list(name, lane)

    def _drop_if_empty(self, name: str, lane: _Lane) -> None:
        if not len(lane.offsets) and lane.taken is None and not lane.expecting:
            del self._lanes[name]
