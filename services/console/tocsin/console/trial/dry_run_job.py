"""What is asked of a dry run and what it answers: plain values that travel between processes."""

from __future__ import annotations

from dataclasses import dataclass

from tocsin.shared.configuration.records import Notification, Record, Sensor
from tocsin.shared.configuration.snapshot import Configuration

MAX_ACTIVATIONS = 200
MAX_CHANGES = 500
MAX_SYSTEMS = 20
"""Of the systems of one activation."""
MAX_CURVES = 5
BUCKETS = 120
"""Of a curve: the lowest and the highest value of each are drawn, so that no peak is lost."""

Points = tuple[tuple[int, float], ...]
"""Epoch ms and value."""


@dataclass(frozen=True, slots=True)
class Job:
    """A rule, and the readings to judge by it: those that arrived since (epoch ms), within bounds."""

    configuration: Configuration
    since: int
    now: int
    readings: int  # at most so many messages, the newest
    seconds: float  # what has not been read or judged by then is left out


@dataclass(frozen=True, slots=True)
class SensorFigures:
    """One sensor over all its series."""

    name: str
    triggered: int
    still: int
    total: int  # ms, all series together
    longest: int  # ms
    series: int
    noisiest: tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True)
class Change:
    """A sensor would have changed."""

    time: int
    system: str
    instance: str | None
    state: str
    level: str | None
    value: float | None


@dataclass(frozen=True, slots=True)
class Active:
    """A notification would have been active; `ended` None: it still would be."""

    start: int
    ended: int | None
    matched: int
    reporting: int
    systems: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Curve:
    """Readings of one series."""

    system: str
    instance: str | None
    points: Points


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the rule would have done. Lists hold the newest; counts count all."""

    since: int
    until: int
    readings: int
    refused: int  # messages that hold no reading, or not only
    cut: tuple[str, ...] = ()  # why it is not all that was asked for, in words
    sensors: tuple[SensorFigures, ...] = ()
    change_count: int = 0
    changes: tuple[Change, ...] = ()
    activation_count: int = 0
    activations: tuple[Active, ...] = ()
    active_for: int = 0  # ms
    curves: tuple[Curve, ...] = ()


@dataclass(frozen=True, slots=True)
class Failed:
    """It could not be done: the broker does not answer, or there is no such topic."""

    why: str


def configuration_for(record: Record, everything: Configuration) -> Configuration:
    """The rule as it would be, with what it names, and nothing else: the rest would only take time."""
    if isinstance(record, Sensor):
        return Configuration(change=1, sensors={record.id: record})
    assert isinstance(record, Notification)
    group = everything.groups.get(record.group_id or "")
    return Configuration(
        change=1,
        sensors={use.sensor_id: everything.sensors[use.sensor_id] for use in record.sensors},
        groups={group.id: group} if group else {},
        notifications={record.id: record},
    )
