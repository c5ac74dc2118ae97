"""What time it is in an input partition. Pure: wall clock readings come in.

1. Now is the newest reading's time, carried on by the wall clock only while the broker has confirmed, at most
   CONFIRMED_WITHIN ago, that the partition is read to its end. Behind, moving or cut off, it stands still.
2. Time in which the broker could not be reached, or nobody looked, is kept as an outage: it makes nobody older.
3. Of these, `unreached` are those in which this process looked, and the broker did not answer: a sensor's silence does
   not grow in them. It does grow while no detector runs, or one is frozen: what was due then fires afterwards.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import pairwise

CONFIRMED_WITHIN = 5_000
"""Milliseconds; architecture and evaluation pages name it."""

MOST_OUTAGES = 64
"""Kept per partition, the newest; the horizons in use reach back over fewer."""

TICKS_UNANSWERED = 3
"""One or two may come late after a process was frozen, before the broker has been asked again."""


@dataclass(slots=True)
class PartitionTime:
    """Event times and wall clock times are both epoch ms; they may differ by as much as readings are late."""

    now: int = 0  # event time; 0: no reading yet
    alive_at: int | None = None  # wall clock: the broker's last sign of life
    carried_at: int | None = None  # wall clock up to which now has been carried; None: it stands still
    outages: list[tuple[int, int]] = field(default_factory=list)  # event time from, to; ascending, not touching
    unreached: list[tuple[int, int]] = field(default_factory=list)  # the same
    looked_at: int | None = None  # wall clock of the last tick
    unanswered: int = 0  # ticks in a row, each soon after the one before, without a fresh sign of life

    def read(self, newest: int) -> None:
        """A reading of this time has been judged."""
        self.now = max(self.now, newest)

    def alive(self, at: int) -> None:
        """The broker gave a sign of life; a longer silence before it was an outage."""
        if self.alive_at is not None and self.now:
            silent = at - max(self.alive_at, self.carried_at or 0)
            if silent > CONFIRMED_WITHIN:
                _lose(self.outages, self.now, self.now + silent)
                if self.unanswered >= TICKS_UNANSWERED:
                    _lose(self.unreached, self.now, self.now + silent)
        self.unanswered = 0
        self.alive_at = max(at, self.alive_at or 0)

    def carry(self, wall: int, end_confirmed_at: int | None) -> None:
        """The wall clock has moved; `end_confirmed_at`: when the broker last said that all has been read."""
        self._look(wall)
        if end_confirmed_at is None or wall - end_confirmed_at > CONFIRMED_WITHIN or not self.now:
            self.carried_at = None
            return
        if self.carried_at is not None:
            step = wall - self.carried_at
            # A larger step means that this process stood still: nobody knows what it missed.
            if 0 < step <= CONFIRMED_WITHIN:
                self.now += step
        self.carried_at = wall

    def horizon(self, within: int) -> int:
        """Who was last heard at this event time or before is as old as `within`, or older."""
        left, upper = within, self.now
        for start, end in reversed(self.outages):
            if end < upper:
                if left <= upper - end:
                    return upper - left
                left -= upper - end
            upper = min(upper, start)
        return upper - left

    @property
    def is_live(self) -> bool:
        """Whether all has been read, and time goes on by itself."""
        return self.carried_at is not None

    def _look(self, wall: int) -> None:
        looking = self.looked_at is not None and 0 <= wall - self.looked_at <= CONFIRMED_WITHIN
        silent = self.alive_at is not None and wall - self.alive_at > CONFIRMED_WITHIN
        self.unanswered = self.unanswered + 1 if looking and silent else 0
        self.looked_at = wall


def _lose(outages: list[tuple[int, int]], start: int, end: int) -> None:
    if outages and start <= outages[-1][1]:
        start, end = outages[-1][0], outages[-1][1] + (end - start)
        outages.pop()
    outages.append((start, end))
    del outages[:-MOST_OUTAGES]


def silences(times: Iterable[int]) -> list[tuple[int, int]]:
    """Neighbours of this row of wall clock times with more than CONFIRMED_WITHIN between them."""
    row = list(times)
    return [(a, b) for a, b in pairwise(row) if b - a > CONFIRMED_WITHIN]
