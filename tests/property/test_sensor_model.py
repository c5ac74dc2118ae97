"""Any combination of options on any series does what a slow model of the specification does."""

from __future__ import annotations

import math

from hypothesis import example, given, settings
from hypothesis import strategies as st

from sensing import make_sensor, metric_plan
from sensor_model import Model, Seen
from sensor_strategies import sensors, values
from tocsin.evaluator.core.sensor_event import event_of
from tocsin.evaluator.core.series import Series, fire_timers, next_due, take_reading
from tocsin.shared.configuration.records import Sensor

# In seconds: mostly forward, sometimes the same time, late, or after a gap.
steps = st.sampled_from([1, 1, 1, 1, 2, 0, 0, -1, -3, 5, 9])
# A reading, or only time that passes.
entries = st.lists(st.tuples(steps, values, st.sampled_from([True, True, True, True, False])), max_size=45)


def played(sensor: Sensor, log: list[tuple[int, float, bool]]) -> tuple[list[Seen], list[Seen], Model]:
    plan, series, model = metric_plan(sensor), Series(), Model(sensor)
    found: list[Seen] = []
    now = 100
    for step, value, is_reading in log:
        time = (now + step) * 1000
        now = max(now, now + step)
        if is_reading:
            _, moved = take_reading(plan.intervals, series, time, value)
            model.reading(time, value)
        else:
            moved = fire_timers(plan.intervals, series, time, including=step % 2 == 0)
            model.pass_time(time, including=step % 2 == 0)
        for move in moved:
            event = event_of(plan.sensors[0], move)
            if event is not None:
                found.append((event.time, event.state, event.level, event.value))
        assert next_due(plan.intervals, series) == min((timer[0] for timer in model.timers()), default=None)
    return found, model.published, model


def alike(found: list[Seen], expected: list[Seen]) -> bool:
    return len(found) == len(expected) and all(
        one[:3] == other[:3]
        and (one[3] == other[3] or (one[3] is not None and other[3] is not None and math.isclose(one[3], other[3])))
        for one, other in zip(found, expected, strict=True)
    )


@given(sensors(), entries)
@settings(max_examples=500, deadline=None)
@example(  # a late reading changes what the newest is worth, and ends no silence
    make_sensor(
        "> 1",
        aggregate={"function": "avg", "window": 4000},
        lateness=20_000,
        no_data={"after": 3000, "then": "no-data"},
    ),
    [(0, 2.0, True), (4, 0.0, False), (-5, 3.0, True), (9, 0.0, False)],
)
def test_every_combination_of_options_does_what_the_model_does(
    sensor: Sensor, log: list[tuple[int, float, bool]]
) -> None:
    found, expected, _ = played(sensor, log)
    assert alike(found, expected), f"\n{found}\n{expected}"
