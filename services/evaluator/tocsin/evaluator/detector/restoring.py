"""From what the broker keeps to an engine that can go on: rows, then what was read since the checkpoint."""

from __future__ import annotations

from collections.abc import Mapping

from tocsin.evaluator.core.plan import Plan, make_plan
from tocsin.evaluator.detector.batch import Batch
from tocsin.evaluator.detector.checkpoint import partition_row, recover, write_edits
from tocsin.evaluator.detector.engine import Engine
from tocsin.evaluator.detector.forgetting import forget_named
from tocsin.evaluator.detector.inbox import Assignment
from tocsin.evaluator.detector.output import Output
from tocsin.evaluator.detector.parsing import Parser
from tocsin.evaluator.detector.rows import PARTITION_KEY, Key, PartitionRow, decode_row
from tocsin.evaluator.detector.settings import DetectorSettings
from tocsin.evaluator.detector.state_reader import StateReader
from tocsin.shared.configuration.snapshot import Configuration
from tocsin.shared.errors import BrokerError, TopicError
from tocsin.shared.topics import SENSOR_READINGS

Rows = dict[int, dict[Key, bytes]]


class Restorer:
    """`partitions`: how many `sensor-readings` has."""

    def __init__(self, settings: DetectorSettings, partitions: int, reader: StateReader) -> None:
        self._settings = settings
        self._partitions = partitions
        self._reader = reader
        self._topic = settings.topic(SENSOR_READINGS)

    def restore(self, assignment: Assignment, configuration: Configuration, now_ms: int) -> tuple[Engine, Output]:
        """The engine, and what raises its epochs: to be written, with the offsets, before anything else.

        Raises KafkaException and BrokerError (try again), TopicError (refuse to run).
        """
        rows = self._reader.rows(assignment.offsets)
        self._check_partitions(rows)
        engine = Engine(self._plan(rows, configuration), self._partitions)
        start: dict[int, int] = {}

        def replay() -> None:
            start.update(self._start(engine, assignment))
            self._replay(engine, start)

        output = recover(engine, rows, replay)
        for partition, owned in engine.owned.items():
            owned.next_offset = output.offsets[partition] = start[partition]
            owned.epoch += 1
            if owned.time.alive_at is None:
                owned.time.alive_at = now_ms
            partition_row(engine, partition, output)
        since = changes_of(rows)
        output.merge(forget_named(engine, since))
        write_edits(engine, since, output)
        return engine, output

    def _start(self, engine: Engine, assignment: Assignment) -> dict[int, int]:
        """The committed offsets. The group's may have expired; ours say the same."""
        start = {
            at: engine.owned[at].next_offset if offset is None else offset for at, offset in assignment.offsets.items()
        }
        unknown = [at for at, offset in start.items() if offset == 0]
        return {**start, **self._reader.first_offsets(self._topic, unknown)}

    def _check_partitions(self, rows: Rows) -> None:
        for found in rows.values():
            data = found.get(PARTITION_KEY)
            if data is not None and (made := decode_row(PartitionRow, data).partitions) != self._partitions:
                raise TopicError(
                    f"{self._topic} has {self._partitions} partitions, but the detector's state was made with {made}; "
                    f"stop all detectors, then run: tocsin topics grow --to {self._partitions} --start-over"
                )

    def _plan(self, rows: Rows, configuration: Configuration) -> Plan:
        """A detector that has not yet seen an edit must not take what came after it for edited."""
        wanted = max(changes_of(rows).values(), default=0)
        if configuration.change < wanted:
            raise BrokerError(f"waiting for change {wanted} of the configuration")
        return make_plan(configuration)

    def _replay(self, engine: Engine, ends: dict[int, int]) -> None:
        starts = {at: owned.checkpoint for at, owned in engine.owned.items()}
        parser = Parser(self._partitions, self._settings.detector_clock_ahead)
        for messages in self._reader.read(self._topic, starts, ends):
            if messages:
                engine.take(parser.parse(Batch.of(messages), engine.known), judge=False)


def changes_of(rows: Mapping[int, Mapping[Key, bytes]]) -> dict[int, int]:
    """Which change of the configuration each partition was judged by last."""
    return {
        partition: decode_row(PartitionRow, found[PARTITION_KEY]).change
        for partition, found in rows.items()
        if PARTITION_KEY in found
    }
