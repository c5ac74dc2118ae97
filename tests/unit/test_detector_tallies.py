"""Who matches, who reports, and which tallies are sent."""

from __future__ import annotations

from detecting import ARRIVED, Cluster, Log, group, notification, plan, sensor
from tocsin.evaluator.core.activation_row import SILENT_AFTER_MS, SILENT_AT_ZERO_AFTER_MS
from tocsin.evaluator.detector.tallies import EVERY, EVERY_WHEN_WAITING, TallyCounter
from tocsin.shared.configuration.records import Record
from tocsin.shared.schemas.tally import Tally

T = ARRIVED
MINUTE = 60_000


class Counting:
    """A cluster with one partition and its tallies."""

    def __init__(self, *records: Record, partitions: int = 1) -> None:
        self.log = Log(partitions)
        self.cluster = Cluster(self.log)
        self.engine = self.cluster.begin(plan(*records))
        self.tallies = TallyCounter(self.engine)

    def sent(self, now: float = 0.0, tick: bool = False) -> list[Tally]:
        return self.tallies.take(self.tallies.due(now, tick), wall=7)

    def step(self, now: float = 0.0, tick: bool = False) -> list[tuple[str, int, int]]:
        self.cluster.step()
        return [(tally.notification_id, tally.matched, tally.reporting) for tally in self.sent(now, tick)]


def test_at_the_beginning_every_notification_says_zero_for_every_partition() -> None:
    counting = Counting(sensor("s", "m", "> 90"), notification("n", "s"), partitions=3)
    tallies = counting.sent(tick=True)
    assert [(tally.partition, tally.partitions, tally.matched, tally.reporting) for tally in tallies] == [
        (0, 3, 0, 0),
        (1, 3, 0, 0),
        (2, 3, 0, 0),
    ]
    assert counting.sent(tick=True) == []


def test_all_sensors_have_to_be_triggered_on_the_same_system() -> None:
    counting = Counting(sensor("a", "m", "> 90"), sensor("b", "k", "> 5"), notification("n", "a", "b"))
    counting.sent(tick=True)
    counting.log.add("PC-1", "m", 95, T)
    counting.log.add("PC-2", "k", 6, T)
    assert counting.step() == []  # two report now: that can wait for the tick
    assert counting.step(tick=True) == [("n", 0, 2)]
    counting.log.add("PC-1", "k", 6, T + 1)
    assert counting.step() == [("n", 1, 2)]
    counting.log.add("PC-1", "m", 5, T + 2)
    assert counting.step() == [("n", 0, 2)]


def test_any_instance_counts_or_the_named_one() -> None:
    counting = Counting(sensor("a", "m", "> 0"), notification("any", "a"), notification("one", ("a", "edge")))
    counting.sent(tick=True)
    counting.log.add("PC-1", "m", 1, T, instance="word")
    counting.log.add("PC-1", "m", 1, T, instance="excel")
    assert counting.step() == [("any", 1, 1)]
    counting.log.add("PC-1", "m", 1, T, instance="edge")
    assert counting.step() == [("one", 1, 1)]
    counting.log.add("PC-1", "m", 0, T + 1, instance="word")
    assert counting.step() == []  # excel and edge still count
    counting.log.add("PC-1", "m", 0, T + 1, instance="edge")
    assert counting.step() == [("one", 0, 1)]


def test_a_silent_system_leaves_both_counts_at_the_very_minute() -> None:
    counting = Counting(sensor("s", "m", "> 90"), notification("n", "s", reporting_within=15 * MINUTE))
    counting.sent(tick=True)
    counting.log.add("PC-1", "m", 95, T)
    counting.log.add("PC-2", "other", 1, T)
    assert counting.step(tick=True) == [("n", 1, 2)]
    counting.log.add("PC-2", "other", 1, T + 15 * MINUTE - 1, arrived=T + 15 * MINUTE)
    assert counting.step(tick=True) == []
    counting.log.add("PC-2", "other", 1, T + 15 * MINUTE, arrived=T + 15 * MINUTE)
    assert counting.step() == [("n", 0, 1)]  # younger than: strictly


def test_groups_go_by_pattern_and_by_the_newest_tags() -> None:
    counting = Counting(
        sensor("s", "m", "> 90"),
        group("fin", "FIN-*", site="Berlin"),
        notification("n", "s", group="fin"),
    )
    counting.sent(tick=True)
    counting.log.add("FIN-1", "m", 95, T, tags={"site": "Berlin"})
    counting.log.add("PC-1", "m", 95, T, tags={"site": "Berlin"})
    counting.log.add("FIN-2", "m", 95, T)
    assert counting.step() == [("n", 1, 1)]
    counting.log.add("FIN-2", "m", 95, T + 5, tags={"site": "Berlin"})
    assert counting.step() == [("n", 2, 2)]
    counting.log.add("FIN-1", "m", 95, T - 5, tags={"site": "Rome"})  # an older report says nothing
    counting.log.add("FIN-2", "m", 95, T + 6, tags={"site": "Rome"})
    assert counting.step() == [("n", 1, 1)]


def test_tags_survive_a_restart_with_or_without_a_checkpoint() -> None:
    records = (sensor("s", "m", "> 90"), group("g", site="Berlin"), notification("n", "s", group="g"))
    counting = Counting(*records)
    counting.log.add("PC-1", "m", 95, T, tags={"site": "Berlin"})
    counting.step()
    for with_checkpoint in (True, False):
        counting.cluster.step(with_checkpoint=with_checkpoint)
        engine = counting.cluster.begin(plan(*records))
        (tally,) = [one for _, _, one in TallyCounter(engine).due(0.0, tick=True)]
        assert (len(tally.matched), tally.reporting) == (1, 1)


def test_a_new_revision_is_sent_at_once_with_its_zeros() -> None:
    counting = Counting(sensor("s", "m", "> 90"), notification("n", "s"))
    (first,) = counting.sent(tick=True)
    counting.cluster.replan(plan(sensor("s", "m", "> 91"), notification("n", "s"), change=2))
    (second,) = counting.sent()
    assert second.revision != first.revision
    assert (second.matched, second.reporting) == (0, 0)
    assert (second.epoch, second.counter) > (first.epoch, first.counter)


def test_a_new_notification_on_a_triggered_sensor_counts_what_is_there() -> None:
    counting = Counting(sensor("s", "m", "> 90"))
    counting.log.add("PC-1", "m", 95, T)
    counting.step()
    counting.cluster.replan(plan(sensor("s", "m", "> 90"), notification("n", "s"), change=2))
    (tally,) = counting.sent()
    assert (tally.matched, tally.reporting, tally.systems) == (1, 1, ("PC-1",))


def test_all_tallies_are_sent_again_once_a_minute() -> None:
    counting = Counting(sensor("s", "m", "> 90"), notification("n", "s"))
    assert len(counting.sent(now=0.0, tick=True)) == 1
    assert counting.sent(now=EVERY - 1, tick=True) == []
    assert len(counting.sent(now=EVERY, tick=True)) == 1


def test_where_systems_match_and_a_for_may_be_over_the_detector_is_heard_more_often() -> None:
    counting = Counting(sensor("s", "m", "> 90"), notification("n", "s", for_=60_000), notification("k", "s"))
    counting.log.add("PC-1", "m", 95, T)
    counting.step(now=0.0, tick=True)
    assert counting.sent(now=EVERY_WHEN_WAITING - 1, tick=True) == []
    (again,) = counting.sent(now=EVERY_WHEN_WAITING, tick=True)
    assert (again.notification_id, again.matched) == ("n", 1)
    assert SILENT_AFTER_MS >= 2.5 * EVERY_WHEN_WAITING * 1000, "one that comes late is not yet a silence"
    assert SILENT_AT_ZERO_AFTER_MS >= 1.25 * EVERY * 1000


def test_versions_rise_and_the_epoch_with_every_beginning() -> None:
    records = (sensor("s", "m", "> 90"), notification("n", "s"))
    counting = Counting(*records)
    first = counting.sent(tick=True)[0]
    engine = counting.cluster.begin(plan(*records))
    again = TallyCounter(engine)
    second = again.take(again.due(0.0, tick=True), 7)[0]
    assert second.epoch == first.epoch + 1


def test_at_most_a_hundred_systems_are_listed() -> None:
    counting = Counting(sensor("s", "m", "> 90"), notification("n", "s"))
    for number in range(130):
        counting.log.add(f"PC-{number}", "m", 95, T)
    counting.cluster.step()
    (tally,) = counting.sent()
    assert (tally.matched, tally.total, len(tally.systems), tally.truncated) == (130, 130, 100, True)


def test_a_notification_whose_sensor_is_missing_is_not_counted() -> None:
    assert Counting(notification("n", "gone")).sent(tick=True) == []
