"""Notifications of a back-test against a model that counts everybody anew at every instant there can be."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal

import numpy as np
from hypothesis import example, given, settings
from hypothesis import strategies as st

from detecting import configuration, group, notification, sensor
from tocsin.evaluator.backtest.events import Event, NotificationEvent, SensorEvent
from tocsin.evaluator.backtest.recording import Block, Recording
from tocsin.evaluator.backtest.run import Run
from tocsin.shared.configuration.records import Notification, ThresholdSpec
from tocsin.shared.configuration.sensor_options import NoDataSpec

WITHIN = (7, 10)
SYSTEMS = ("A", "B", "C")


@dataclass(frozen=True)
class Reading:
    time: int
    system: str
    metric: str
    instance: str | None
    value: float
    tags: Mapping[str, str] | None


def rule(id_: str, *uses: str | tuple[str, str], threshold: str, within: int, **more: str) -> Notification:
    spec = ThresholdSpec(value=Decimal(threshold.removesuffix("%")), is_percent=threshold.endswith("%"))
    return notification(id_, *uses, **more).model_copy(update={"threshold": spec, "reporting_within": within})


RULES = (
    rule("one", "high", threshold="1", within=7),
    rule("both", "high", "other", threshold="1", within=10),
    rule("instance", ("high", "x"), threshold="1", within=10),
    rule("half", "high", threshold="50%", within=7),
    rule("tagged", "high", threshold="33.4%", within=10, group="red"),
    rule("named", "other", threshold="2", within=10, group="ab"),
)
SILENT = (
    rule("gone", "gone", threshold="50%", within=7),
    rule("gone and high", "gone", "high", threshold="1", within=3),
    rule("gone of the red", "gone", threshold="34%", within=3, group="red"),
)
RECORDS = (sensor("high", "m", "> 50"), sensor("other", "n", "> 50"), group("red", colour="red"), group("ab", "[AB]"))
AFTER = 5
GONE = sensor("gone", "m", "> 100").model_copy(update={"no_data": NoDataSpec(after=AFTER, then="trigger")})


@dataclass
class Model:
    """Everything looked at from scratch, at every instant."""

    heard: dict[str, int] = field(default_factory=dict)
    newest: dict[tuple[str, str, str | None], tuple[int, set[float]]] = field(default_factory=dict)
    on: set[tuple[str, str, str | None]] = field(default_factory=set)
    tags: dict[str, tuple[int, Mapping[str, str]]] = field(default_factory=dict)
    rules: tuple[Notification, ...] = RULES
    silent: set[tuple[str, str | None]] = field(default_factory=set)
    active: set[str] = field(default_factory=set)
    told: list[tuple[int, str, str, int, int, tuple[str, ...]]] = field(default_factory=list)
    changes: list[tuple[int, str, str | None, str]] = field(default_factory=list)

    def run(self, readings: list[Reading]) -> None:
        clock, instants = 0, {}
        for one in readings:
            clock = max(clock, one.time)
            instants.setdefault(clock, []).append(one)
        before = -1
        for now, arrived in instants.items():
            for between in range(before + 1, now):
                self.fire(between)
                self.judge(between)
            for one in arrived:
                self.take(one)
            self.fire(now)
            self.judge(now)
            before = now

    def fire(self, now: int) -> None:
        for (system, metric, instance), (newest, _) in self.newest.items() if self.rules is not RULES else ():
            if metric == "m" and newest + AFTER == now and (system, instance) not in self.silent:
                self.silent.add((system, instance))
                self.changes.append((now, "gone", system, instance, "triggered"))

    def take(self, one: Reading) -> None:
        self.heard[one.system] = max(self.heard.get(one.system, -1), one.time)
        if one.tags is not None and one.time >= self.tags.get(one.system, (-1, {}))[0]:
            self.tags[one.system] = (one.time, one.tags)
        series = (one.system, one.metric, one.instance)
        newest, values = self.newest.get(series, (-1, set()))
        if one.time < newest or (one.time == newest and one.value in values):
            return
        self.newest[series] = (one.time, {one.value} | (values if one.time == newest else set()))
        if one.metric == "m" and (one.system, one.instance) in self.silent:
            self.silent.discard((one.system, one.instance))
            self.changes.append((one.time, "gone", one.system, one.instance, "clear"))
        if (one.value > 50) is not (series in self.on):
            (self.on.add if one.value > 50 else self.on.discard)(series)
            name = "high" if one.metric == "m" else "other"
            state = "triggered" if one.value > 50 else "clear"
            self.changes.append((one.time, name, one.system, one.instance, state))

    def judge(self, now: int) -> None:
        for one in self.rules:
            silent = {system for system, _ in self.silent} if one in SILENT else set()
            members = [
                system
                for system, heard in sorted(self.heard.items())
                if (heard + one.reporting_within > now or system in silent) and self.is_member(one, system)
            ]
            matched = tuple(system for system in members if self.matches(one, system))
            limit = one.threshold.value
            if one.threshold.is_percent:
                over = bool(members) and len(matched) * 100 >= limit * len(members)
            else:
                over = len(matched) >= limit
            if over is not (one.id in self.active):
                (self.active.add if over else self.active.discard)(one.id)
                state = "activated" if over else "resolved"
                self.told.append((now, one.id, state, len(matched), len(members), matched))

    def is_member(self, one: Notification, system: str) -> bool:
        if one.group_id == "red":
            return self.tags.get(system, (0, {}))[1].get("colour") == "red"
        return one.group_id is None or system in "AB"

    def matches(self, one: Notification, system: str) -> bool:
        metrics = {"high": "m", "other": "n"}
        return all(
            any(one == system for one, _ in self.silent)
            if use.sensor_id == "gone"
            else any(
                (system, metrics[use.sensor_id], instance) in self.on
                for instance in ((None, "x") if use.instance is None else (use.instance,))
            )
            for use in one.sensors
        )


READINGS = st.lists(
    st.builds(
        Reading,
        time=st.integers(0, 60),
        system=st.sampled_from(SYSTEMS),
        metric=st.sampled_from("mn"),
        instance=st.sampled_from([None, None, "x"]),
        value=st.sampled_from([10.0, 60.0, 60.0, 70.0]),
        tags=st.sampled_from([None, None, None, {"colour": "red"}, {"colour": "blue"}, {}]),
    ),
    max_size=30,
)


def recording(run: Run, readings: list[Reading], sort: bool) -> Recording:
    known = run.known
    block = Block(
        np.array([known.systems.add(one.system) for one in readings], np.int64),
        np.array([known.metrics.add(one.metric) for one in readings], np.int64),
        np.array([-1 if one.instance is None else known.instances.add(one.instance) for one in readings], np.int64),
        np.array([one.value for one in readings], np.float64),
        np.array([one.time for one in readings], np.int64),
        {row: (one.time, one.tags) for row, one in enumerate(readings) if one.tags},
    )
    return Recording.by_time([block]) if sort else Recording.as_it_came([block])


def told(events: list[Event]) -> list[tuple[int, str, str, int, int, tuple[str, ...]]]:
    found = [
        (one.time, one.notification, one.state, one.matched, one.reporting, one.systems)
        for one in events
        if isinstance(one, NotificationEvent)
    ]
    return sorted(found)


@given(READINGS, st.booleans(), st.sampled_from([1, 2, 5, 100]))
@example([Reading(0, "A", "m", None, 60.0, None), Reading(7, "B", "m", None, 10.0, None)], True, 1)
@example([Reading(0, "A", "m", None, 60.0, None), Reading(7, "A", "m", None, 60.0, None)], True, 1)
@example([Reading(9, "B", "m", None, 60.0, None), Reading(0, "A", "m", None, 60.0, None)], False, 100)
@settings(max_examples=120, deadline=None)
def test_a_back_test_judges_as_counting_everybody_at_every_instant_does(
    readings: list[Reading], sort: bool, chunk: int
) -> None:
    # Out of order, a timer of one series may be seen a reading of another too late.
    rules = (*RULES, *SILENT) if sort else RULES
    run = Run(configuration(*RECORDS, *rules, *([GONE] if sort else [])), chunk)
    # Empty tags on the wire are no tags.
    given_readings = [one if one.tags else Reading(one.time, *_rest(one), None) for one in readings]
    events = list(run.events(recording(run, given_readings, sort)))
    model = Model(rules=rules)
    model.run(sorted(given_readings, key=lambda one: one.time) if sort else given_readings)
    assert told(events) == sorted(model.told)
    changes = [
        (one.time, one.sensor, one.system, one.instance, one.state) for one in events if isinstance(one, SensorEvent)
    ]
    assert sorted(changes, key=repr) == sorted(model.changes, key=repr)
    assert not sort or [one.time for one in events] == sorted(one.time for one in events)


def _rest(one: Reading) -> tuple[str, str, str | None, float]:
    return one.system, one.metric, one.instance, one.value
