"""What a sensor makes of a few recent readings, at once: by the detector's own rules, one after the other. Pure.

It begins with nothing known, as a dry run does, and judges only what it is given.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from tocsin.console.trial.dry_run_job import Change, Curve
from tocsin.evaluator.core.plan import MetricPlan, make_plan
from tocsin.evaluator.core.sensor_event import event_of
from tocsin.evaluator.core.series import Moved, Series, fire_timers, take_reading
from tocsin.evaluator.core.windows import WindowOverflowError
from tocsin.shared.configuration.records import Sensor
from tocsin.shared.configuration.snapshot import Configuration


def recent_changes(sensor: Sensor, curves: Iterable[Curve], now: int) -> tuple[Change, ...]:
    """In order of time; timers that are due by now have fired. Nothing of a sensor that cannot be judged."""
    plan = make_plan(Configuration(change=1, sensors={sensor.id: sensor})).metrics.get(sensor.metric)
    if plan is None:
        return ()
    found = [change for curve in curves for change in _changes(plan.on(curve.system), curve, now)]
    return tuple(sorted(found, key=lambda one: one.time))


def _changes(plan: MetricPlan, curve: Curve, now: int) -> list[Change]:
    found = []
    for moved in _moves(plan, curve, now):
        event = event_of(plan.sensors[moved.place], moved)
        if event is not None:
            found.append(Change(event.time, curve.system, curve.instance, event.state, event.level, event.value))
    return found


def _moves(plan: MetricPlan, curve: Curve, now: int) -> Sequence[Moved]:
    series = Series()
    moves: list[Moved] = []
    try:
        for time, value in curve.points:
            moves += take_reading(plan.intervals, series, time, value)[1]
        moves += fire_timers(plan.intervals, series, now, including=True)
    except WindowOverflowError:
        pass  # the detector stops judging it there, too
    return moves
