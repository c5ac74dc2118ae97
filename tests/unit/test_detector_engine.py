"""The detector from a log to changes, without a broker."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest

from detecting import ARRIVED, Cluster, Log, plan, reading, sensor, shown
from tocsin.evaluator.core.intervals import Intervals
from tocsin.evaluator.core.series import Moved, Series, take_reading
from tocsin.evaluator.core.series_order import Verdict
from tocsin.evaluator.detector import engine, judging
from tocsin.shared.readings import Reason


def detect(log: Log, *sensors: object) -> Cluster:
    cluster = Cluster(log)
    cluster.run(plan(*sensors))  # type: ignore[arg-type]
    return cluster


def test_case_1_as_single_readings_of_one_system() -> None:
    log = Log(1)
    values = [97.1, 92.6, 95.6, 93.1, 92.6, 95.8, 92.7, 96.0, 93.4, 95.3, 92.4, 95.1]
    for at, value in enumerate(values, 1):
        log.add("PC-1", "m", value, at * 1000)
    found = [f"{state}{time}" for _, _, time, state in shown(detect(log, sensor("s", "m", "< 93")).changes)]
    assert found == ["ON2", "OFF3", "ON5", "OFF6", "ON7", "OFF8", "ON11", "OFF12"]


def test_case_1_as_one_report() -> None:
    values = [97.1, 92.6, 95.6, 93.1, 92.6, 95.8, 92.7, 96.0, 93.4, 95.3, 92.4, 95.1]
    parts = ",".join(f'{{"metric":"m","value":{value},"time":{at}000}}' for at, value in enumerate(values, 1))
    log = Log(1)
    log.append(f'{{"system":"PC-1","time":99000,"readings":[{parts}]}}'.encode(), b"PC-1")
    changes = detect(log, sensor("s", "m", "< 93")).changes
    assert [f"{state}{time}" for _, _, time, state in shown(changes)] == [
        "ON2", "OFF3", "ON5", "OFF6", "ON7", "OFF8", "ON11", "OFF12",
    ]  # fmt: skip
    assert [change.place for change in changes][:2] == [(0, 0, 1), (0, 0, 2)]


def test_case_5_with_a_change_saying_what_was_judged() -> None:
    log = Log(1)
    for at, value in enumerate([80, 86, 80, 76, 75, 74, 90]):
        log.add("PC-1", "m", value, at * 1000)
    changes = detect(log, sensor("s", "m", "> 85", "<= 75", name="Hot")).changes
    assert [(change.state, change.previous, change.value, change.condition) for change in changes] == [
        ("triggered", "clear", 86.0, "> 85"),
        ("clear", "triggered", 75.0, "<= 75"),
        ("triggered", "clear", 90.0, "> 85"),
    ]
    assert {(change.sensor_id, change.sensor) for change in changes} == {("s", "Hot")}


def test_for_is_reached_within_the_bounds() -> None:
    log = Log(1)
    for at in range(0, 200, 10):
        log.add("PC-1", "m", 75, at * 1000)
    changes = shown(detect(log, sensor("s", "m", "> 50", for_ms=60_000)).changes)
    assert changes == [("s", "PC-1", 60, "ON")]


def test_every_instance_is_a_series_of_its_own() -> None:
    log = Log(1)
    log.add("PC-1", "hang", 1, 1_000, instance="edge")
    log.add("PC-1", "hang", 1, 1_000, instance="word")
    log.add("PC-1", "hang", 0, 1_000)
    log.add("PC-1", "hang", 0, 2_000, instance="edge")
    changes = detect(log, sensor("s", "hang", ">= 1")).changes
    assert [(change.instance, change.state) for change in changes] == [
        ("edge", "triggered"),
        ("word", "triggered"),
        ("edge", "clear"),
    ]


def test_booleans_count_as_0_and_1() -> None:
    log = Log(1)
    log.add("PC-1", "up", True, 1_000)
    log.add("PC-1", "up", False, 2_000)
    assert [change.value for change in detect(log, sensor("s", "up", "== 1")).changes] == [1.0, 0.0]


def test_a_late_reading_changes_nothing_and_an_equal_time_is_judged_too() -> None:
    log = Log(1)
    for value, at in [(50, 5_000), (95, 4_000), (95, 5_000), (95, 5_000), (50, 5_000), (91, 6_000), (50, 6_000)]:
        log.add("PC-1", "m", value, at)
    cluster = detect(log, sensor("s", "m", "> 90"))
    assert [(change.value, change.time) for change in cluster.changes] == [(95.0, 5_000), (50.0, 6_000)]
    assert cluster.engine is not None
    counts = cluster.engine.counts
    # 91 and 50 at 6 s: the sensor is triggered already, then cleared; 50 at 5 s was seen at that very time before.
    assert (counts.evaluated, counts.late, counts.repeated) == (7, 1, 2)


def test_a_fast_clock_is_judged_as_of_its_arrival_and_holds_up_nobody() -> None:
    log = Log(1)
    log.add("PC-1", "m", 95, ARRIVED + 60_000)  # just near enough
    log.add("PC-2", "m", 95, ARRIVED + 60_001)
    log.add("PC-2", "m", 50, ARRIVED + 1_000, arrived=ARRIVED + 1_000)  # its clock put right
    cluster = detect(log, sensor("s", "m", "> 90"))
    assert [(change.system, change.time) for change in cluster.changes] == [
        ("PC-1", ARRIVED + 60_000),
        ("PC-2", ARRIVED),
        ("PC-2", ARRIVED + 1_000),
    ]
    assert cluster.engine is not None
    assert cluster.engine.counts.ahead == 1


def test_a_misplaced_reading_is_rejected_whether_its_system_is_known_or_not() -> None:
    log = Log(2)
    log.add("PC-1", "m", 50, 1_000)
    right = 0 if log.records[0] else 1
    log.append(reading("PC-9", "m", 95, 2_000), b"PC-1")
    log.append(reading("PC-1", "m", 95, 2_000), b"PC-1", partition=1 - right)
    log.append(reading("PC-1", "m", 95, 2_000), None, partition=right)
    cluster = Cluster(log)
    cluster.begin(plan(sensor("s", "m", "> 90")))
    cluster.step(1)
    cluster.step()
    log.append(reading("PC-1", "m", 95, 3_000), b"PC-1", partition=1 - right)  # now the fast way knows the names
    cluster.step()
    assert cluster.changes == []
    assert {rejections[0].reason for _, rejections in cluster.rejected} == {Reason.MISPLACED}
    assert len(cluster.rejected) == 4


def test_an_edited_sensor_starts_over_and_a_renamed_one_does_not() -> None:
    log = Log(1)
    log.add("PC-1", "m", 95, 1_000)
    cluster = Cluster(log)
    cluster.begin(plan(sensor("s", "m", "> 90"), sensor("t", "m", "> 80")))
    cluster.step()
    assert [change.sensor_id for change in cluster.changes] == ["s", "t"]
    renamed = cluster.replan(plan(sensor("s", "m", "> 90", name="New name"), sensor("t", "m", "> 80"), change=2))
    assert renamed.changes == []
    edited = cluster.replan(plan(sensor("s", "m", "> 91"), sensor("t", "m", "> 80"), change=3))
    assert [(change.sensor_id, change.state, change.reason, change.value) for change in edited.changes] == [
        ("s", "clear", "edited", None)
    ]
    log.add("PC-1", "m", 95, 2_000)
    cluster.step()
    assert [(change.sensor_id, change.time) for change in cluster.changes[3:]] == [("s", 2_000)]
    gone = cluster.replan(plan(change=4))
    assert [(change.sensor_id, change.previous) for change in gone.changes] == [("s", "triggered"), ("t", "triggered")]
    assert [key for rows in cluster.rows.values() for key in rows if key[0] == "series"] == []


def test_a_pending_series_that_is_edited_publishes_nothing() -> None:
    log = Log(1)
    log.add("PC-1", "m", 95, 1_000)
    cluster = Cluster(log)
    cluster.begin(plan(sensor("s", "m", "> 90", for_ms=10_000)))
    cluster.step()
    assert [key[0] for key in cluster.rows[0]] == ["partition", "series"]
    assert cluster.replan(plan(sensor("s", "m", "> 91", for_ms=10_000), change=2)).changes == []
    assert [key[0] for key in cluster.rows[0]] == ["partition"]


def test_a_sensor_edited_while_the_detector_was_away_starts_over_too() -> None:
    log = Log(1)
    log.add("PC-1", "m", 95, 1_000)
    cluster = Cluster(log)
    cluster.run(plan(sensor("s", "m", "> 90")))
    cluster.begin(plan(sensor("s", "m", "> 94"), change=2))
    assert [(change.state, change.reason) for change in cluster.changes] == [
        ("triggered", "reading"),
        ("clear", "edited"),
    ]


def test_a_row_is_written_once_a_transaction_and_only_for_changed_states() -> None:
    log = Log(1)
    for at, value in enumerate([50, 95, 50, 95, 96, 97]):
        log.add("PC-1", "m", value, at)
    log.add("PC-2", "m", 50, 1)
    cluster = Cluster(log)
    cluster.begin(plan(sensor("s", "m", "> 90")))
    output = cluster.step()
    assert [key for key in output.rows[0] if key[0] == "series"] == [("series", "PC-1", "m", None)]
    log.add("PC-1", "m", 98, 100)
    assert [key for key in cluster.step().rows[0] if key[0] == "series"] == []


def test_many_readings_of_one_series_in_one_batch_keep_their_order() -> None:
    log = Log(1)
    for at in range(100):
        log.add("PC-1", "m", 50 + at % 10, at)
    log.add("PC-1", "m", 99, 50)  # late
    log.add("PC-1", "m", 99, 100)
    cluster = Cluster(log)
    cluster.begin(plan(sensor("s", "m", "> 90")))
    cluster.step(1)
    cluster.step()
    assert [change.time for change in cluster.changes] == [100]


def test_values_seen_at_one_time_are_remembered_over_batches_and_restarts() -> None:
    made = plan(sensor("s", "m", "> 90"))
    for restart in (False, True):
        cluster = Cluster(Log(1))
        cluster.begin(made)
        for value in (50, 60, 95, 60, 50, 40):
            # 60 and 50 were seen at this very time: they are repeats, though both would clear the sensor.
            cluster.log.add("PC-1", "m", value, 1_000)
            cluster.step(with_checkpoint=restart)
            if restart:
                cluster.begin(made)
        assert [change.value for change in cluster.changes] == [95.0, 40.0]


@pytest.mark.parametrize(
    ("waits", "singly"),
    [
        # The first of each series draws its bounds.
        (
            {"no_data": {"after": "1h", "then": "no-data"}},
            [(0, 0), (1, 1), (2, 2), (1_000, 95), (1_003, 3), (2_000, 95), (2_003, 3)],
        ),
        # Where time plays no part, the core is asked once for each case, and not for each reading.
        ({}, []),
    ],
)
def test_only_readings_that_may_change_something_are_judged_singly(
    waits: dict[str, Any], singly: list[tuple[int, float]]
) -> None:
    cluster = Cluster(Log(1))
    cluster.begin(plan(sensor("s", "m", "> 90", **waits)))
    assert cluster.engine is not None
    for at in range(3_000):
        cluster.log.add(f"PC-{at % 3}", "m", 95 if at in {1_000, 2_000} else at % 50, at * 1000)
    judged: list[tuple[int, float]] = []

    def noted(intervals: Intervals, series: Series, time: int, value: float) -> tuple[Verdict, list[Moved]]:
        judged.append((time // 1000, value))
        return take_reading(intervals, series, time, value)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(judging, "judge_batch", partial(judging.judge_batch, take_one=noted))
        patched.setattr(engine, "judge_batch", judging.judge_batch)
        changes = shown(cluster.step().changes)
    assert changes == [
        ("s", "PC-1", 1_000, "ON"),
        ("s", "PC-1", 1_003, "OFF"),
        ("s", "PC-2", 2_000, "ON"),
        ("s", "PC-2", 2_003, "OFF"),
    ]
    assert sorted(judged) == singly
    counts = cluster.engine.take_counts()
    assert (counts.evaluated, counts.late, counts.repeated) == (3_000, 0, 0)
