"""How much of one recipient may be in flight, and when the next may start. Pure. Times are seconds, monotonic.

- In flight: few at first, one more after each success, half of it after each failure.
- 429, 502, 503 and 504 hold the recipient up: for as long as it asks, else 1 s, doubling while it goes on.
- A rate is kept exactly: no two starts are nearer to each other than its interval; what was not used is not saved up.
- What waits for it in memory is what it takes within a second, by how long its attempts last, once they have been slow
  for a second on end: a few late answers may be this process's own lateness, and what is parked once drags all that
  comes behind it into the topic, too. One that answers nothing for a while is judged by how long that has been.
"""

from __future__ import annotations

import msgspec

from tocsin.dispatcher.core.outcomes import Outcome, Unavailable
from tocsin.dispatcher.core.standing import SLOW_DOWN, Verdict, verdict_of

FIRST_IN_FLIGHT = 4
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 60.0
LONGEST_ASKED = 600.0
"""A receiver may ask for a day; one header must not silence a recipient for longer than its circuit would."""

DRAIN_SECONDS = 1.0
MOST_WAITING = 1_000
PROVEN_AFTER = 1.0
FEW = 50
"""Fewer than these a second are believed at once: no lateness of this process explains them."""

STUCK_AFTER, STUCK_TIMES = 0.3, 4.0
STUCK_LOOKS = 3
"""Seen so often in a row: a loop that was held up itself sees everything late once."""

_SMOOTHING = 0.15


class Ended(msgspec.Struct, frozen=True):
    """How an attempt ended, as far as the flow is concerned."""

    verdict: Verdict
    slow_down: bool = False
    asked: float | None = None  # seconds


def ended_of(outcome: Outcome | None) -> Ended:
    """None: it ended without an attempt."""
    if outcome is None:
        return Ended("nothing")
    if isinstance(outcome, Unavailable):
        asked = None if outcome.retry_after_ms is None else outcome.retry_after_ms / 1000
        return Ended(verdict_of(outcome), outcome.status in SLOW_DOWN, asked)
    return Ended(verdict_of(outcome))


class Flow:
    """One recipient's."""

    def __init__(self, most: int, interval: float = 0.0) -> None:
        """`interval` is the time from one start to the next, 0 without a rate."""
        self._most = most
        self.interval = interval
        self.in_flight = 0
        self._window = min(FIRST_IN_FLIGHT, most)
        self._failing = False
        self._latency: float | None = None
        self._slow_since: float | None = None
        self._pause = FIRST_PAUSE
        self._not_before = 0.0  # slowed down
        self._next = 0.0  # by the rate
        self._progress = 0.0  # the last end, or the first start
        self._looks = 0

    @property
    def has_room(self) -> bool:
        return self.in_flight < self._window

    @property
    def starts_at(self) -> float:
        """When the next may start."""
        return max(self._not_before, self._next)

    def started(self, at: float) -> None:
        if not self.in_flight:
            self._progress = at
        self.in_flight += 1
        if self.interval:
            self._next = at + self.interval

    def ended(self, at: float, took: float, how: Ended) -> None:
        self.in_flight -= 1
        self._progress = at
        self._looks = 0
        if how.verdict == "nothing":
            return
        self._latency = took if self._latency is None else self._latency + _SMOOTHING * (took - self._latency)
        if self._latency * MOST_WAITING <= self._most * DRAIN_SECONDS:
            self._slow_since = None
        elif self._slow_since is None:
            self._slow_since = at
        if how.slow_down:
            asked = how.asked
            wait = self._pause if asked is None else min(max(asked, FIRST_PAUSE), LONGEST_ASKED)
            self._not_before = max(self._not_before, at + wait)
            self._pause = min(self._pause * 2, LONGEST_PAUSE)
        if how.verdict == "failed":
            self._window = max(1, self._window // 2)
            self._failing = True
        else:
            self._window = min(self._most, self._window + 1)
            self._failing = False
            self._pause = FIRST_PAUSE

    def look(self, at: float, patience: float = STUCK_AFTER) -> None:
        """Called every now and then: notices that nothing ends any more, for longer than this at least."""
        quiet = at - self._progress if self.in_flight else 0.0
        self._looks = self._looks + 1 if quiet > max(patience, STUCK_TIMES * (self._latency or 0.0)) else 0

    def capacity(self, at: float) -> int:
        """How many may wait in memory: as many as will have started within a second."""
        left = DRAIN_SECONDS - max(0.0, self.starts_at - at)
        if left <= 0:
            return 0
        stuck = self._looks >= STUCK_LOOKS
        latency = max(self._latency or 0.0, at - self._progress) if stuck else self._latency or 0.0
        width = self._window if self._failing or stuck else self._most
        most = int(left * width / latency) if latency else MOST_WAITING
        proven = self._slow_since is not None and at - self._slow_since >= PROVEN_AFTER
        if most > MOST_WAITING or not (self._failing or stuck or proven or most < FEW):
            most = MOST_WAITING
        if self.interval:
            most = min(most, int(left / self.interval))
        return max(1, most)

    def not_before(self, at: float) -> None:
        """Nothing starts earlier: another process has sent to it lately, or is being asked whether it has."""
        self._next = max(self._next, at)

    def forgive(self) -> None:
        """A new beginning: it was enabled again."""
        self._window = min(FIRST_IN_FLIGHT, self._most)
        self._failing, self._latency, self._slow_since = False, None, None
        self._pause, self._not_before = FIRST_PAUSE, 0.0
