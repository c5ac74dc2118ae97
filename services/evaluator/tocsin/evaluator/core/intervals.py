"""The number line as the sensors of one metric see it: cut at every value where any of them may change its mind.

Cells are numbered from the left: cell 2k is the gap before cut k, cell 2k + 1 is cut k itself. In one cell every
sensor gives one signal. A series keeps the bounds of the run of cells in which none of its sensors changes state, so a
reading inside costs two comparisons, whether one sensor watches the metric or a thousand.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import replace

from tocsin.evaluator.core.rule import Rule
from tocsin.evaluator.core.sensor import START, SensorState, stays

LONGEST_RUN = 16
"""Cells looked at on either side. Further away a reading is judged and the bounds are drawn anew: never wrong, only
slower; without an end, a thousand idle sensors would all be looked at each time one of them changes."""

INFINITY = math.inf


class Intervals:
    """The cells of one metric's sensors, by their place in `rules`.

    Only those count that judge each reading by itself; the `others` are asked at every reading.
    """

    def __init__(self, rules: Sequence[Rule]) -> None:
        self.rules = tuple(rules)
        self.others = tuple(place for place, rule in enumerate(self.rules) if not rule.single)
        self.lane = self._lane()
        self.off: dict[int, str] = {}  # sensors that could not be judged, and why: not asked any more
        # Whether time alone can matter.
        self.waiting = any(level.for_ms or level.keep_ms for rule in self.rules for level in rule.levels)
        silent = any(rule.no_data is not None for rule in self.rules)
        self.timeless = not (self.others or self.waiting or silent)  # a reading's time changes nothing
        silences = [(rule.no_data.after, place) for place, rule in enumerate(self.rules) if rule.no_data is not None]
        self.silences = tuple(sorted(silences))  # how long each may last, and whose it is
        at: dict[float, list[int]] = {}
        for place, rule in enumerate(self.rules):
            for cut in set(rule.boundaries()) if rule.single else ():
                at.setdefault(cut, []).append(place)
        self.cuts = sorted(at)
        self._at = [at[cut] for cut in self.cuts]
        self._clear_runs: dict[int, tuple[float, float]] = {}
        self._holding: dict[int, tuple[int, ...]] = {}

    def _lane(self) -> tuple[int, Intervals] | None:
        """If only one of the others is there, and it can be followed batch by batch: its place, and what it makes of
        the value of its window."""
        if len(self.others) != 1 or not self.rules[self.others[0]].columnar:
            return None
        return self.others[0], Intervals([replace(self.rules[self.others[0]], window=None)])

    def switch_off(self, place: int, why: str) -> None:
        """This one of the others has turned out to be impossible to judge; its states stay as they are."""
        self.off[place] = why
        self.others = tuple(one for one in self.others if one != place)
        self.lane = None
        self.silences = tuple(one for one in self.silences if one[1] != place)

    def cell(self, value: float) -> int:
        at = bisect_left(self.cuts, value)
        return 2 * at + (at < len(self.cuts) and self.cuts[at] == value)

    def holding(self, value: float) -> tuple[int, ...]:
        """The sensors whose trigger holds here."""
        cell = self.cell(value)
        found = self._holding.get(cell)
        if found is None:
            rules = enumerate(self.rules)
            found = tuple(place for place, rule in rules if rule.single and rule.triggers(value))
            self._holding[cell] = found
        return found

    def crossed(self, low: float, high: float, value: float) -> set[int]:
        """The sensors with a cut between the bounds and a value outside them: no other can change."""
        if value > high:
            first, last = bisect_left(self.cuts, high), bisect_right(self.cuts, value)
        else:
            first, last = bisect_left(self.cuts, value), bisect_right(self.cuts, low)
        return {place for at in self._at[first:last] for place in at}

    def run(self, states: Mapping[int, SensorState], value: float) -> tuple[float, float]:
        """Bounds, both ends in, around this value, between which no sensor changes state. `states`: the not clear.

        Nothing is between them when every reading has to be looked at.
        """
        if (self.others and self.lane is None) or (self.silences and any(state.struck for state in states.values())):
            return INFINITY, -INFINITY
        cell = self.cell(value)
        if states:
            return self._bounds(states, cell)
        found = self._clear_runs.get(cell)
        if found is None:
            found = self._clear_runs[cell] = self._bounds(states, cell)
        return found

    def _bounds(self, states: Mapping[int, SensorState], cell: int) -> tuple[float, float]:
        left, right = self._stretch(states, cell, -1), self._stretch(states, cell, 1)
        return self._lowest(left), self._highest(right)

    def _stretch(self, states: Mapping[int, SensorState], cell: int, step: int) -> int:
        """The last cell in this direction, no further than the longest run, up to which every sensor stays."""
        reached, last = cell, 2 * len(self.cuts)
        passed: list[int] = []  # sensors whose cuts lie between `reached` and the cell looked at
        for _ in range(LONGEST_RUN):
            if cell == (last if step > 0 else 0):
                break
            passed += self._at[cell // 2 if step > 0 else (cell - 1) // 2]
            cell += step
            if self._is_empty(cell):
                continue
            if not self._all_stay(states, passed, cell):
                break
            reached, passed = cell, []
        return reached

    def _is_empty(self, cell: int) -> bool:
        """A gap between two cuts that are neighbouring floats: no value is in it."""
        if cell % 2 or not 0 < cell < 2 * len(self.cuts):
            return False
        return math.nextafter(self.cuts[cell // 2 - 1], INFINITY) == self.cuts[cell // 2]

    def _all_stay(self, states: Mapping[int, SensorState], places: Sequence[int], cell: int) -> bool:
        value = self._lowest(cell)
        return all(stays(self.rules[place], states.get(place, START), value) for place in places)

    def _lowest(self, cell: int) -> float:
        if cell % 2:
            return self.cuts[cell // 2]
        return math.nextafter(self.cuts[cell // 2 - 1], INFINITY) if cell else -INFINITY

    def _highest(self, cell: int) -> float:
        if cell % 2:
            return self.cuts[cell // 2]
        return math.nextafter(self.cuts[cell // 2], -INFINITY) if cell < 2 * len(self.cuts) else INFINITY
