"""Readings taken by steps, many at once: to the byte what judging them one by one gives."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from detecting import Cluster, Log, notification, plan
from sensing import make_sensor
from sensor_strategies import conditions, sensors
from tocsin.evaluator.core import steps as core_steps
from tocsin.evaluator.core.plan import Plan
from tocsin.evaluator.core.steps import NO_STANCE, Steps
from tocsin.evaluator.detector.output import Output
from tocsin.evaluator.detector.publishing import encode_change
from tocsin.evaluator.detector.rows import encode_row
from tocsin.shared.configuration.records import Sensor

SYSTEMS = ["PC-1", "PC-2", "DB-3"]


@st.composite
def timeless(draw: st.DrawFn) -> Sensor:
    """Sensors that wait for nothing. A `hold` without a `for` has nothing to hold."""
    options: dict[str, Any] = {"hold": draw(st.sampled_from([0, 0, 3000]))}
    if draw(st.booleans()):
        options |= {"trigger": draw(conditions), "clear": draw(st.none() | conditions)}
    else:
        options["levels"] = {
            name: {"trigger": draw(conditions), "clear": draw(st.none() | conditions)}
            for name in ("info", "warn", "crit")[: draw(st.integers(1, 3))]
        }
    if draw(st.integers(0, 3)) == 0 and "trigger" in options:
        options["overrides"] = [{"systems": ("DB-*",), "trigger": draw(conditions)}]
    return make_sensor(**options)


@st.composite
def plans(draw: st.DrawFn) -> Plan:
    """Mostly sensors without time; now and then one that waits joins them."""
    found = draw(st.lists(timeless() | timeless() | timeless() | sensors(), min_size=2, max_size=4))
    metrics = draw(st.lists(st.sampled_from(["cpu", "cpu", "hang"]), min_size=len(found), max_size=len(found)))
    named = [
        sensor.model_copy(
            update={"id": f"s{at}", "name": f"s{at} {draw(st.sampled_from(['a', 'b']))}", "metric": metric}
        )
        for at, (sensor, metric) in enumerate(zip(found, metrics, strict=True))
    ]
    return plan(
        *named, notification("n", "s0"), notification("both", "s0", ("s1", "i")), change=draw(st.integers(1, 2))
    )


entries = st.lists(
    st.tuples(
        st.sampled_from(SYSTEMS),
        st.sampled_from(["cpu", "cpu", "hang", "other"]),
        st.sampled_from([0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0]),
        st.sampled_from([1, 1, 1, 1, 2, 0, 0, -2, 8]),
        st.sampled_from([None, None, None, "i"]),
    ),
    max_size=80,
)
Entry = tuple[str, str, float, int, str | None]

# How many records the next batch has; whether time passes after it, the process crashes, the plan changes.
steps = st.lists(st.tuples(st.integers(1, 25), st.booleans(), st.booleans(), st.booleans()), max_size=8)
Steps_ = list[tuple[int, bool, bool, bool]]


def fill(entries_: list[Entry]) -> Log:
    found = Log(2)
    now = 100
    for system, metric, value, step, instance in entries_:
        more = {"instance": instance} if instance is not None else {}
        found.add(system, metric, value, (now + step) * 1000, **more)
        now = max(now, now + step)
    return found


def written(output: Output) -> object:
    """All of it, as bytes where it goes out as such."""
    rows = {
        at: [(key, row if row is None else encode_row(row)) for key, row in found.items()]
        for at, found in output.rows.items()
    }
    return [encode_change(change, "t") for change in output.changes], output.changes, output.stood, rows, output.offsets


def played(log: list[Entry], plans_: tuple[Plan, Plan], steps_: Steps_) -> list[object]:
    """What each batch, tick, start and change of the plan gave, and what is known at the end."""
    cluster = Cluster(fill(log))
    at = 0
    found: list[object] = [cluster.begin(plans_[at]).off]
    for most, passes, crashes, changes in [*steps_, (1 << 30, True, False, False)]:
        found.append(written(cluster.step(most)))
        if passes:
            found.append(written(cluster.tick()))
        if changes:
            at = 1 - at
            found.append(written(cluster.replan(plans_[at])))
        if crashes:
            cluster.begin(plans_[at])
            found.append(cluster.rows)
    engine = cluster.engine
    assert engine is not None
    table, population = engine.series, engine.population
    columns = table.newest, table.last, table.tied, table.deadline, table.due
    found += [column[: table.size].tolist() for column in columns]
    counts = engine.take_counts()
    matching = [sorted(population.triggered.candidates(one.uses)) for one in engine.plan.notifications.values()]
    return [*found, table.states, counts, matching]


@given(plans(), plans(), entries, steps, st.sampled_from([(0, 0), (9, 99), (40, 4), (1 << 20, 1 << 18)]))
@settings(max_examples=300, deadline=None)
@example(plan(make_sensor("> 2", metric="cpu")), plan(), [("PC-1", "cpu", 3.0, 1, None)] * 2, [], (1 << 20, 1 << 18))
def test_steps_say_what_judging_one_by_one_says(
    one: Plan, other: Plan, log: list[Entry], steps_: Steps_, limits: tuple[int, int]
) -> None:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(core_steps, "MOST_CELLS", limits[0])
        patched.setattr(core_steps, "MOST_TURNS", limits[1])
        by_steps = played(log, (one, other), steps_)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Steps, "stance", lambda *_: NO_STANCE)
        singly = played(log, (one, other), steps_)
    assert by_steps == singly


def test_a_step_is_learned_once_and_taken_by_all_series() -> None:
    made = plan(make_sensor("> 2", metric="cpu"))
    cluster = Cluster(fill([(f"PC-{at % 7}", "cpu", 3.0 if at % 21 < 7 else 1.0, 1, None) for at in range(70)]))
    learned: list[tuple[int, float]] = []
    learn = Steps.learn

    def noted(self: Steps, stance: int, value: float) -> None:
        before = len(self.turns)
        learn(self, stance, value)
        if len(self.turns) > before:
            learned.append((stance, value))

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Steps, "learn", noted)
        cluster.run(made)
    assert learned == [(0, 3.0), (1, 1.0)]
    assert len(cluster.changes) == 7 * 7
    assert msgspec.structs.asdict(cluster.changes[0])["condition"] == "> 2"
