"""Who is sent to next, and what has to wait elsewhere. Pure: every recipient's part of what one process delivers.

- Recipients take turns. Each is bounded by its own flow, all together by what may be in flight (`in_flight`).
- What its recipient cannot take within a second is parked: in `delivery-parked`, not in memory, so that neither its
  partition nor its neighbours wait. While any is parked, new ones park behind it; then they come back oldest first.
  Nothing in memory is older than what is parked but what has its own place there: when one has to be parked, those
  before it go first.
- While the recipient is held (paused, disabled, its circuit open), all of it is parked. One delivery at a time
  probes an open circuit.

Times `at` are monotonic seconds; `now_ms` is the wall clock, of due times and probes.
"""

from __future__ import annotations

import heapq
from collections import Counter, deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Generic, Literal, TypeVar

import msgspec

from tocsin.dispatcher.core.arrivals import Arrivals
from tocsin.dispatcher.core.flow import STUCK_AFTER, Ended, Flow
from tocsin.dispatcher.core.in_flight import KEEPS_BUSY, InFlight
from tocsin.dispatcher.core.parked import BEFORE_ALL, Parked
from tocsin.dispatcher.core.standing import Hold
from tocsin.dispatcher.core.waiting import Entry, Waiting

Item = TypeVar("Item")

ParkedBecause = Literal["paused", "disabled", "circuit_open", "behind", "full"]

LOOK_EVERY = 0.1
LAG_TIMES, LAG_FADES = 20.0, 0.9
"""A process that is late itself finds everybody slow: so many times its own lateness must pass as well."""


@dataclass(frozen=True, slots=True)
class DeskPolicy:
    """Bounds of one process."""

    per_recipient: int = 32
    in_all: int = 256
    recipient_bytes: int = 8 << 20  # waiting in memory for one recipient
    keeps_busy: int = KEEPS_BUSY


@dataclass(frozen=True, slots=True)
class Terms:
    """What is configured for a recipient, and how it stands."""

    interval: float = 0.0  # seconds from one start to the next
    hold: Hold | None = None
    probe_at_ms: int | None = None  # of an open circuit


@dataclass(eq=False)
class Seat(Generic[Item]):
    """One recipient."""

    id: str
    partition: int
    flow: Flow
    terms: Terms = field(default_factory=Terms)
    waiting: Waiting[Item] = field(default_factory=Waiting)
    parked: Parked = field(default_factory=Parked)
    leaving: dict[str, str | None] = field(default_factory=dict)  # on their way to the topic: key → lane
    leaving_lanes: Counter[str] = field(default_factory=Counter)
    arrivals: Arrivals[Item] = field(default_factory=Arrivals)  # on their way back
    heads: int = 0  # of lanes with an order, on their way back
    probe: Literal["none", "wanted", "fetching", "waiting", "out"] = "none"
    listed: bool = False

    @property
    def key(self) -> tuple[str, int]:
        return self.id, self.partition

    @property
    def fetching(self) -> int:
        return len(self.arrivals) + self.heads


class Turn(msgspec.Struct, Generic[Item], eq=False):
    """One that goes out now. `done` must follow."""

    seat: Seat[Item]
    entry: Entry[Item]
    at: float
    round: int
    probe: bool


@dataclass(frozen=True, slots=True)
class Fetch:
    """This parked delivery is wanted; `arrived` must follow."""

    recipient: str
    partition: int
    offset: int
    lane: str | None


class Leaves(msgspec.Struct, Generic[Item], frozen=True):
    """What is in memory no longer: to be parked, or, where it has its place there already, only to be forgotten."""

    entry: Entry[Item]
    because: ParkedBecause


class Desk(Generic[Item]):
    """All recipients of the partitions that this process has."""

    def __init__(self, policy: DeskPolicy) -> None:
        self._policy = policy
        self._seats: dict[tuple[str, int], Seat[Item]] = {}
        self._ready: deque[Seat[Item]] = deque()
        self._later: list[tuple[float, int, Seat[Item]]] = []  # a heap: when a rate or a slow-down lets it start
        self._busy: dict[tuple[str, int], Seat[Item]] = {}  # those with anything to do
        self._count = 0
        self._in_flight = InFlight(policy.in_all, policy.keeps_busy)
        self._looked = 0.0
        self._lag = 0.0

    @property
    def in_flight(self) -> int:
        return len(self._in_flight)

    @property
    def held_back(self) -> bool:
        """Something may go out once the loop has gone round: `next_round` must follow, and `take`."""
        return bool(self._ready) and self._in_flight.busy and not self._in_flight.full

    def next_round(self) -> None:
        self._in_flight.next_round()

    def seat(self, recipient: str, partition: int) -> Seat[Item] | None:
        return self._seats.get((recipient, partition))

    def seats(self, partition: int) -> list[Seat[Item]]:
        """All of a partition."""
        return [seat for seat in self._seats.values() if seat.partition == partition]

    def busy(self) -> Iterable[Seat[Item]]:
        """Those with anything waiting, parked or in flight."""
        return self._busy.values()

    def add(self, recipient: str, partition: int, terms: Terms) -> Seat[Item]:
        seat: Seat[Item] = Seat(recipient, partition, Flow(self._policy.per_recipient, terms.interval), terms)
        self._seats[seat.key] = seat
        return seat

    def set_terms(self, seat: Seat[Item], terms: Terms) -> list[Leaves[Item]]:
        """How it stands from now on. What has to leave, in order."""
        before, seat.terms = seat.terms, terms
        seat.flow.interval = terms.interval
        if terms.hold is None:
            seat.probe = "none"
            if before.hold is not None:
                seat.flow.forgive()
                self._list(seat)
            return []
        if terms.hold != "circuit_open":
            seat.probe = "none"
        if before.hold is None or (terms.hold != before.hold):
            left = [Leaves(entry, terms.hold) for entry in seat.waiting.clear()]
            if seat.probe == "waiting":
                seat.probe = "none"
            return self._leave(seat, left)
        return []

    def offer(self, seat: Seat[Item], entry: Entry[Item], at: float, now_ms: int) -> list[Leaves[Item]]:
        """What has to leave: nothing when it waits in memory now; else it, after those of its lane before it."""
        because = self._parks(seat, entry, at, now_ms)
        if because is not None:
            return self._leave(seat, [Leaves(one, because) for one in (*self._before(seat, entry.lane), entry)])
        self._put(seat, entry)
        return []

    def leaves(self, seat: Seat[Item], key: str, lane: str | None) -> None:
        """This one is on its way to the topic."""
        seat.leaving[key] = lane
        if lane is not None:
            seat.leaving_lanes[lane] += 1

    def seen(self, seat: Seat[Item], key: str, offset: int, lane: str | None, due_ms: int, front: bool) -> None:
        """It stands in the topic now."""
        if key in seat.leaving and (left := seat.leaving.pop(key)) is not None:
            seat.leaving_lanes[left] -= 1
            if not seat.leaving_lanes[left]:
                del seat.leaving_lanes[left]
        seat.parked.add(offset, lane, due_ms, front=front)
        self._busy[seat.key] = seat

    def arrived(self, seat: Seat[Item], entry: Entry[Item]) -> list[Leaves[Item]]:
        """A fetched one is here. What may not stay: its place in the topic is kept."""
        assert entry.parked_at is not None
        if entry.lane is not None:
            seat.heads -= 1
            return self._receive(seat, entry)
        seat.arrivals.came(entry.parked_at, entry)
        return self._receive_in_order(seat)

    def lost(self, seat: Seat[Item], offset: int, lane: str | None) -> list[Leaves[Item]]:
        """A fetched one is not there any more. What may not stay of those that came after it."""
        if seat.probe == "fetching":
            seat.probe = "wanted"
        seat.parked.settled(offset, lane)
        if lane is not None:
            seat.heads -= 1
            return []
        seat.arrivals.lost(offset)
        return self._receive_in_order(seat)

    def take(self, at: float) -> Turn[Item] | None:
        """Who is next; None when nothing may start."""
        while self._later and self._later[0][0] <= at:
            _, _, seat = heapq.heappop(self._later)
            seat.listed = False
            self._list(seat)
        while self._ready:
            if self._in_flight.busy or self._in_flight.full:
                return None
            seat = self._ready.popleft()
            seat.listed = False
            if not self._may_go(seat):
                continue
            if seat.flow.starts_at > at:
                seat.listed = True
                self._count += 1
                heapq.heappush(self._later, (seat.flow.starts_at, self._count, seat))
                continue
            probe = seat.probe == "waiting"
            if probe:
                seat.probe = "out"
            turn = Turn(seat, seat.waiting.take(), at, self._in_flight.round, probe)
            if turn.entry.lane is not None and turn.entry.parked_at is None:
                seat.parked.wait_for(turn.entry.lane)
            seat.flow.started(at)
            self._in_flight.add(turn)
            self._list(seat)
            return turn
        return None

    def wakes_at(self) -> float | None:
        """When to call `take` again at the latest."""
        return self._later[0][0] if self._later else None

    def done(self, turn: Turn[Item], at: float, how: Ended, *, again: bool = False) -> list[Leaves[Item]]:
        """It is no longer in flight. `again`: the head of its lane is being written anew. What has to leave."""
        seat, entry = turn.seat, turn.entry
        self._in_flight.remove(turn)
        seat.flow.ended(at, at - turn.at, how)
        seat.waiting.back(entry.lane)
        if turn.probe:
            # One that ended without an attempt was no probe: the next one is.
            seat.probe = "wanted" if how.verdict == "nothing" and seat.terms.hold == "circuit_open" else "none"
        left: list[Leaves[Item]] = []
        if again and entry.lane is not None:
            left = self._leave(seat, [Leaves(one, "behind") for one in seat.waiting.clear(entry.lane)])
        offset = BEFORE_ALL if entry.parked_at is None else entry.parked_at
        seat.parked.settled(offset, entry.lane, again=again)
        self._list(seat)
        return left

    def tick(self, at: float) -> list[Leaves[Item]]:
        """Every tenth of a second: who hangs, and what therefore has to leave."""
        self._lag = max(self._lag * LAG_FADES, at - self._looked - LOOK_EVERY if self._looked else 0.0)
        self._looked = at
        patience = max(STUCK_AFTER, LAG_TIMES * self._lag)
        self._in_flight.look(at)
        left: list[Leaves[Item]] = []
        for seat in list(self._busy.values()):
            seat.flow.look(at, patience)
            if not (len(seat.waiting) or seat.flow.in_flight or seat.fetching or len(seat.parked)):
                del self._busy[seat.key]
            if len(seat.waiting) and seat.terms.hold is None:
                left += self._leave(seat, self._over(seat, at))
        return left

    def wanted(self, seat: Seat[Item], at: float, now_ms: int) -> list[Fetch]:
        """What to fetch for it now: as much as it takes within a second, or a probe."""
        found: list[Fetch] = []
        if seat.terms.hold == "circuit_open":
            due = seat.terms.probe_at_ms is not None and now_ms >= seat.terms.probe_at_ms
            if seat.probe == "none" and due and not seat.flow.in_flight:
                seat.probe = "wanted"
            if seat.probe == "wanted" and (taken := seat.parked.take(now_ms)):
                seat.probe = "fetching"
                found.append(self._fetch(seat, *taken))
        elif seat.terms.hold is None:
            room = seat.flow.capacity(at) - len(seat.waiting) - seat.fetching
            if room < seat.flow.capacity(at) // 2 and len(seat.waiting) + seat.fetching:
                return found
            if seat.waiting.bytes > self._policy.recipient_bytes // 2:
                return found
            while room > 0 and (taken := seat.parked.take(now_ms)):
                found.append(self._fetch(seat, *taken))
                room -= 1
        return found

    def forget(self, partition: int) -> None:
        """This partition has left. Results of its recipients may still come; they go nowhere."""
        for seat in self.seats(partition):
            del self._seats[seat.key]
            self._busy.pop(seat.key, None)
            seat.waiting.clear()

    def drop_waiting(self) -> None:
        """Nothing new is started any more."""
        for seat in self._seats.values():
            seat.waiting.clear()
            seat.probe = "none"
        self._ready.clear()
        self._later.clear()

    def held(self) -> int:
        """How many recipients with something waiting are held."""
        return sum(seat.terms.hold is not None for seat in self._busy.values())

    def _parks(self, seat: Seat[Item], entry: Entry[Item], at: float, now_ms: int) -> ParkedBecause | None:
        lane = entry.lane
        if lane is not None and self._precedes(seat, lane):
            return "behind"
        if seat.terms.hold is not None:
            return seat.terms.hold  # a probe, too, is fetched: what comes after it is parked behind it
        if seat.leaving or seat.fetching or len(seat.parked) if lane is None else seat.parked.may_go(now_ms):
            return "behind"
        full = len(seat.waiting) >= seat.flow.capacity(at)
        return "full" if full or seat.waiting.bytes + entry.size > self._policy.recipient_bytes else None

    def _before(self, seat: Seat[Item], lane: str | None) -> list[Entry[Item]]:
        """What has to be parked before anything of this lane is."""
        if lane is None:
            return seat.waiting.clear_unparked()
        return [] if self._precedes(seat, lane) else seat.waiting.clear(lane)

    def _precedes(self, seat: Seat[Item], lane: str) -> bool:
        """Whether something of this lane is parked, or about to be."""
        return seat.parked.holds(lane) or lane in seat.leaving_lanes

    def _over(self, seat: Seat[Item], at: float) -> list[Leaves[Item]]:
        """What waits beyond what it takes within a second."""
        most, over = max(seat.flow.capacity(at), 1), []
        while len(seat.waiting) > most:
            over.append(seat.waiting.take_newest())
        return [Leaves(entry, "full") for newest in reversed(over) for entry in newest]

    def _receive_in_order(self, seat: Seat[Item]) -> list[Leaves[Item]]:
        left: list[Leaves[Item]] = []
        while (entry := seat.arrivals.next()) is not None:
            left += self._receive(seat, entry)
        return left

    def _receive(self, seat: Seat[Item], entry: Entry[Item]) -> list[Leaves[Item]]:
        assert entry.parked_at is not None
        if seat.probe == "fetching":
            seat.probe = "waiting"
        elif seat.terms.hold is not None:
            return self._leave(seat, [Leaves(entry, seat.terms.hold)])
        elif entry.lane is None and seat.parked.precedes(entry.parked_at):
            # Older ones were given back while it was on its way.
            return self._leave(seat, [Leaves(entry, "behind")])
        self._put(seat, entry)
        return []

    def _put(self, seat: Seat[Item], entry: Entry[Item]) -> None:
        seat.waiting.put(entry)
        self._busy[seat.key] = seat
        self._list(seat)

    def _leave(self, seat: Seat[Item], left: list[Leaves[Item]]) -> list[Leaves[Item]]:
        """Those that have their place in the topic keep it."""
        for one in left:
            if one.entry.parked_at is not None:
                seat.parked.give_back(one.entry.parked_at, one.entry.lane)
        return left

    def _fetch(self, seat: Seat[Item], offset: int, lane: str | None) -> Fetch:
        if lane is None:
            seat.arrivals.expect(offset)
        else:
            seat.heads += 1
        return Fetch(seat.id, seat.partition, offset, lane)

    def _may_go(self, seat: Seat[Item]) -> bool:
        if not seat.waiting or not seat.flow.has_room:
            return False
        return seat.terms.hold is None or seat.probe == "waiting"

    def _list(self, seat: Seat[Item]) -> None:
        if not seat.listed and self._may_go(seat):
            seat.listed = True
            self._ready.append(seat)
