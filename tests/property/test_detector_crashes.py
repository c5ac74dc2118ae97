"""Whatever happens between two batches, what is published is what an uninterrupted run publishes."""

from __future__ import annotations

from hypothesis import example, given, settings
from hypothesis import strategies as st

from detecting import ARRIVED, Cluster, Log, plan, reading, sensor
from tocsin.evaluator.core.plan import Plan
from tocsin.evaluator.detector.publishing import id_of

SYSTEMS = ["PC-1", "PC-2", "PC-3", "PC-4"]
PLAN = plan(
    sensor("a", "cpu", "> 2"),
    sensor("b", "cpu", "> 1", "< 1", for_ms=2),
    sensor("c", "cpu", "== 3"),
    sensor("d", "hang", ">= 1"),
)

one = st.tuples(
    st.sampled_from(SYSTEMS),
    st.sampled_from(["cpu", "cpu", "cpu", "hang", "other"]),
    st.sampled_from([0, 1, 1.5, 2, 3, 4]),
    st.integers(0, 8),
    st.sampled_from(["plain", "plain", "plain", "report", "poison", "ahead", "instance"]),
)
Entry = tuple[str, str, float, int, str]


def fill(entries: list[Entry]) -> Log:
    log = Log(2)
    for arrived, (system, metric, value, time, kind) in enumerate(entries, ARRIVED):
        match kind:
            case "poison":
                log.append(b"poison", system.encode())
            case "report":
                text = reading(system, metric, value, time).decode()
                text = f'{{"system":"{system}","time":{time},"tags":{{"t":"{value}"}},"readings":[{text},{text}]}}'
                log.append(text.encode(), system.encode())
            case "ahead":
                log.add(system, metric, value, arrived + 100_000, arrived=arrived)  # judged as of its arrival
            case "instance":
                log.add(system, metric, value, time, instance="i")
            case _:
                log.add(system, metric, value, time)
    return log


# What happens between two batches: how many records the next one has, whether it ends with a checkpoint, a crash.
steps = st.tuples(st.integers(1, 6), st.booleans(), st.booleans())


def in_order(cluster: Cluster) -> list[tuple[object, ...]]:
    """By partition, as a reader of the topic sees it: the changes of one system in their order, ids included."""
    return [
        (change.system, change.sensor_id, change.state, change.value, change.time, change.instance, id_of(change))
        for change in sorted(cluster.changes, key=lambda change: change.system)
    ]


def interrupted(log: Log, plan_: Plan, plan_of_steps: list[tuple[int, bool, bool]]) -> Cluster:
    cluster = Cluster(log)
    cluster.begin(plan_)
    for most, with_checkpoint, crash in plan_of_steps:
        cluster.step(most, with_checkpoint)
        if crash:
            cluster.begin(plan_)
    cluster.step()
    return cluster


@given(st.lists(one, max_size=40), st.lists(steps, max_size=12))
@settings(max_examples=300, deadline=None)
@example([("PC-1", "cpu", value, at, "plain") for value, at in [(3, 5), (0, 8), (3, 7)]], [(2, False, True)])
@example([("PC-1", "cpu", value, at, "plain") for value, at in [(3, 5), (0, 5), (3, 5)]], [(2, True, True)])
def test_a_crash_between_any_two_batches_changes_nothing(
    entries: list[Entry], plan_of_steps: list[tuple[int, bool, bool]]
) -> None:
    log = fill(entries)
    whole = Cluster(log)
    whole.run(PLAN)
    cut = interrupted(log, PLAN, plan_of_steps)
    assert in_order(cut) == in_order(whole)
    assert len(cut.rejected) == len(whole.rejected)
    assert cut.engine is not None
    assert whole.engine is not None
    assert described(cut) == described(whole)


def described(cluster: Cluster) -> object:
    """Everything the next reading's fate depends on, by name."""
    engine = cluster.engine
    assert engine is not None
    systems = {
        name: (int(engine.systems.heard[number]), int(engine.systems.tags_at[number]), engine.systems.tags.get(number))
        for name, number in engine.systems.names.numbers.items()
    }
    series = {
        engine.describe(number): (
            int(engine.series.newest[number]),
            engine.series.ties[number] if engine.series.tied[number] else (float(engine.series.last[number]),),
            {place: (state.phase, state.since) for place, state in engine.series.states.get(number, {}).items()},
        )
        for number in range(engine.series.size)
    }
    return systems, series, {at: owned.time.now for at, owned in engine.owned.items()}


@given(st.lists(one, max_size=40), st.lists(st.integers(1, 5), max_size=12))
@settings(max_examples=150, deadline=None)
def test_how_readings_are_cut_into_batches_changes_nothing(entries: list[Entry], sizes: list[int]) -> None:
    log = fill(entries)
    whole = Cluster(log)
    whole.run(PLAN)
    assert in_order(interrupted(log, PLAN, [(size, False, False) for size in sizes])) == in_order(whole)


def test_a_late_reading_stays_late_after_a_crash() -> None:
    # Both readings are inside the bounds: nothing was written for the second when the third comes after the crash.
    log = Log(1)
    log.add("PC-1", "cpu", 0, 1_000)
    log.add("PC-1", "cpu", 0, 9_000)
    cluster = Cluster(log)
    cluster.begin(plan(sensor("a", "cpu", "> 2")))
    cluster.step(with_checkpoint=True)
    log.add("PC-1", "cpu", 1, 20_000)
    cluster.step()
    cluster.begin(plan(sensor("a", "cpu", "> 2")))
    log.add("PC-1", "cpu", 3, 15_000)
    log.add("PC-1", "cpu", 3, 20_001)
    cluster.step()
    assert [change.time for change in cluster.changes] == [20_001]
