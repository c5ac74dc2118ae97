"""Changes as they are published, from what happened to a sensor on a series."""

from __future__ import annotations

from collections.abc import Mapping

from tocsin.evaluator.core.plan import PlannedSensor
from tocsin.evaluator.core.sensor import SensorState, shown
from tocsin.evaluator.core.sensor_event import event_of
from tocsin.evaluator.core.series import Moved
from tocsin.evaluator.detector.output import Change
from tocsin.evaluator.detector.rows import SensorRow
from tocsin.shared.schemas.change import ChangeReason

SeriesName = tuple[str, str, str | None]
"""System, metric, instance."""

Place = tuple[int, int, int]
"""Of a reading: partition, offset, place in its message."""


def change_of(sensor: PlannedSensor, series: SeriesName, moved: Moved, place: Place | None) -> Change | None:
    """What the world sees of a move, if it sees any. `place`: of the reading that was taken, if there was one."""
    event = event_of(sensor, moved)
    if event is None:
        return None
    return Change(
        sensor_id=sensor.id,
        sensor=sensor.name,
        revision=sensor.revision,
        system=series[0],
        metric=series[1],
        instance=series[2],
        state=event.state,
        level=event.level,
        previous=event.previous,
        previous_level=event.previous_level,
        value=event.value,
        time=event.time,
        condition=event.condition,
        reason="timer" if event.by_timer else "reading",
        place=None if event.by_timer else place,
        since=moved.before.since,
        timer=event.cause.value if event.by_timer else None,
        due=moved.due,
    )


def change_to_clear(
    row: SensorRow, state: SensorState, series: SeriesName, now: int, why: tuple[ChangeReason, Mapping[str, str]]
) -> Change:
    """The sensor starts over on a series where it was not clear. `why`: the reason, and sensors' names by id."""
    before = shown(state)
    reason, names = why
    return Change(
        sensor_id=row.id,
        sensor=names.get(row.id, row.id),
        revision=row.revision,
        system=series[0],
        metric=series[1],
        instance=series[2],
        state="clear",
        level=None,
        previous=before.state,
        previous_level=row.level_name if before.state == "triggered" else None,
        value=None,
        time=now,
        condition=None,
        reason=reason,
        place=None,
        since=row.since,
    )
