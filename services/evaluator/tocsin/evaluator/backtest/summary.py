"""A run in a few figures: per sensor how often, how long, which systems; per notification how often and how long."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from tocsin.evaluator.backtest.events import Event, NotificationEvent, SensorEvent

NOISIEST = 3
BARS = "▁▂▃▄▅▆▇█"
WIDTH = 32

_Series = tuple[str, str | None]
_ON = "triggered"


@dataclass(frozen=True, slots=True)
class Span:
    """From the first to the last instant, epoch ms."""

    start: int
    end: int

    @property
    def length(self) -> int:
        return self.end - self.start


@dataclass
class SensorSummary:
    """Of one sensor over all its series."""

    name: str
    times: list[int] = field(default_factory=list)  # at which it was triggered
    total: int = 0  # ms triggered, all series together; what still is counts up to the end
    longest: int = 0
    open: int = 0  # series on which it is triggered at the end
    series: int = 0  # that were watched
    watched: int = 0  # ms, all series together
    systems: Counter[str] = field(default_factory=Counter)

    @property
    def share(self) -> float:
        """Of the time in which its series were watched."""
        return self.total / self.watched if self.watched else 0.0

    def noisiest(self) -> list[tuple[str, int]]:
        """Systems with the most triggers."""
        return sorted(self.systems.items(), key=lambda item: (-item[1], item[0]))[:NOISIEST]


@dataclass
class NotificationSummary:
    """Of one notification."""

    name: str
    times: list[int] = field(default_factory=list)  # of its activations
    ended: int = 0
    total: int = 0  # ms active; what still is counts up to the end
    longest: int = 0
    open: bool = False


class Summary:
    """Fed with all events in order. Names that never fire are listed too."""

    def __init__(self, sensors: Iterable[str], notifications: Iterable[str]) -> None:
        self.sensors = {name: SensorSummary(name) for name in sensors}
        self.notifications = {name: NotificationSummary(name) for name in notifications}
        self._on: dict[tuple[str, _Series], int] = {}
        self._active: dict[str, int] = {}

    def add(self, event: Event) -> None:
        match event:
            case SensorEvent():
                self._sensor(event)
            case NotificationEvent():
                self._notification(event)

    def finish(self, span: Span, watched: Mapping[str, tuple[int, int]]) -> None:
        """`watched`: how many series each sensor had, and for how long (ms) all of them together."""
        for (name, _), since in self._on.items():
            self.sensors[name].open += 1
            _lasted(self.sensors[name], span.end - since)
        for name, since in self._active.items():
            self.notifications[name].open = True
            _lasted(self.notifications[name], span.end - since)
        for name, (series, length) in watched.items():
            self.sensors[name].series, self.sensors[name].watched = series, length

    def _sensor(self, event: SensorEvent) -> None:
        one = self.sensors.setdefault(event.sensor, SensorSummary(event.sensor))
        key = (event.sensor, (event.system, event.instance))
        if event.state == _ON:
            if key not in self._on:  # else another level
                self._on[key] = event.time
                one.times.append(event.time)
                one.systems[event.system] += 1
        elif event.state != "flapping" and (since := self._on.pop(key, None)) is not None:
            _lasted(one, event.time - since)

    def _notification(self, event: NotificationEvent) -> None:
        one = self.notifications.setdefault(event.notification, NotificationSummary(event.notification))
        if event.state == "activated":
            one.times.append(event.time)
            self._active[event.notification] = event.time
        elif event.state != "reminder":
            since = self._active.pop(event.notification, event.time)
            one.ended += 1
            _lasted(one, event.time - since)


def _lasted(one: SensorSummary | NotificationSummary, length: int) -> None:
    one.total += length
    one.longest = max(one.longest, length)


def sparkline(times: Iterable[int], span: Span, width: int = WIDTH) -> str:
    """How many there were in each stretch of the span; a space where there was none."""
    counts = [0] * width
    for time in times:
        counts[min(width - 1, (time - span.start) * width // max(1, span.length))] += 1
    most = max(counts)
    return "".join(" " if not count else BARS[(count * len(BARS) - 1) // most] for count in counts)
