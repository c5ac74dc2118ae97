"""Without an order of its own, what one recipient gets still starts oldest first where one is out at a time.

Whatever happens in between: a hold, a rate, memory that gives back what it had fetched, a reader that brings what was
asked for in any order.
"""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from tocsin.dispatcher.core.desk import Desk, DeskPolicy, Fetch, Leaves, Terms, Turn
from tocsin.dispatcher.core.flow import Ended
from tocsin.dispatcher.core.waiting import Entry

HOLDS: tuple[str | None, ...] = (None, None, "paused", "circuit_open")
RATES = (0.0, 0.1, 0.3)


class OneRecipient(RuleBasedStateMachine):
    """The shell around the desk, with everything in between delayed by chance."""

    @initialize()
    def begin(self) -> None:
        self.desk: Desk[int] = Desk(DeskPolicy(per_recipient=1, in_all=5, recipient_bytes=500))
        self.at, self.now = 100.0, 1_000_000
        self.seat = self.desk.add("r", 0, Terms())
        self.offered = self.started = 0
        self.topic: list[int] = []  # deliveries by their offsets in `delivery-parked`
        self.written: list[int] = []  # parked and not seen yet
        self.fetches: list[Fetch] = []
        self.out: list[Turn[int]] = []

    def _leave(self, leaves: list[Leaves[int]]) -> None:
        for one in leaves:
            if one.entry.parked_at is None:
                self.desk.leaves(self.seat, str(one.entry.item), None)
                self.written.append(one.entry.item)

    @rule(count=st.integers(1, 12), size=st.sampled_from((1, 60)))
    def offer(self, count: int, size: int) -> None:
        for _ in range(count):
            self._leave(self.desk.offer(self.seat, Entry(self.offered, None, size), self.at, self.now))
            self.offered += 1

    @rule(count=st.integers(1, 8))
    def see(self, count: int) -> None:
        for number in self.written[:count]:
            self.desk.seen(self.seat, str(number), len(self.topic), None, 0, front=False)
            self.topic.append(number)
        del self.written[:count]

    @rule()
    def want(self) -> None:
        self.fetches += self.desk.wanted(self.seat, self.at, self.now)

    @precondition(lambda self: self.fetches)
    @rule(which=st.integers(0, 20))
    def arrive(self, which: int) -> None:
        fetch = self.fetches.pop(which % len(self.fetches))
        self._leave(self.desk.arrived(self.seat, Entry(self.topic[fetch.offset], None, 10, fetch.offset)))

    @rule()
    def take(self) -> None:
        while turn := self.desk.take(self.at):
            assert turn.entry.item == self.started
            self.started += 1
            self.out.append(turn)

    @precondition(lambda self: self.out)
    @rule(took=st.sampled_from((0.01, 0.2, 2.0)), verdict=st.sampled_from(("ok", "ok", "failed")), slow=st.booleans())
    def finish(self, took: float, verdict: str, slow: bool) -> None:
        self.at += took
        self.now += int(took * 1000)
        turn = self.out.pop(0)
        how = Ended(verdict, slow and verdict == "failed")  # type: ignore[arg-type]
        self._leave(self.desk.done(turn, self.at, how))

    @rule(hold=st.sampled_from(HOLDS), rate=st.sampled_from(RATES))
    def change(self, hold: str | None, rate: float) -> None:
        self._leave(self.desk.set_terms(self.seat, Terms(rate, hold, self.now + 300)))  # type: ignore[arg-type]

    @rule(ms=st.sampled_from((1, 100, 100, 100, 1_000)))
    def wait(self, ms: int) -> None:
        self.at += ms / 1000
        self.now += ms
        self._leave(self.desk.tick(self.at))

    def teardown(self) -> None:
        """Let everything go on: all of it must come out."""
        if not hasattr(self, "desk"):
            return
        self.change(None, 0.0)
        for _ in range(20 + 4 * self.offered):
            if self.started == self.offered and not self.out:
                break
            self.see(100)
            self.want()
            while self.fetches:
                self.arrive(len(self.fetches) - 1)
            self.take()
            while self.out:
                self.finish(0.01, "ok", slow=False)
            self.wait(1_000)
        assert self.started == self.offered


OneRecipient.TestCase.settings = settings(max_examples=200, stateful_step_count=60, deadline=None)
TestOldestFirst = OneRecipient.TestCase
