"""Changes as they are published, from what happened to a sensor on a series."""

from __future__ import annotations

from collections.abc import Mapping

from tocsin.evaluator.core.plan import PlannedSensor
from tocsin.evaluator.core.sensor import VISIBLE, Phase
from tocsin.evaluator.core.series import Moved
from tocsin.evaluator.detector.output import Change
from tocsin.evaluator.detector.rows import SensorRow

SeriesName = tuple[str, str, str | None]
"""System, metric, instance."""

Place = tuple[int, int, int]
"""Of a reading: partition, offset, place in its message."""


def is_visible(moved: Moved) -> bool:
    """Whether the world sees it."""
    return VISIBLE[moved.before.phase] != VISIBLE[moved.after.phase]


def change_by_reading(
    sensor: PlannedSensor, series: SeriesName, moved: Moved, reading: tuple[int, float], place: Place
) -> Change:
    """`reading`: its time and value."""
    on = moved.after.phase is Phase.TRIGGERED
    return Change(
        sensor_id=sensor.id,
        sensor=sensor.name,
        revision=sensor.revision,
        system=series[0],
        metric=series[1],
        instance=series[2],
        state=VISIBLE[moved.after.phase],
        previous=VISIBLE[moved.before.phase],
        value=reading[1],
        time=reading[0],
        condition=sensor.trigger_text if on else sensor.clear_text,
        reason="reading",
        place=place,
        since=moved.before.since,
    )


def change_by_edit(row: SensorRow, series: SeriesName, now: int, names: Mapping[str, str]) -> Change:
    """The sensor was edited or deleted while it was triggered. `names`: of sensors, by id, as far as they are known."""
    return Change(
        sensor_id=row.id,
        sensor=names.get(row.id, row.id),
        revision=row.revision,
        system=series[0],
        metric=series[1],
        instance=series[2],
        state="clear",
        previous="triggered",
        value=None,
        time=now,
        condition=None,
        reason="edited",
        place=None,
        since=row.since,
    )
