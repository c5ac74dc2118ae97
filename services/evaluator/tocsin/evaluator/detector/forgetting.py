"""Systems that have not been heard for so long that nobody waits for them any more."""

from __future__ import annotations

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


def _forget(engine: Engine, series: int, output: Output) -> None:
    table, plan = engine.series, engine.plan_of(series)
    states = table.states.pop(series)
    assert plan is not None
    owned = engine.owned[engine.partition_of(series)]
    for place, state in sorted(states.items()):
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
    engine.undraw(np.array([series], np.int64))
    engine.write_states(series, output)
