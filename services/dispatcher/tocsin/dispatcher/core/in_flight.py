"""What is in flight, and whether more may be. Pure: the shell says when its loop has gone round.

- At most `most`. Those that last longer than a second no longer count among these, up to four times as many, so that
  recipients who hang do not fill the slots.
- Of those that the loop itself may be late for, no more than keep it busy: others would only wait for their turn, and
  no longer fit into the processor's caches. How long one has been out does not tell the loop's lateness from its
  receiver's, but how often the loop has gone round does: after two rounds it has come to all that was answered, and
  what is still out waits for its receiver. A loop with nothing to do goes round at once, so slow receivers get as many
  as there may be, without delay.
"""

from __future__ import annotations

from typing import Protocol

QUICK_SECONDS = 1.0
SLOW_TIMES = 4

KEEPS_BUSY = 32
"""At 100 µs each there is work for 3 ms, within which a receiver that is near and well has answered."""


class Started(Protocol):
    at: float  # seconds, monotonic
    round: int  # of the loop


class InFlight:
    """All of one process."""

    def __init__(self, most: int, keeps_busy: int) -> None:
        self._most = most
        self._keeps_busy = keeps_busy
        self._quick: dict[int, Started] = {}  # in the order of their starts
        self._slow = 0
        self.round = 0
        self._of_this_round = self._of_the_last = 0

    def __len__(self) -> int:
        return len(self._quick) + self._slow

    @property
    def full(self) -> bool:
        """Nothing more before one ends or becomes slow."""
        return len(self._quick) >= self._most or len(self) >= SLOW_TIMES * self._most

    @property
    def busy(self) -> bool:
        """Nothing more before one ends or a round is over."""
        return self._of_this_round + self._of_the_last >= self._keeps_busy

    def add(self, one: Started) -> None:
        """It starts in this round."""
        self._quick[id(one)] = one
        self._of_this_round += 1

    def remove(self, one: Started) -> None:
        if self._quick.pop(id(one), None) is None:
            self._slow -= 1
        if one.round == self.round:
            self._of_this_round -= 1
        elif one.round == self.round - 1:
            self._of_the_last -= 1

    def next_round(self) -> None:
        self.round += 1
        self._of_this_round, self._of_the_last = 0, self._of_this_round

    def look(self, at: float) -> None:
        """Every now and then: which have become slow."""
        for key, one in list(self._quick.items()):
            if at - one.at < QUICK_SECONDS:
                break
            del self._quick[key]
            self._slow += 1
