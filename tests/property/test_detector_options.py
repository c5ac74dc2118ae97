"""Sensors with all options in the detector: columns or not, crashes or not, the core's words are what is published."""

from __future__ import annotations

import random
from statistics import pstdev
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detecting import Cluster, Log, plan
from sensing import make_sensor
from sensor_strategies import sensors
from tocsin.evaluator.core.plan import Plan
from tocsin.evaluator.core.sensor_event import event_of
from tocsin.evaluator.core.series import Series, fire_timers, take_reading
from tocsin.evaluator.detector.publishing import id_of
from tocsin.shared.configuration.records import Sensor

SYSTEMS = ["PC-1", "PC-2", "DB-3"]
FOLLOWED = ["avg", "sum", "count", "delta", "rate", "stddev", "min", "max", "p50", "p90", "p95", "p99"]


@st.composite
def followed(draw: st.DrawFn) -> Sensor:
    """Sensors whose windows are columns."""
    sensor = draw(sensors())
    window = draw(st.sampled_from([{"window": 1}, {"window": 4000}, {"window": 9000}, {"count": 1}, {"count": 4}]))
    aggregate = {"function": draw(st.sampled_from(FOLLOWED)), **window}
    options = {
        "aggregate": aggregate,
        "lateness": draw(st.sampled_from([0, 2000])) if "count" in window else 0,
        "flapping": None,
        "breaches": None,
    }
    bare = [level.model_copy(update={"breaches": None}) for level in sensor.levels]
    return Sensor.model_validate({**sensor.model_dump(by_alias=True), **options, "levels": bare})


def named(found: list[Sensor], metrics: list[str]) -> list[Sensor]:
    return [
        sensor.model_copy(update={"id": f"s{at}", "name": f"s{at}", "metric": metric})
        for at, (sensor, metric) in enumerate(zip(found, metrics, strict=False))
    ]


def with_override(sensor: Sensor) -> Sensor:
    override: dict[str, Any] = {"systems": ("DB-*",), "for": 2000}
    return Sensor.model_validate({**sensor.model_dump(by_alias=True), "overrides": [override]})


plans = st.builds(
    lambda many, window, overridden: plan(
        *named([*many[:-1], with_override(many[-1])] if overridden else many, ["cpu", "cpu", "hang"]),
        window.model_copy(update={"id": "w", "name": "w", "metric": "load"}),
    ),
    st.lists(sensors(), min_size=3, max_size=3),
    followed(),
    st.booleans(),
)

values = st.sampled_from([0.0, 0.1, 1.0, 1.5, 2.0, 3.0, 4.0, 0.3])
entries = st.lists(
    st.tuples(
        st.sampled_from(SYSTEMS),
        st.sampled_from(["cpu", "hang", "load", "load", "load"]),
        values,
        st.sampled_from([1, 1, 1, 2, 3, 0, 0, -2, 8]),
    ),
    max_size=60,
)
Entry = tuple[str, str, float, int]

# How many records the next batch has; whether it ends with a checkpoint, with time that passes, with a crash.
steps = st.lists(st.tuples(st.integers(1, 12), st.booleans(), st.booleans(), st.booleans()), max_size=12)


def fill(log: list[Entry]) -> Log:
    found = Log(2)
    now = 100
    for system, metric, value, step in log:
        found.add(system, metric, value, (now + step) * 1000)
        now = max(now, now + step)
    return found


def shown(cluster: Cluster) -> list[tuple[object, ...]]:
    """The changes of each system and sensor in their order."""
    found = [
        (change.system, change.sensor_id, change.state, change.level, change.value, change.time, change.reason)
        for change in cluster.changes
    ]
    return sorted(found, key=lambda row: row[:2])


def played(log: Log, made: Plan, played_steps: list[tuple[int, bool, bool, bool]], crashing: bool) -> Cluster:
    cluster = Cluster(log)
    cluster.begin(made)
    for most, with_checkpoint, passes, crash in played_steps:
        cluster.step(most, with_checkpoint and crashing)
        if passes:
            cluster.tick()
        if crash and crashing:
            cluster.begin(made)
    cluster.step()
    cluster.tick()
    return cluster


@given(plans, entries, steps)
@settings(max_examples=150, deadline=None)
def test_a_crash_changes_nothing_whatever_the_options(
    made: Plan, log: list[Entry], played_steps: list[tuple[int, bool, bool, bool]]
) -> None:
    whole = played(fill(log), made, played_steps, crashing=False)
    cut = played(fill(log), made, played_steps, crashing=True)
    assert shown(cut) == shown(whole)
    ids = [id_of(change) for change in cut.changes]
    assert sorted(ids) == sorted(id_of(change) for change in whole.changes)
    assert cut.engine is not None
    assert whole.engine is not None
    assert states(cut) == states(whole)


def states(cluster: Cluster) -> object:
    engine = cluster.engine
    assert engine is not None
    found = {}
    for series, of_series in engine.series.states.items():
        found[engine.describe(series)] = of_series
    return found


@given(plans, entries, st.lists(st.integers(1, 12), max_size=8))
@settings(max_examples=150, deadline=None)
def test_the_detector_publishes_what_the_core_says(made: Plan, log: list[Entry], sizes: list[int]) -> None:
    cluster = played(fill(log), made, [(size, False, False, False) for size in sizes], crashing=False)
    assert shown(cluster) == by_the_core(cluster, made, log)


def by_the_core(cluster: Cluster, made: Plan, log: list[Entry]) -> list[tuple[object, ...]]:
    """Each series by itself."""
    found = []
    series: dict[tuple[str, str], Series] = {}
    now = 100
    at_last: dict[int, int] = {}
    for system, metric, value, step in log:
        time = (now + step) * 1000
        now = max(now, now + step)
        if metric not in made.metrics:
            continue
        here = made.metrics[metric].on(system)
        _, moved = take_reading(here.intervals, series.setdefault((system, metric), Series()), time, value)
        found += [(system, here.sensors[move.place], move) for move in moved]
    assert cluster.engine is not None
    for at, owned in cluster.engine.owned.items():
        at_last[at] = owned.time.now
    for (system, metric), one in series.items():
        here = made.metrics[metric].on(system)
        partition = int(cluster.engine.systems.partition[cluster.engine.systems.names.numbers[system]])
        moved = fire_timers(here.intervals, one, at_last[partition])
        found += [(system, here.sensors[move.place], move) for move in moved]
    expected = []
    for system, sensor, move in found:
        event = event_of(sensor, move)
        if event is not None:
            reason = "timer" if event.by_timer else "reading"
            expected.append((system, sensor.id, event.state, event.level, event.value, event.time, reason))
    return sorted(expected, key=lambda row: row[:2])


@given(followed(), st.integers(0, 1 << 32), st.booleans())
@settings(max_examples=150, deadline=None)
def test_windows_in_columns_are_worth_what_the_core_says(window: Sensor, seed: int, crashing: bool) -> None:
    source = random.Random(seed)
    made = plan(window.model_copy(update={"id": "w", "name": "w", "metric": "load"}))
    step = [1, 1, 1, 1, 2, 3, 0, -2, 8] if seed % 2 else [1]
    log = [
        (source.choice(SYSTEMS), "load", source.choice([0.0, 0.1, 1.0, 1.5, 2.0, 3.0]), source.choice(step))
        for _ in range(250)
    ]
    some = [(source.randint(1, 15), source.random() < 0.3, False, source.random() < 0.2) for _ in range(30)]
    cluster = played(fill(log), made, some, crashing)
    assert shown(cluster) == by_the_core(cluster, made, log)


@pytest.mark.parametrize("window", [{"window": "4s"}, {"count": 5}])
@pytest.mark.parametrize(
    ("function", "value"),
    [
        ("avg", (1.5 + 1 + 2 + 1.5 + 9) / 5),
        ("max", 9.0),
        ("p90", 9.0),
        ("p50", 9.0),
        ("stddev", pstdev([1.5, 1, 2, 1.5, 9])),
    ],
)
def test_a_window_in_columns_asks_the_core_only_when_it_must(
    function: str, value: float, window: dict[str, Any]
) -> None:
    made = plan(make_sensor("> 2", aggregate={"function": function, **window}))
    cluster = Cluster(fill([("PC-1", "m", value, 1) for value in [1.0, 2.0, 1.5] * 5 + [9.0] * 4]))
    cluster.begin(made)
    assert cluster.engine is not None
    asked: list[int] = []
    table = cluster.engine.series
    put = table.rings.put

    def counting(number: int, *rest: Any) -> None:
        asked.append(number)
        put(number, *rest)

    table.rings.put = counting  # type: ignore[method-assign]
    for _ in range(10):
        cluster.step(2)
    # To begin with, until a count window is full, and when the sensor fired.
    assert len(asked) == (2 if "window" in window else 4)
    assert [change.value for change in cluster.changes] == [pytest.approx(value)]
