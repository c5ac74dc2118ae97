"""One sensor on one series as a back-test sees it: "now" is the time of the newest reading."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from tocsin.evaluator.core.plan import MetricPlan, plan_overrides, plan_sensor
from tocsin.evaluator.core.sensor_event import SensorEvent, event_of
from tocsin.evaluator.core.series import Moved, Series, fire_timers, take_reading
from tocsin.shared.configuration.records import Sensor
from tocsin.shared.times import parse_duration

Reading = tuple[int, float]


def make_sensor(trigger: str | None = None, **options: Any) -> Sensor:
    """Options as in YAML; `levels` as a mapping."""
    levels = [{"name": name, **level} for name, level in options.pop("levels", {}).items()]
    fields = {"id": "s", "name": "s", "metric": "m", "trigger": trigger, "levels": levels}
    return Sensor.model_validate(fields | options)


def metric_plan(*sensors: Sensor) -> MetricPlan:
    return MetricPlan(
        [plan_sensor(sensor) for sensor in sensors],
        {place: plan_overrides(sensor) for place, sensor in enumerate(sensors)},
    )


def moves(plan: MetricPlan, readings: Iterable[Reading], series: Series | None = None) -> list[Moved]:
    """Readings in order of arrival; timers due at an instant fire after its last reading, later ones never."""
    one = series or Series()
    found: list[Moved] = []
    rows = list(readings)
    for at, (time, value) in enumerate(rows):
        found += take_reading(plan.intervals, one, time, value)[1]
        assert one.order is not None
        if at + 1 == len(rows) or rows[at + 1][0] > one.order.newest:
            found += fire_timers(plan.intervals, one, one.order.newest, including=True)
    return found


def events(sensor: Sensor, readings: Iterable[Reading]) -> list[SensorEvent]:
    plan = metric_plan(sensor)
    found = [event_of(plan.sensors[0], moved) for moved in moves(plan, readings)]
    return [event for event in found if event is not None]


def published(sensor: Sensor, readings: Iterable[Reading], unit: str = "1s") -> list[str]:
    """`ON60`, `OFF300`, `warn@2`, `no-data@9`; times of readings are in this unit, and so are those that come out."""
    size = parse_duration(unit)
    found = []
    for event in events(sensor, [(time * size, value) for time, value in readings]):
        time = event.time / size
        at = int(time) if time.is_integer() else time
        if event.state == "triggered":
            found.append(f"{event.level}@{at}" if event.level else f"ON{at}")
        else:
            found.append(f"OFF{at}" if event.state == "clear" else f"{event.state}@{at}")
    return found
