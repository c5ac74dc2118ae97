"""Notifications through a run: judged once per instant, after its readings and its timers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Protocol

import numpy as np

from tocsin.evaluator.backtest.crowd import Counts
from tocsin.evaluator.backtest.events import NotificationEvent
from tocsin.evaluator.backtest.steps import reached
from tocsin.shared.configuration.records import ThresholdSpec


class Judge(Protocol):
    """The life of one notification."""

    @property
    def threshold(self) -> ThresholdSpec: ...

    def at(self, time: int, matched: int, reporting: int, systems: tuple[str, ...]) -> list[NotificationEvent]:
        """All counts of an instant; then its timers due at that instant fire."""
        ...

    def due(self) -> int | None:
        """When its next timer is due; None: there is none."""
        ...


class Follower:
    """One notification: tells its judge what an instant may have changed."""

    def __init__(self, judge: Judge, name_of: Callable[[int], str]) -> None:
        self._judge = judge
        self._name_of = name_of
        self._reached = False
        self._systems: set[int] = set()

    def advance(self, counts: Counts, until: int) -> Iterator[NotificationEvent]:
        """Through one chunk, up to and with this instant.

        Between two instants at which the threshold is reached or left, only its own timers can make an event.
        """
        times = np.union1d(counts.matched.time, counts.reporting.time)
        over = reached(self._judge.threshold, counts.matched.at(times), counts.reporting.at(times))
        flips = np.flatnonzero(over != np.concatenate([[self._reached], over[:-1]]))
        place = 0
        for time, is_over in [*zip(times[flips].tolist(), over[flips].tolist(), strict=True), (until, None)]:
            while (due := self._judge.due()) is not None and (due < time or (is_over is None and due == time)):
                place = self._follow(counts, place, due)
                yield from self._tell(counts, due)
            place = self._follow(counts, place, time)
            if is_over is not None:
                self._reached = is_over
                yield from self._tell(counts, time)

    def _tell(self, counts: Counts, time: int) -> list[NotificationEvent]:
        at = np.array([time], np.int64)
        systems = tuple(sorted(map(self._name_of, self._systems)))
        return self._judge.at(time, int(counts.matched.at(at)[0]), int(counts.reporting.at(at)[0]), systems)

    def _follow(self, counts: Counts, place: int, until: int) -> int:
        """Who counts as matched after this instant."""
        while place < len(counts.entries) and counts.entries[place][0] <= until:
            _, system, counted = counts.entries[place]
            (self._systems.add if counted else self._systems.discard)(system)
            place += 1
        return place
