"""Counts over time, as columns: what they are at each instant at which they may have changed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tocsin.evaluator.detector.columns import Bools, Ints
from tocsin.shared.configuration.records import ThresholdSpec

_SAFE = 1 << 62


@dataclass(frozen=True)
class Steps:
    """A count: `value[i]` from `time[i]` on, `start` before all of them. Times ascend, each once."""

    start: int
    time: Ints
    value: Ints

    @classmethod
    def of(cls, start: int, time: Ints, change: Ints) -> Steps:
        """Changes in any order; those of one instant count together."""
        if not len(time):
            return cls(start, time, change)
        if bool((np.diff(time) < 0).any()):
            order = np.argsort(time, kind="stable")
            time, change = time[order], change[order]
        last = np.append(np.diff(time) != 0, True)
        return cls(start, time[last], (start + np.cumsum(change))[last])

    def at(self, times: Ints) -> Ints:
        """What it is after all of each of these instants."""
        place = np.searchsorted(self.time, times, side="right")
        return np.concatenate([np.array([self.start], np.int64), self.value])[place]

    @property
    def end(self) -> int:
        return int(self.value[-1]) if len(self.value) else self.start


def reached(threshold: ThresholdSpec, matched: Ints, reporting: Ints) -> Bools:
    """As core.notification.reached, of many counts at once."""
    if not threshold.is_percent:
        return (matched >= 1) & (matched >= int(threshold.value))
    numerator, denominator = threshold.value.as_integer_ratio()
    most = max(int(matched.max(initial=0)) * 100 * denominator, int(reporting.max(initial=0)) * numerator)
    if most >= _SAFE:  # Python's integers have no end
        matched, reporting = matched.astype(object), reporting.astype(object)
    enough = matched * 100 * denominator >= numerator * reporting
    return (reporting > 0) & enough.astype(np.bool_) & (numerator > 0)
