"""What a batch's moves mean to the world: changes in order of arrival, who stands how, and rows of the series."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Any

import numpy as np
from msgspec import Struct

from tocsin.evaluator.core.plan import MetricPlan, Plan, PlannedSensor
from tocsin.evaluator.core.population import Population
from tocsin.evaluator.core.sensor_event import SensorEvent, Standing, event_of, standing
from tocsin.evaluator.core.series import Moved
from tocsin.evaluator.core.steps import Turn
from tocsin.evaluator.detector.batch import Batch
from tocsin.evaluator.detector.changes import Place, SeriesName, change_of
from tocsin.evaluator.detector.columns import Columns, Ints
from tocsin.evaluator.detector.judging import Judged, Move, Stepped
from tocsin.evaluator.detector.knowledge import Knowledge
from tocsin.evaluator.detector.output import Change, Output, Stood
from tocsin.evaluator.detector.rows import VERSION, SeriesRow, sensor_row


@dataclass(frozen=True)
class NumberedRows:
    """Readings of a batch with their numbers, in order of arrival."""

    columns: Columns
    series: Ints
    partition: Ints


class _Told(Struct, frozen=True, gc=False):
    """What is the same each time a sensor takes a turn."""

    sensor: PlannedSensor
    event: SensorEvent
    standing: Standing


class Announcing(Knowledge):
    """Of a batch's moves, and of what else happens to a sensor on a series."""

    def __init__(self, plan: Plan, partitions: int) -> None:
        super().__init__(plan, partitions)
        self.population = Population(plan, self.systems.describe)
        self._rows_there: set[int] = set()  # series with a row in the changelog
        self._told: dict[Turn, _Told] = {}

    def take_plan(self, plan: Plan) -> list[tuple[MetricPlan | None, MetricPlan | None]]:
        self._told = {}
        return super().take_plan(plan)

    def publish_moves(self, judged: Judged, rows: NumberedRows, batch: Batch, output: Output) -> None:
        """All that a batch has done to sensors."""
        found: Sequence[Stepped | Move] = judged.steps
        if judged.moves:
            found = sorted([*judged.steps, *judged.moves], key=attrgetter("row"))
        if not found:
            return
        at = np.array([one.row for one in found], np.int64)
        message = rows.columns.message[at]
        places = _lists(batch.partition[message], batch.offset[message], rows.columns.within[at])
        readings = _lists(rows.columns.time[at], rows.columns.value[at])
        number = rows.series[at]
        names = self._names(number)
        for one, place, reading, name, system in zip(
            found,
            zip(*places, strict=True),
            zip(*readings, strict=True),
            names,
            self.series.system[number].tolist(),
            strict=True,
        ):
            if isinstance(one, Move):
                self.publish(one.series, one.moved, place, output)
            else:
                self._publish_step(one, place, reading, (system, name), output)
        for series, name in dict(zip(number.tolist(), names, strict=True)).items():
            self._write_states(series, name, output)

    def _names(self, series: Ints) -> list[SeriesName]:
        """As `describe` gives them, of many."""
        systems, metrics, instances = self.systems.names.names, self.metrics.names, self.instances.names
        table = self.series
        numbers = table.system[series].tolist(), table.metric[series].tolist(), table.instance[series].tolist()
        return [
            (systems[system], metrics[metric], None if instance < 0 else instances[instance])
            for system, metric, instance in zip(*numbers, strict=True)
        ]

    def _publish_step(
        self, step: Stepped, place: Place, reading: tuple[int, float], where: tuple[int, SeriesName], output: Output
    ) -> None:
        """As `publish` does it with what the core says of a move. `where`: the system's number, and the names."""
        told = self._told.get(step.turn) or self._tell(step)
        sensor, event, (system, name) = told.sensor, told.event, where
        output.changes.append(
            Change(
                sensor.id,
                sensor.name,
                sensor.revision,
                *name,
                event.state,
                event.level,
                event.previous,
                event.previous_level,
                reading[1],
                reading[0],
                event.condition,
                "reading",
                place,
                step.since,
            )
        )
        self.population.change(sensor.id, system, name[2], told.standing)
        output.stood.append(Stood(sensor.id, system, name[2], told.standing, None, place))

    def _tell(self, step: Stepped) -> _Told:
        plan = self.plan_of(step.series)
        assert plan is not None
        sensor, moved = plan.sensors[step.turn.place], step.turn.moved
        event = event_of(sensor, moved)
        assert event is not None, "a step changes a level, which is seen"
        told = self._told[step.turn] = _Told(sensor, event, standing(moved.after))
        return told

    def publish(self, series: int, moved: Moved, place: Place | None, output: Output) -> None:
        """One move, as the core has said it."""
        plan = self.plan_of(series)
        assert plan is not None
        sensor = plan.sensors[moved.place]
        change = change_of(sensor, self.describe(series), moved, place)
        if change is not None:
            output.changes.append(change)
        stands = standing(moved.after)
        if stands != standing(moved.before):
            self.stand(sensor.id, series, stands, output, (moved.due, place if moved.due is None else None))

    def stand(
        self,
        sensor_id: str,
        series: int,
        stands: Standing,
        output: Output,
        by: tuple[int | None, Place | None] = (None, None),
    ) -> None:
        """A sensor stands so on a series from now on. `by`: due time of a timer, or place of a reading."""
        _, _, instance = self.describe(series)
        system = int(self.series.system[series])
        self.population.change(sensor_id, system, instance, stands)
        output.stood.append(Stood(sensor_id, system, instance, stands, *by))

    def write_states(self, series: int, output: Output) -> None:
        """The row of a series as it is now, or a tombstone."""
        self._write_states(series, self.describe(series), output)

    def _write_states(self, series: int, name: SeriesName, output: Output) -> None:
        states = self.series.states.get(series)
        if states and (plan := self.plan_of(series)) is not None:
            sensors = [sensor_row(plan.sensors[place], state) for place, state in sorted(states.items())]
            output.row(self.partition_of(series), ("series", *name), SeriesRow(VERSION, sensors))
            self._rows_there.add(series)
        elif series in self._rows_there:
            output.row(self.partition_of(series), ("series", *name), None)
            self._rows_there.discard(series)


def _lists(*columns: np.ndarray) -> list[list[Any]]:
    return [column.tolist() for column in columns]
