"""What detectors and activators must have published, from their input logs alone: slowly and obviously."""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from confluent_kafka import Message

from tocsin.evaluator.core.activation import Place
from tocsin.evaluator.core.activation_partition import Record, Taken, take
from tocsin.evaluator.core.activation_row import Row
from tocsin.evaluator.core.notification import Rulebook
from tocsin.shared.configuration.records import Sensor

Change = tuple[str, float, int]
"""State, value, time."""


@dataclass
class SlowSensor:
    """A sensor with trigger, clear, `for` and `keep` on one series, reading by reading."""

    sensor: Sensor
    on: bool = False
    since: int | None = None  # the trigger holds since then
    kept: tuple[float, int] | None = None  # the last value, and until when it is kept though clear holds
    changes: list[Change] = field(default_factory=list)

    def judge(self, value: float, time: int) -> None:
        triggers = self.sensor.trigger.holds(value)
        clears = not triggers and (self.sensor.clear is None or self.sensor.clear.holds(value))
        self.pass_to(time - 1)
        if self.on:
            if clears and self.sensor.keep:
                self.kept = (value, time + self.sensor.keep if self.kept is None else self.kept[1])
            elif clears:
                self._clear(value, time)
            else:
                self.kept = None
        elif not triggers:
            self.since = None
        else:
            self.since = time if self.since is None else self.since
            if time >= self.since + self.sensor.for_:
                self.on = True
                self.changes.append(("triggered", value, time))

    def pass_to(self, time: float) -> None:
        """What is due by then."""
        if self.kept is not None and self.kept[1] <= time:
            self._clear(*self.kept)

    def _clear(self, value: float, time: int) -> None:
        self.on, self.since, self.kept = False, None, None
        self.changes.append(("clear", value, time))


class SlowDetector:
    """All sensors on all series; of a metric with instances each is called system/instance."""

    def __init__(self, sensors: Iterable[Sensor]) -> None:
        self._by_metric: dict[str, list[Sensor]] = defaultdict(list)
        for sensor in sensors:
            self._by_metric[sensor.metric].append(sensor)
        self.states: dict[tuple[str, str], SlowSensor] = {}  # by sensor and series
        self._newest: dict[tuple[str, str], tuple[int, set[float]]] = {}
        self.systems: set[str] = set()

    def read(self, messages: Iterable[Message]) -> SlowDetector:
        """In the order of the log, and then until all timers have fired."""
        for message in messages:
            found = json.loads(message.value() or b"{}")
            system, instance = found["system"], found.get("instance")
            self.systems.add(system)
            series = system if instance is None else f"{system}/{instance}"
            self._take(series, found["metric"], float(found["value"]), found["time"])
        for state in self.states.values():
            state.pass_to(math.inf)
        return self

    def _take(self, series: str, metric: str, value: float, time: int) -> None:
        newest, seen = self._newest.get((series, metric), (-1, set()))
        if time < newest or (time == newest and value in seen):
            return  # late, or a repeat
        self._newest[series, metric] = (time, {value} if time > newest else seen | {value})
        for sensor in self._by_metric[metric]:
            state = self.states.setdefault((sensor.id, series), SlowSensor(sensor))
            state.judge(value, time)

    def changes(self) -> dict[tuple[str, str], list[Change]]:
        return {key: state.changes for key, state in self.states.items() if state.changes}

    def matching(self, sensor_ids: Iterable[str]) -> set[str]:
        """The systems on which all of these sensors are triggered."""
        ids = list(sensor_ids)
        on = {key for key, state in self.states.items() if state.on}
        return {system for system in self.systems if all((id_, system) in on for id_ in ids)}

    def matched(self, sensor_ids: Iterable[str]) -> int:
        return len(self.matching(sensor_ids))


def fold_of_tallies(messages: Iterable[Message], partitions: int, book: Rulebook) -> dict[str, list[bytes]]:
    """The events that follow from the tally log read once, by notification, in order."""
    rows: dict[int, dict[str, Row]] = defaultdict(dict)
    sent: dict[str, int] = {}
    found: dict[str, list[bytes]] = defaultdict(list)
    for message in messages:
        partition, offset = message.partition(), message.offset()
        assert partition is not None
        assert offset is not None
        key, value = message.key(), message.value()
        assert not isinstance(key, str)
        record = Record(key, value, Place(partition, offset, message.timestamp()[1]))
        more = True
        while more:
            taken = take(record, partitions, rows[partition], sent, book)
            more = isinstance(taken, Taken) and taken.more
            for write in taken.writes if isinstance(taken, Taken) else ():
                assert write.row is not None, "a notification was forgotten"
                rows[partition][write.notification_id] = write.row
                sent[write.notification_id] = write.row.number
                found[write.notification_id] += [event.event.encode() for event in write.events if event.event]
    return dict(found)


def folded(messages: Iterable[Message]) -> dict[str, list[bytes]]:
    """The events on their topic by notification, each id where it first came."""
    seen: dict[str, bytes] = {}
    found: dict[str, list[bytes]] = defaultdict(list)
    for message in messages:
        value = message.value() or b""
        event: Mapping[str, object] = json.loads(value)
        id_, notification = str(event["id"]), event["notification"]
        assert isinstance(notification, Mapping)
        if id_ not in seen:
            found[str(notification["id"])].append(value)
        assert seen.setdefault(id_, value) == value, "one id, two contents"
    return dict(found)
