"""One sensor on one series by the words of the specification: slow, everything kept, nothing shared with the product.

It keeps every reading, every judged value and every judged state there ever was, and looks them all through each time.
"""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from tocsin.shared.configuration.records import Sensor

Seen = tuple[int, str, str | None, float | None]
"""Time, state, level, value."""


@dataclass
class Level:
    name: str | None
    trigger: Any
    clear: Any
    for_: int
    keep: int
    breaches: Any


def levels_of(sensor: Sensor) -> list[Level]:
    if not sensor.levels:
        return [Level(None, sensor.trigger, sensor.clear, sensor.for_, sensor.keep, sensor.breaches)]
    return [
        Level(
            one.name,
            one.trigger,
            one.clear,
            sensor.for_ if one.for_ is None else one.for_,
            sensor.keep if one.keep is None else one.keep,
            sensor.breaches if one.breaches is None else one.breaches,
        )
        for one in sensor.levels
    ]


def worth(function: str, entries: list[tuple[int, float]]) -> float | None:
    """Entries in order of time."""
    values = [value for _, value in entries]
    if not values:
        return None
    if function.startswith("p"):
        rank = math.ceil(Fraction(int(function[1:]), 100) * len(values))
        return sorted(values)[rank - 1]
    if function == "rate":
        seconds = (entries[-1][0] - entries[0][0]) / 1000
        return (values[-1] - values[0]) / seconds if seconds else None
    functions = {
        "avg": lambda: math.fsum(values) / len(values),
        "min": lambda: min(values),
        "max": lambda: max(values),
        "sum": lambda: math.fsum(values),
        "count": lambda: float(len(values)),
        "stddev": lambda: statistics.pstdev(values),
        "delta": lambda: values[-1] - values[0],
    }
    return functions[function]()


@dataclass
class Model:
    sensor: Sensor
    published: list[Seen] = field(default_factory=list)
    newest: int | None = None
    at_newest: list[float] = field(default_factory=list)  # all values seen at the newest time
    entries: dict[int, float] = field(default_factory=dict)  # what is, or was, in the window
    ends_judged: list[int] = field(default_factory=list)  # of tumbling windows
    judged: list[tuple[int, float]] = field(default_factory=list)
    level: int = -1
    pending: dict[int, int] = field(default_factory=dict)  # level → start
    recovering: int | None = None
    no_data: bool = False
    struck: bool = False
    states: list[tuple[bool, int]] = field(default_factory=lambda: [(False, -1)])  # every judged state
    flapping: bool = False

    def __post_init__(self) -> None:
        self.levels = levels_of(self.sensor)
        self.shown: tuple[str, int] = ("clear", -1)

    # --- what comes in ---

    def reading(self, time: int, value: float) -> None:
        if self.newest is not None and time > self.newest:
            self.pass_time(time, including=False)
        if time == self.newest and value in self.at_newest:
            return
        late = self.newest is not None and time < self.newest
        if not late:
            self.at_newest = [value] if time != self.newest else [*self.at_newest, value]
            self.newest = time
            self.struck = False
        if self.sensor.aggregate is None:
            if not late:
                self.judge(time, value, (time, value))
        elif self.enters(time, value):
            self.entries[time] = value
            if self.sensor.aggregate.tumbling is None:
                self.slide()

    def slide(self) -> None:
        window, newest = self.sensor.aggregate, self.newest
        assert window is not None
        assert newest is not None
        found = worth(window.function, self.inside())
        full = window.count is None or len(self.inside()) == window.count
        if found is not None and full:
            self.judge(newest, found, (newest, found))

    def enters(self, time: int, value: float) -> bool:
        window, newest = self.sensor.aggregate, self.newest
        assert window is not None
        assert newest is not None
        if window.count is not None:
            return time == newest
        if window.window is not None:
            there = self.entries.get(time) if time >= newest - window.window else None
            return (
                time >= newest - self.sensor.lateness
                and time >= newest - window.window
                and (there is None or there != value)
            )
        end = self.end(time)
        if end in self.ends_judged or any(end < one for one in self.ends_judged):
            return False
        if time < newest and end + self.sensor.lateness < newest:
            return False
        return self.entries.get(time) != value

    def end(self, time: int) -> int:
        assert self.sensor.aggregate is not None
        size = self.sensor.aggregate.tumbling
        assert size is not None
        return time - time % size + size

    def inside(self) -> list[tuple[int, float]]:
        window, newest = self.sensor.aggregate, self.newest
        assert window is not None
        assert newest is not None
        entries = sorted(self.entries.items())
        if window.count is not None:
            return entries[-window.count :]
        assert window.window is not None
        return [one for one in entries if newest - window.window <= one[0] <= newest]

    # --- judging ---

    def judge(self, time: int, value: float, entry: tuple[int, float]) -> None:
        if self.judged and self.judged[-1][0] == time:
            self.judged.pop()
        self.judged.append(entry)
        self.no_data = False
        holds = self.holds()
        for at in range(len(self.levels)):
            if at > self.level and holds[at]:
                self.pending.setdefault(at, time)
            else:
                self.pending.pop(at, None)
        ripe = [at for at, start in self.pending.items() if time >= start + self.levels[at].for_]
        if ripe:
            self.climb(max(ripe))
        elif self.level >= 0:
            present = self.levels[self.level]
            clears = not holds[self.level] and (present.clear is None or present.clear.holds(value))
            if not clears:
                self.recovering = None
            else:
                if self.recovering is None:
                    self.recovering = time
                if present.keep == 0:
                    self.descend()
        self.publish(time, value)

    def holds(self) -> list[bool]:
        """Which triggers hold, for enough of the last judged values."""
        found = []
        for level in self.levels:
            least, among = (level.breaches.least, level.breaches.among) if level.breaches else (1, 1)
            bad = [value for _, value in self.judged[-among:] if level.trigger.holds(value)]
            found.append(len(bad) >= least)
        return found

    def climb(self, level: int) -> None:
        self.level, self.recovering = level, None
        self.pending = {at: start for at, start in self.pending.items() if at > level}

    def descend(self) -> None:
        holds = self.holds()
        self.level = max([at for at in range(self.level) if holds[at]], default=-1)
        self.recovering = None

    # --- time ---

    def timers(self) -> list[tuple[int, int, int, str]]:
        """When due, in which order, as of when, what."""
        sensor, found = self.sensor, []
        window = sensor.aggregate
        lag = sensor.lateness if window is not None and window.tumbling is not None else 0
        if window is not None and window.tumbling is not None:
            ends = {self.end(time) for time in self.entries} - set(self.ends_judged)
            found += [(end + lag, 0, end, "window") for end in ends]
        if self.judged and sensor.hold:
            for at, start in self.pending.items():
                fires = start + self.levels[at].for_
                if fires <= self.judged[-1][0] + sensor.hold:
                    found.append((fires + lag, 1, fires, "for"))
        if self.recovering is not None:
            fires = self.recovering + self.levels[self.level].keep
            found.append((fires + lag, 2, fires, "keep"))
        if sensor.no_data is not None and sensor.no_data.then != "hold" and not self.struck and self.newest is not None:
            fires = self.newest + sensor.no_data.after
            found.append((fires, 3, fires, "no_data"))
        return sorted(found)

    def pass_time(self, now: int, *, including: bool) -> None:
        while (waiting := self.timers()) and (waiting[0][0] < now or (including and waiting[0][0] == now)):
            _, _, at, what = waiting[0]
            if what == "window":
                self.close(at)
                continue
            if what == "for":
                self.climb(max(one for one, start in self.pending.items() if start + self.levels[one].for_ == at))
            elif what == "keep":
                self.descend()
            else:
                self.silence()
            self.publish(at, self.judged[-1][1] if self.judged else None)

    def close(self, end: int) -> None:
        assert self.sensor.aggregate is not None
        entries = sorted((time, value) for time, value in self.entries.items() if self.end(time) == end)
        self.ends_judged.append(end)
        found = worth(self.sensor.aggregate.function, entries)
        if found is not None:
            self.judge(end, found, (end, found))

    def silence(self) -> None:
        assert self.sensor.no_data is not None
        then = self.sensor.no_data.then
        self.struck, self.pending, self.recovering = True, {}, None
        self.no_data = then == "no-data"
        self.level = len(self.levels) - 1 if then == "trigger" else -1

    # --- what comes out ---

    def publish(self, time: int, value: float | None) -> None:
        state = (self.no_data, self.level)
        self.states.append(state)
        if self.sensor.flapping is not None:
            share = self.share()
            if not self.flapping and share > Fraction(self.sensor.flapping.enter):
                self.flapping = True
            elif self.flapping and share < Fraction(self.sensor.flapping.leave):
                self.flapping = False
        if self.flapping:
            shown = ("flapping", -1)
        elif self.no_data:
            shown = ("no-data", -1)
        else:
            shown = ("clear", -1) if self.level < 0 else ("triggered", self.level)
        if shown != self.shown:
            self.shown = shown
            level = self.levels[shown[1]].name if shown[1] >= 0 else None
            self.published.append((time, shown[0], level, value))

    def share(self) -> Fraction:
        flapping = self.sensor.flapping
        assert flapping is not None
        last = self.states[-flapping.history :]
        total = Fraction(0)
        for back in range(len(last) - 1):
            if last[-1 - back] != last[-2 - back]:
                total += Fraction(12, 10) - Fraction(4, 10) * back / (flapping.history - 2)
        return 100 * total / (flapping.history - 1)
