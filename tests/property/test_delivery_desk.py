"""The desk, driven by chance: nothing is lost, nothing is out twice, order is kept, bounds hold."""

from __future__ import annotations

from collections import defaultdict

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tocsin.dispatcher.core.desk import Desk, DeskPolicy, Fetch, Leaves, Terms, Turn
from tocsin.dispatcher.core.flow import Ended
from tocsin.dispatcher.core.waiting import Entry

POLICY = DeskPolicy(per_recipient=3, in_all=5, recipient_bytes=1_000, keeps_busy=2)
RECIPIENTS = ("plain", "other", "ordered")
HOLDS: tuple[str | None, ...] = (None, "paused", "disabled", "circuit_open")


class DeskMachine(RuleBasedStateMachine):
    """The shell around the desk, with everything in between delayed by chance."""

    @initialize()
    def begin(self) -> None:
        self.desk: Desk[int] = Desk(POLICY)
        self.at, self.now = 100.0, 1_000_000
        self.terms: dict[str, Terms] = dict.fromkeys(RECIPIENTS, Terms())
        for recipient in RECIPIENTS:
            self.desk.add(recipient, 0, Terms())
        self.numbers = self.rounds = 0
        self.of: dict[int, tuple[str, str | None]] = {}  # each delivery's recipient and lane
        self.topic = 0  # the next offset of `delivery-parked`
        self.written: list[tuple[int, int, bool]] = []  # parked and not seen yet: delivery, due, front
        self.stands: dict[int, int] = {}  # offset → delivery, in the topic
        self.fetches: list[Fetch] = []
        self.out: list[Turn[int]] = []
        self.done: set[int] = set()
        self.ended: defaultdict[tuple[str, str], list[int]] = defaultdict(list)  # by lane, in order

    def _leave(self, leaves: list[Leaves[int]]) -> None:
        for one in leaves:
            if one.entry.parked_at is None:
                self._park(one.entry.item)

    def _park(self, number: int, due: int = 0, *, front: bool = False) -> None:
        recipient, lane = self.of[number]
        if not front:
            self.desk.leaves(self._seat(recipient), str(number), lane)
        self.written.append((number, due, front))

    def _seat(self, recipient: str):  # type: ignore[no-untyped-def]
        seat = self.desk.seat(recipient, 0)
        assert seat is not None
        return seat

    @rule(recipient=st.sampled_from(RECIPIENTS), lane=st.sampled_from("ab"), size=st.integers(1, 400))
    def offer(self, recipient: str, lane: str, size: int) -> None:
        number, self.numbers = self.numbers, self.numbers + 1
        self.of[number] = (recipient, lane if recipient == "ordered" else None)
        entry = Entry(number, self.of[number][1], size)
        self._leave(self.desk.offer(self._seat(recipient), entry, self.at, self.now))

    @rule(count=st.integers(1, 5))
    def see(self, count: int) -> None:
        """Records become readable in the order in which they were written."""
        for number, due, front in self.written[:count]:
            recipient, lane = self.of[number]
            self.stands[self.topic] = number
            self.desk.seen(self._seat(recipient), str(number), self.topic, lane, due, front)
            self.topic += 1
        del self.written[:count]

    @rule(recipient=st.sampled_from(RECIPIENTS))
    def want(self, recipient: str) -> None:
        found = self.desk.wanted(self._seat(recipient), self.at, self.now)
        if recipient != "ordered":
            assert [one.offset for one in found] == sorted(one.offset for one in found)
        self.fetches += found

    @precondition(lambda self: self.fetches)
    @rule()
    def arrive(self) -> None:
        fetch = self.fetches.pop(0)
        number = self.stands[fetch.offset]
        entry = Entry(number, fetch.lane, 10, fetch.offset)
        self._leave(self.desk.arrived(self._seat(fetch.recipient), entry))

    @rule()
    def take(self) -> None:
        while turn := self.desk.take(self.at):
            assert turn.entry.item not in self.done
            assert turn.entry.item not in {one.entry.item for one in self.out}
            hold = self.terms[turn.seat.id].hold
            assert hold is None or (turn.probe and hold == "circuit_open")
            lane = turn.entry.lane
            assert lane is None or lane not in {one.entry.lane for one in self.out}
            self.out.append(turn)
        if len(self.out) < POLICY.in_all and not self.desk.held_back:
            assert not [one for one in RECIPIENTS if self._could_go(one)]

    def _could_go(self, recipient: str) -> bool:
        seat = self._seat(recipient)
        held = seat.terms.hold is not None and seat.probe != "waiting"
        return bool(seat.waiting) and seat.flow.has_room and seat.flow.starts_at <= self.at and not held

    @precondition(lambda self: self.desk.held_back)
    @rule()
    def go_round(self) -> None:
        self.desk.next_round()
        self.rounds += 1

    @precondition(lambda self: self.out)
    @rule(
        which=st.integers(0, 20),
        verdict=st.sampled_from(("ok", "ok", "failed", "nothing")),
        slow=st.booleans(),
        due=st.sampled_from((0, 500)),
    )
    def finish(self, which: int, verdict: str, slow: bool, due: int) -> None:
        turn = self.out.pop(which % len(self.out))
        number, lane = turn.entry.item, turn.entry.lane
        again = verdict == "failed" and lane is not None
        how = Ended(verdict, slow and verdict == "failed")  # type: ignore[arg-type]
        if again:
            self._park(number, self.now + due, front=True)
        else:
            self.done.add(number)
            if lane is not None:
                self.ended[turn.seat.id, lane].append(number)
        if turn.entry.parked_at is not None:
            del self.stands[turn.entry.parked_at]
        self._leave(self.desk.done(turn, self.at, how, again=again))

    @rule(recipient=st.sampled_from(RECIPIENTS), hold=st.sampled_from(HOLDS), rate=st.sampled_from((0.0, 0.2)))
    def change(self, recipient: str, hold: str | None, rate: float) -> None:
        self.terms[recipient] = Terms(rate, hold, self.now + 300)  # type: ignore[arg-type]
        self._leave(self.desk.set_terms(self._seat(recipient), self.terms[recipient]))

    @rule(ms=st.sampled_from((1, 50, 300, 2_000)))
    def wait(self, ms: int) -> None:
        self.at += ms / 1000
        self.now += ms
        self._leave(self.desk.tick(self.at))

    @invariant()
    def bounds_hold(self) -> None:
        if not hasattr(self, "desk"):
            return
        assert self.desk.in_flight == len(self.out) <= 4 * POLICY.in_all
        assert sum(turn.round >= self.rounds - 1 for turn in self.out) <= POLICY.keeps_busy
        for recipient in RECIPIENTS:
            assert sum(turn.seat.id == recipient for turn in self.out) <= POLICY.per_recipient
        for numbers in self.ended.values():
            assert numbers == sorted(numbers)

    def teardown(self) -> None:
        """Let everything go on: every delivery must come out, each once, and lanes in order."""
        if not hasattr(self, "desk"):
            return
        for recipient in RECIPIENTS:
            self.change(recipient, None, 0.0)
        for _ in range(20 + 4 * self.numbers):
            if len(self.done) == self.numbers:
                break
            self.see(100)
            for recipient in RECIPIENTS:
                self.want(recipient)
            while self.fetches:
                self.arrive()
            self.take()
            while self.desk.held_back:
                self.go_round()
                self.take()
            while self.out:
                self.finish(0, "ok", False, 0)
            self.wait(2_000)
        assert self.done == set(range(self.numbers))
        assert not self.stands
        self.bounds_hold()


DeskMachine.TestCase.settings = settings(max_examples=150, stateful_step_count=60, deadline=None)
TestDesk = DeskMachine.TestCase
