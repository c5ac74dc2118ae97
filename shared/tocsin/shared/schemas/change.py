"""`sensor-changes`: the visible state of a sensor on one series has changed."""

from __future__ import annotations

from typing import Literal

from tocsin.shared.schemas.base import Source, Time, Wire

State = Literal["clear", "triggered", "no-data", "flapping"]
ChangeReason = Literal["reading", "timer", "edited", "forgotten"]


class SensorChange(Wire):
    """One change, with the reading that caused it."""

    schema_version: Literal[1] = 1
    id: str
    sensor_id: str
    sensor: str
    revision: str  # of the sensor's rule
    system: str
    metric: str
    instance: str | None = None
    state: State
    previous: State
    previous_level: str | None = None
    level: str | None = None  # of a sensor with levels that is triggered; a change of level is a change
    value: float | None = None  # what was judged: of a window its value; the last one for a timer
    time: Time  # event time
    condition: str | None = None  # what held
    reason: ChangeReason = "reading"
    source: Source | None = None  # the reading's place; none for a timer or an edit
