"""What a run brings forth, and its form as JSON."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tocsin.shared.schemas.event import EventKind
from tocsin.shared.times import format_rfc3339


@dataclass(frozen=True, slots=True)
class SensorEvent:
    """A sensor's visible state has changed on a series."""

    time: int  # event time, ms
    sensor: str
    system: str
    instance: str | None
    state: str  # triggered, clear, no-data, flapping
    level: str | None
    value: float | None

    def as_json(self) -> dict[str, Any]:
        return {
            "time": format_rfc3339(self.time),
            "kind": "sensor",
            "sensor": self.sensor,
            "system": self.system,
            "instance": self.instance,
            "state": self.state,
            "level": self.level,
            "value": self.value,
        }


@dataclass(frozen=True, slots=True)
class NotificationEvent:
    """A notification was activated, reminded of, resolved or dismissed."""

    time: int  # event time, ms
    notification: str
    state: EventKind
    activation: str  # id
    matched: int
    reporting: int
    systems: tuple[str, ...]  # up to 100 of the matched ones, by name

    def as_json(self) -> dict[str, Any]:
        return {
            "time": format_rfc3339(self.time),
            "kind": "notification",
            "notification": self.notification,
            "state": self.state,
            "activation": self.activation,
            "matched": self.matched,
            "reporting": self.reporting,
            "systems": list(self.systems),
        }


Event = SensorEvent | NotificationEvent
