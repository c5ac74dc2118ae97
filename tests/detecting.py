"""What tests of the detector need: messages without a broker, and a log that can be cut anywhere."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from confluent_kafka import Message

from tocsin.evaluator.core.plan import Plan, make_plan
from tocsin.evaluator.detector import batch as kafka_batch
from tocsin.evaluator.detector.batch import Batch
from tocsin.evaluator.detector.checkpoint import checkpoint, partition_row, recover, write_edits
from tocsin.evaluator.detector.engine import Engine
from tocsin.evaluator.detector.forgetting import forget_named
from tocsin.evaluator.detector.output import Change, Output
from tocsin.evaluator.detector.parsing import Parser
from tocsin.evaluator.detector.restoring import changes_of
from tocsin.evaluator.detector.rows import Key, check_row, encode_key, encode_row
from tocsin.shared.configuration.condition import parse_condition
from tocsin.shared.configuration.records import Group, Notification, Record, Sensor, SensorUse, ThresholdSpec
from tocsin.shared.configuration.snapshot import Configuration
from tocsin.shared.partitioning import partition_for

ARRIVED = 1_764_064_900_000
CLOCK_AHEAD = 60_000


def sensor(id_: str, metric: str, trigger: str, clear: str | None = None, for_ms: int = 0, **more: Any) -> Sensor:
    condition = None if clear is None else parse_condition(clear)
    return Sensor(
        id=id_, name=more.pop("name", id_), metric=metric, trigger=parse_condition(trigger), clear=condition,
        for_=for_ms, **more,
    )  # fmt: skip


def notification(id_: str, *uses: str | tuple[str, str], group: str | None = None, **more: Any) -> Notification:
    return Notification(
        id=id_,
        name=id_,
        sensors=tuple(
            SensorUse(sensor_id=use) if isinstance(use, str) else SensorUse(sensor_id=use[0], instance=use[1])
            for use in uses
        ),
        group_id=group,
        threshold=ThresholdSpec(value=1, is_percent=False),
        recipient_ids=("r",),
        **more,
    )


def group(id_: str, *systems: str, **tags: str) -> Group:
    return Group(id=id_, name=id_, systems=systems, tags=tags)


def configuration(*records: Record, change: int = 1) -> Configuration:
    return Configuration.of(change, {f"{record.kind}/{record.id}": record for record in records})


def plan(*records: Record, change: int = 1) -> Plan:
    return make_plan(configuration(*records, change=change))


def reading(system: str, metric: str, value: Any, time: int, **more: Any) -> bytes:
    return json.dumps(
        {"system": system, "metric": metric, "value": value, "time": time, **more}, separators=(",", ":")
    ).encode()


@dataclass
class Log:
    """`sensor-readings` in memory."""

    partitions: int = 2
    records: list[list[Message]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.records = [[] for _ in range(self.partitions)]

    def append(
        self, value: bytes | None, key: bytes | None, partition: int | None = None, arrived: int = ARRIVED
    ) -> None:
        at = partition_for(key or b"", self.partitions) if partition is None else partition
        offset = len(self.records[at])
        self.records[at].append(
            Message(
                topic="sensor-readings",
                partition=at,
                offset=offset,
                key=key,
                value=value,
                timestamp=(2, arrived),
                headers=None,
            )
        )

    def add(self, system: str, metric: str, value: Any, time: int, arrived: int = ARRIVED, **more: Any) -> None:
        self.append(reading(system, metric, value, time, **more), system.encode(), arrived=arrived)

    def since(self, offsets: dict[int, int], most: int = 1 << 30) -> list[Message]:
        """The next records of all partitions, up to `most`, partition by partition."""
        found: list[Message] = []
        for at, records in enumerate(self.records):
            found += records[offsets.get(at, 0) :][: most - len(found)]
        return found


@dataclass
class Cluster:
    """What the broker would keep: rows, offsets, changes. A detector can be begun from it again and again."""

    log: Log
    rows: dict[int, dict[Key, bytes]] = field(default_factory=dict)
    offsets: dict[int, int] = field(default_factory=dict)
    changes: list[Change] = field(default_factory=list)
    rejected: list[tuple[kafka_batch.Record, Any]] = field(default_factory=list)
    parser: Parser | None = None
    engine: Engine | None = None

    def begin(self, made: Plan) -> Engine:
        """As a process does: nothing but what is kept counts."""
        engine = Engine(made, self.log.partitions)
        self.parser = Parser(self.log.partitions, CLOCK_AHEAD)
        parser = Parser(self.log.partitions, CLOCK_AHEAD)
        rows = {at: self.rows.get(at, {}) for at in range(self.log.partitions)}

        def replay() -> None:
            starts = {at: owned.checkpoint for at, owned in engine.owned.items()}
            for at, start in starts.items():
                records = self.log.records[at][start : self.offsets.get(at, 0)]
                if records:
                    engine.take(parser.parse(Batch.of(records, 0), engine.known), judge=False)

        output = recover(engine, rows, replay)
        for at, owned in engine.owned.items():
            owned.next_offset = self.offsets.get(at, 0)
            owned.epoch += 1
            partition_row(engine, at, output)
        output.merge(forget_named(engine, changes_of(rows)))
        write_edits(engine, changes_of(rows), output)
        self.engine = engine
        self.commit(output)
        return engine

    def step(self, most: int = 1 << 30, with_checkpoint: bool = False) -> Output:
        """One batch and its transaction."""
        engine, parser = self.engine, self.parser
        assert engine is not None
        assert parser is not None
        messages = self.log.since(self.offsets, most)
        output = engine.take(parser.parse(Batch.of(messages, 0), engine.known)) if messages else Output()
        if with_checkpoint:
            checkpoint(engine, output)
        for at in engine.owned:
            partition_row(engine, at, output)
        self.commit(output)
        return output

    def tick(self) -> Output:
        """All has been read: what is due fires."""
        assert self.engine is not None
        output = self.engine.fire_timers({at: owned.time.now for at, owned in self.engine.owned.items()})
        self.commit(output)
        return output

    def replan(self, made: Plan) -> Output:
        assert self.engine is not None
        before = dict.fromkeys(self.engine.owned, self.engine.plan.change)
        output = self.engine.replan(made)
        output.merge(forget_named(self.engine, before))
        if self.engine.windowed:
            checkpoint(self.engine, output)
        for at in self.engine.owned:
            partition_row(self.engine, at, output)
        self.commit(output)
        return output

    def commit(self, output: Output) -> None:
        self.changes += output.changes
        self.rejected += output.rejected
        self.offsets.update(output.offsets)
        for partition, rows in output.rows.items():
            kept = self.rows.setdefault(partition, {})
            for key, row in rows.items():
                again = check_row(encode_key(key), None)
                if row is None:
                    kept.pop(again, None)
                else:
                    kept[again] = encode_row(row)

    def run(self, made: Plan) -> list[Change]:
        """From the beginning to the end of the log, uninterrupted."""
        self.begin(made)
        self.step()
        return self.changes


def shown(changes: Iterable[Change]) -> list[tuple[str, str, int, str]]:
    """Sensor, system, time in seconds, ON or OFF."""
    return [
        (change.sensor_id, change.system, change.time // 1000, "ON" if change.state == "triggered" else "OFF")
        for change in changes
    ]
