"""Time, silences, levels and edits in the detector, without a broker."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from detecting import Cluster, Log, notification, plan
from sensing import make_sensor
from tocsin.evaluator.core.partition_time import PartitionTime
from tocsin.evaluator.core.plan import Plan
from tocsin.evaluator.core.sensor import START, Phase, SensorState, Shown
from tocsin.evaluator.detector.forgetting import forget_silent
from tocsin.evaluator.detector.publishing import id_of
from tocsin.evaluator.detector.rings import Rings
from tocsin.evaluator.detector.rows import SensorRow, decode_row, encode_row, sensor_row, state_of
from tocsin.evaluator.detector.tallies import TallyCounter
from tocsin.shared.configuration.records import Sensor, SensorUse

MINUTE = 60_000


def started(made: Plan, *readings: tuple[str, float, int], partitions: int = 1) -> Cluster:
    """Readings of metric `m`: system, value, seconds."""
    log = Log(partitions)
    cluster = Cluster(log)
    cluster.begin(made)
    more(cluster, *readings)
    return cluster


def more(cluster: Cluster, *readings: tuple[str, float, int]) -> None:
    for system, value, time in readings:
        cluster.log.add(system, "m", value, time * 1000)
        cluster.step()


def told(cluster: Cluster) -> list[str]:
    return [
        f"{change.system} {change.level or change.state}@{change.time // 1000} {change.reason}"
        for change in cluster.changes
    ]


def pass_to(cluster: Cluster, seconds: int) -> None:
    assert cluster.engine is not None
    for owned in cluster.engine.owned.values():
        owned.time.now = seconds * 1000
    cluster.tick()


SILENT = {"no_data": {"after": "10s", "then": "no-data"}}


def test_a_silence_strikes_when_its_time_has_passed_and_not_at_it() -> None:
    cluster = started(plan(make_sensor("> 5", **SILENT)), ("PC-1", 9, 100))
    pass_to(cluster, 110)
    assert told(cluster) == ["PC-1 triggered@100 reading"]
    pass_to(cluster, 111)
    assert told(cluster)[1:] == ["PC-1 no-data@110 timer"]
    pass_to(cluster, 500)
    assert len(cluster.changes) == 2


def test_a_silence_in_the_backlog_strikes_before_the_next_reading_of_its_series() -> None:
    cluster = Cluster(Log(1))
    cluster.begin(plan(make_sensor("> 5", **SILENT)))
    for time, value in [(100, 0.0), (101, 0.0), (105, 0.0), (130, 0.0), (131, 9.0)]:
        cluster.log.add("PC-1", "m", value, time * 1000)
    cluster.step()  # all inside the bounds but for the last
    assert told(cluster) == ["PC-1 no-data@115 timer", "PC-1 clear@130 reading", "PC-1 triggered@131 reading"]


def test_a_restart_knows_since_when_a_series_is_silent() -> None:
    made = plan(make_sensor("> 5", **SILENT))
    cluster = started(made, ("PC-1", 0, 100), ("PC-2", 0, 105))
    cluster.begin(made)
    pass_to(cluster, 112)
    assert told(cluster) == ["PC-1 no-data@110 timer"]
    cluster.begin(made)
    pass_to(cluster, 120)
    assert told(cluster)[1:] == ["PC-2 no-data@115 timer"]


def test_a_silence_does_not_grow_while_the_broker_does_not_answer() -> None:
    cluster = started(plan(make_sensor("> 5", **SILENT)), ("PC-1", 0, 100))
    assert cluster.engine is not None
    cluster.engine.owned[0].time.unreached.append((103_000, 153_000))
    pass_to(cluster, 159)
    assert told(cluster) == []
    pass_to(cluster, 161)
    assert told(cluster) == ["PC-1 no-data@160 timer"]


def ticking(time: PartitionTime, seconds: range, answered: bool) -> None:
    for second in seconds:
        if answered:
            time.alive(second * 1000)
        time.carry(second * 1000, second * 1000 if answered else None)


def test_only_a_silence_of_the_broker_that_was_watched_is_unreached() -> None:
    watched = PartitionTime(now=1000)
    ticking(watched, range(10, 20), answered=True)
    ticking(watched, range(20, 50), answered=False)
    ticking(watched, range(50, 52), answered=True)
    assert len(watched.unreached) == 1
    start, end = watched.unreached[0]
    assert end - start == 31_000
    frozen = PartitionTime(now=1000)
    ticking(frozen, range(10, 20), answered=True)
    ticking(frozen, range(50, 60), answered=True)
    assert frozen.unreached == []
    assert len(frozen.outages) == 1


def test_keep_ends_by_itself() -> None:
    cluster = started(plan(make_sensor("> 5", keep="10s")), ("PC-1", 9, 100), ("PC-1", 0, 101))
    pass_to(cluster, 200)
    assert told(cluster) == ["PC-1 triggered@100 reading", "PC-1 clear@111 timer"]
    assert len({id_of(change) for change in cluster.changes}) == 2


def counted(cluster: Cluster) -> dict[str, tuple[int, int]]:
    """Matched and reporting, by notification."""
    assert cluster.engine is not None
    due = TallyCounter(cluster.engine).due(0.0, tick=True)
    return {notification_id: (len(count.matched), count.reporting) for notification_id, _, count in due}


def test_a_system_triggered_by_its_silence_stays_in_both_counts() -> None:
    watch = make_sensor("> 5", no_data={"after": "10m", "then": "trigger"})
    made = plan(watch, notification("n", "s", reporting_within=15 * MINUTE))
    cluster = started(made, ("PC-1", 0, 0), ("PC-2", 0, 0))
    assert counted(cluster) == {"n": (0, 2)}
    more(cluster, ("PC-2", 0, 1200))
    cluster.tick()
    assert counted(cluster) == {"n": (1, 2)}
    more(cluster, ("PC-1", 0, 1201))
    assert counted(cluster) == {"n": (0, 2)}


def test_a_system_not_heard_for_long_is_forgotten() -> None:
    watch = make_sensor("> 5", no_data={"after": "10m", "then": "trigger"})
    made = plan(watch, notification("n", "s", reporting_within=15 * MINUTE, forget_after=60 * MINUTE))
    cluster = started(made, ("PC-1", 0, 0), ("PC-2", 0, 3700))
    cluster.tick()
    assert cluster.engine is not None
    cluster.engine.owned[0].time.carried_at = 1  # all has been read
    assert counted(cluster) == {"n": (0, 1)}
    cluster.commit(forget_silent(cluster.engine))
    assert told(cluster) == ["PC-1 triggered@600 timer", "PC-1 clear@3700 forgotten"]
    assert ("series", "PC-1", "m", None) not in cluster.rows[0]
    cluster.begin(made)
    pass_to(cluster, 5000)
    assert told(cluster)[2:] == ["PC-2 triggered@4300 timer"]  # PC-1 does not fall silent once more


LEVELS = {"warn": {"trigger": "> 5"}, "crit": {"trigger": "> 8"}}


@pytest.mark.parametrize(("level", "matched"), [(None, [1, 1, 0]), ("warn", [1, 1, 0]), ("crit", [0, 1, 0])])
def test_a_notification_counts_from_its_level_on(level: str | None, matched: list[int]) -> None:
    use = SensorUse(sensor_id="s", level=level)
    named = notification("n", "s", reporting_within=60 * MINUTE).model_copy(update={"sensors": (use,)})
    cluster = started(plan(make_sensor(levels=LEVELS), named))
    found = []
    for at, value in enumerate([6, 9, 0]):
        more(cluster, ("PC-1", value, at))
        found.append(counted(cluster)["n"][0])
    assert found == matched


def test_an_edit_clears_whatever_was_not_clear() -> None:
    cluster = started(plan(make_sensor(levels=LEVELS, **SILENT)), ("PC-1", 9, 100), ("PC-2", 6, 100))
    more(cluster, ("PC-1", 9, 120))
    cluster.tick()
    cluster.replan(plan(make_sensor("> 1"), change=2))
    edited = [(change.system, change.previous, change.previous_level) for change in cluster.changes[-2:]]
    assert sorted(edited) == [("PC-1", "triggered", "crit"), ("PC-2", "no-data", None)]
    assert {change.reason for change in cluster.changes[-2:]} == {"edited"}
    assert [key for key in cluster.rows[0] if key[0] == "series"] == []


@pytest.mark.parametrize("restarts", [False, True])
@pytest.mark.parametrize("ticks", [False, True])
@pytest.mark.parametrize("other", [{"keep": "5s"}, SILENT], ids=["keep", "no_data"])
def test_a_timer_of_another_sensor_does_not_pass_for_a_first_judgement(
    other: dict[str, Any], ticks: bool, restarts: bool
) -> None:
    """An edited sensor has not judged the value that is there, though the bounds around it are drawn anew."""
    stays = make_sensor(trigger="> 5", **other).model_copy(update={"id": "a", "name": "a"})
    cluster = started(plan(stays, make_sensor("> 90")), ("PC-1", 9, 100), ("PC-1", 4, 101))
    edited = plan(stays, make_sensor("> 3"), change=2)
    if restarts:
        cluster.begin(edited)
    else:
        cluster.replan(edited)
    if ticks:
        pass_to(cluster, 115)
    more(cluster, ("PC-1", 4, 120))
    assert [(change.time, change.state) for change in cluster.changes if change.sensor == "s"] == [
        (120_000, "triggered")
    ]


def test_windows_of_sensors_that_stay_go_on_when_another_is_added() -> None:
    total = make_sensor("> 10", aggregate={"function": "sum", "window": "1m"})
    cluster = started(plan(total), ("PC-1", 6, 100))
    before = make_sensor("> 100").model_copy(update={"id": "a", "name": "a"})  # takes the first place
    cluster.replan(plan(before, total, change=2))
    more(cluster, ("PC-1", 6, 101))
    assert told(cluster) == ["PC-1 triggered@101 reading"]
    cluster.begin(plan(before, total, change=2))
    edited = total.model_copy(update={"keep": 1000})
    cluster.replan(plan(before, edited, change=3))
    more(cluster, ("PC-1", 6, 102))  # alone in the window of the sensor that has started over
    assert told(cluster)[1:] == ["PC-1 clear@101 edited"]


@pytest.mark.parametrize(
    "window", [{"window": "1m"}, {"count": 2}, {"tumbling": "1m"}], ids=lambda one: next(iter(one))
)
@pytest.mark.parametrize("restarts", [0, 1, 2])
def test_a_window_that_was_edited_while_nobody_looked_begins_empty(window: dict[str, Any], restarts: int) -> None:
    """As live: what is read again after a start came before the edit; however often it starts."""
    rule = make_sensor("> 10", aggregate={"function": "sum", **window})
    cluster = started(plan(rule), ("PC-1", 6, 121), ("PC-1", 7, 122))
    edited = plan(rule.model_copy(update={"keep": 1000, "revision": 2}), change=2)
    cluster.replan(edited)
    live, last = told(cluster), [("PC-1", 6, 130), ("PC-1", 6, 190)]
    more(cluster, *last)
    expected = told(cluster)[len(live) :]

    cluster = started(plan(rule), ("PC-1", 6, 121), ("PC-1", 7, 122))
    for _ in range(restarts):
        cluster.begin(edited)
    if not restarts:
        cluster.replan(edited)
    before = len(told(cluster))
    more(cluster, *last)
    assert told(cluster)[before:] == expected


def test_a_new_name_leaves_what_is_in_a_window() -> None:
    rule = make_sensor("> 10", aggregate={"function": "sum", "window": "1m"})
    cluster = started(plan(rule), ("PC-1", 6, 121))
    cluster.step(with_checkpoint=True)
    more(cluster, ("PC-1", 1, 122))
    cluster.begin(plan(rule.model_copy(update={"name": "Sum", "revision": 2}), change=2))
    more(cluster, ("PC-1", 6, 123))
    assert told(cluster) == ["PC-1 triggered@123 reading"]


def test_overrides_are_judged_on_their_systems() -> None:
    sensor = make_sensor("> 5", overrides=[{"systems": ["DB-*"], "trigger": "> 8", **SILENT}])
    cluster = started(plan(sensor), ("PC-1", 6, 100), ("DB-1", 6, 100), ("DB-1", 9, 101))
    pass_to(cluster, 200)
    assert told(cluster) == ["PC-1 triggered@100 reading", "DB-1 triggered@101 reading", "DB-1 no-data@111 timer"]


def test_a_sensor_that_cannot_be_judged_is_switched_off_alone() -> None:
    bad = Sensor(id="b", name="Bad", metric="m")  # neither a trigger nor levels: no door lets it in
    cluster = started(plan(bad, make_sensor("> 5")), ("PC-1", 9, 100))
    assert cluster.engine is not None
    assert cluster.engine.newly_off() == [("Bad", "it has neither a trigger nor levels")]
    assert cluster.engine.newly_off() == []
    assert told(cluster) == ["PC-1 triggered@100 reading"]


def test_rows_of_the_first_version_are_read() -> None:
    old = encode_row(SensorRow("s", "r", 1, 5000))
    assert len(decode_row(list, old)) > 4  # type: ignore[type-var]
    rows = {phase: b"\x94\xa1s\xa1r" + bytes([phase]) + b"\xcd\x13\x88" for phase in (0, 1, 2)}
    found = {phase: state_of(decode_row(SensorRow, row)) for phase, row in rows.items()}
    assert found == {0: START, 1: SensorState(starts=(5000,)), 2: SensorState(level=0, since=5000)}


def test_a_row_holds_everything_that_is_remembered() -> None:
    made = plan(make_sensor(levels=LEVELS))
    state: Any = SensorState(1, 7, (-1, -1, 9), 8, True, False, (5, 1 << 90), 12, 3.5, 1 << 99, Shown("triggered", 0))
    row = sensor_row(made.metrics["m"].sensors[0], state)
    assert state_of(decode_row(SensorRow, encode_row(row))) == state
    assert Phase(row.phase) is Phase.RECOVERING


def test_a_ring_keeps_no_more_room_than_its_window_needs() -> None:
    window = make_sensor("> 100", aggregate={"function": "avg", "window": "20s"})
    cluster = started(plan(window), *[("PC-1", float(at % 3), at) for at in range(300)])
    assert cluster.engine is not None
    rings: Rings = cluster.engine.series.rings
    assert int(rings._mask[0]) + 1 == 32
    times, values, _ = rings.contents(0)
    assert times.tolist() == [at * 1000 for at in range(279, 300)]
    assert values.tolist() == [float(at % 3) for at in range(279, 300)]
    assert int(np.count_nonzero(rings.base >= 0)) == 1
