"""Systems that somebody has said are gone for good."""

from __future__ import annotations

from detecting import Cluster, Log, group, notification, plan
from sensing import make_sensor
from tocsin.evaluator.core.plan import Plan
from tocsin.evaluator.detector.output import Change
from tocsin.evaluator.detector.tallies import TallyCounter
from tocsin.shared.configuration.records import Forgetting, Record

RECORDS: tuple[Record, ...] = (
    make_sensor("> 5", no_data={"after": "10s", "then": "no-data"}),
    group("berlin", site="Berlin"),
    notification("n", "s", group="berlin"),
)
BERLIN = {"tags": {"site": "Berlin"}}


def rules(*gone: str, change: int = 1) -> Plan:
    """The last change says that these systems are gone."""
    forgetting = Forgetting(id="f", name="f", systems=gone, revision=change)
    return plan(*RECORDS, *[forgetting] * bool(gone), change=change)


def started(*readings: tuple[str, float, int]) -> Cluster:
    cluster = Cluster(Log(1))
    cluster.begin(rules())
    read(cluster, *readings)
    return cluster


def read(cluster: Cluster, *readings: tuple[str, float, int]) -> None:
    for system, value, seconds in readings:
        cluster.log.add(system, "m", value, seconds * 1000, **BERLIN)
    cluster.step()


def told(changes: list[Change]) -> list[str]:
    return [f"{change.system} {change.state}@{change.time // 1000} {change.reason}" for change in changes]


def counts(cluster: Cluster) -> tuple[int, int]:
    """Matched, reporting."""
    assert cluster.engine is not None
    tallies = TallyCounter(cluster.engine)
    (tally,) = tallies.take(tallies.due(0.0, tick=True), 0)
    return tally.matched, tally.reporting


def test_a_system_that_is_gone_becomes_clear_leaves_the_counts_and_keeps_no_row() -> None:
    cluster = started(("PC-1", 9, 100), ("PC-2", 9, 101), ("PC-3", 1, 102))
    assert counts(cluster) == (2, 3)
    cluster.replan(rules("PC-1", "PC-3", "nobody has heard of this", change=2))
    assert told(cluster.changes[2:]) == ["PC-1 clear@102 forgotten"]
    assert counts(cluster) == (1, 1)
    keys = [key for key in cluster.rows[0] if key[0] in ("series", "tags")]
    assert keys == [("tags", "PC-2"), ("series", "PC-2", "m", None)]


def test_a_forgotten_system_is_not_waited_for_and_begins_anew_when_it_is_heard() -> None:
    cluster = started(("PC-1", 9, 100), ("PC-2", 1, 100))
    cluster.replan(rules("PC-1", change=2))
    assert cluster.engine is not None
    cluster.engine.owned[0].time.now = 200_000
    cluster.tick()
    read(cluster, ("PC-1", 8, 50))
    assert told(cluster.changes[1:]) == [
        "PC-1 clear@100 forgotten",
        "PC-2 no-data@110 timer",
        "PC-1 triggered@50 reading",
    ]


def test_what_was_said_while_no_detector_ran_counts_once_and_not_again_after_the_next_start() -> None:
    cluster = started(("PC-1", 9, 100))
    gone = rules("PC-1", change=2)
    cluster.begin(gone)
    assert told(cluster.changes) == ["PC-1 triggered@100 reading", "PC-1 clear@100 forgotten"]
    assert counts(cluster) == (0, 0)
    cluster.begin(gone)
    assert counts(cluster) == (0, 0)
    read(cluster, ("PC-1", 7, 105))
    cluster.begin(gone)
    assert told(cluster.changes[2:]) == ["PC-1 triggered@105 reading"]
    assert counts(cluster) == (1, 1)
    cluster.replan(rules("PC-1", "PC-1", change=2))
    assert len(cluster.changes) == 3
