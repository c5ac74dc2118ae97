"""Systems that nobody waits for any more: not heard for so long, or gone for good, as somebody has said."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from tocsin.evaluator.core.sensor import SHOWN_CLEAR, shown
from tocsin.evaluator.core.sensor_event import Standing
from tocsin.evaluator.detector.changes import change_to_clear
from tocsin.evaluator.detector.checkpoint import checkpoint
from tocsin.evaluator.detector.engine import Engine
from tocsin.evaluator.detector.output import Output
from tocsin.evaluator.detector.rows import sensor_row
from tocsin.evaluator.detector.tables import NO_TIME


def forget_silent(engine: Engine) -> Output:
    """In the partitions that are live: `clear` where a sensor was not, tombstones, and the series begin anew.

    Others wait: a partition that is behind may still have a reading of the system.
    """
    output = Output()
    table, systems = engine.series, engine.systems
    numbers = np.fromiter(table.states, np.int64, len(table.states))
    if not len(numbers):
        return output
    horizons = np.full(engine.partitions, NO_TIME, np.int64)
    for partition, owned in engine.owned.items():
        if owned.time.is_live:
            horizons[partition] = owned.time.horizon(engine.plan.forget_after)
    system = table.system[numbers]
    gone = systems.heard[system] <= horizons[systems.partition[system]]
    forgotten = np.sort(numbers[gone & (systems.heard[system] != NO_TIME)]).tolist()
    for series in forgotten:
        _forget(engine, series, output)
    if forgotten:
        # Or a start would read their last readings again, and wait for them anew.
        checkpoint(engine, output)
    return output


def forget_named(engine: Engine, since: Mapping[int, int]) -> Output:
    """Systems that somebody has said are gone for good, in changes of the configuration after `since` (by partition).

    What is still unread of such a system begins it anew, as any reading does.
    """
    output = Output()
    engine.adopt()
    numbers = {
        number
        for gone in engine.plan.gone
        for number in map(engine.systems.names.numbers.get, gone.systems)
        if number is not None
        and (partition := int(engine.systems.partition[number])) in engine.owned
        and since.get(partition, gone.change) < gone.change
    }
    if not numbers:
        return output
    table = engine.series
    theirs = np.isin(table.system[: table.size], np.fromiter(numbers, np.int64, len(numbers)))
    for series in np.flatnonzero(theirs).tolist():
        _forget(engine, series, output)
    for number in sorted(numbers):
        _forget_system(engine, number, output)
    checkpoint(engine, output)
    return output


def _forget_system(engine: Engine, number: int, output: Output) -> None:
    systems = engine.systems
    systems.heard[number] = systems.tags_at[number] = NO_TIME
    systems.dirty[number] = True
    if systems.tags.pop(number, None) is not None:
        output.row(int(systems.partition[number]), ("tags", systems.names.names[number]), None)
        engine.population.retag(number)


def _forget(engine: Engine, series: int, output: Output) -> None:
    table, plan = engine.series, engine.plan_of(series)
    states = table.states.pop(series, {})
    owned = engine.owned[engine.partition_of(series)]
    for place, state in sorted(states.items()):
        assert plan is not None
        sensor = plan.sensors[place]
        if shown(state) != SHOWN_CLEAR:
            row, why = sensor_row(sensor, state), {sensor.id: sensor.name}
            change = change_to_clear(row, state, engine.describe(series), owned.time.now, ("forgotten", why))
            output.changes.append(change)
        engine.stand(sensor.id, series, Standing(), output)
    table.windows.pop(series, None)
    table.rings.drop_if_there(series)
    table.newest[series], table.tied[series], table.dirty[series] = NO_TIME, False, True
    table.ties.pop(series, None)
    if plan is not None:
        engine.undraw(np.array([series], np.int64))
    engine.write_states(series, output)
