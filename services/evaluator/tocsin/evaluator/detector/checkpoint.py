"""When each series and system was last heard, written now and then, and the way back from rows to an engine.

These times move with every reading, so they are not written with every reading. They depend on nothing but the
readings themselves, so a start takes the newest checkpoint and reads again what came after it, up to the committed
offset, without judging it: then they are what they were. Whatever a checkpoint holds may be read again: a reading
that has been taken in changes nothing the second time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import numpy as np

from tocsin.evaluator.core.partition_time import PartitionTime
from tocsin.evaluator.core.sensor_event import standing
from tocsin.evaluator.detector.columns import Ints
from tocsin.evaluator.detector.engine import Engine, Partition
from tocsin.evaluator.detector.output import Output
from tocsin.evaluator.detector.rows import (
    CHUNK,
    PARTITION_KEY,
    VERSION,
    Key,
    OrderRow,
    PartitionRow,
    SeriesRow,
    SystemsRow,
    TagsRow,
    WindowsRow,
    decode_row,
    encode_row,
    state_of,
)
from tocsin.evaluator.detector.tables import chunk_of
from tocsin.evaluator.detector.window_rows import empty_new_windows, read_windows, write_windows

_CHUNK_BITS = 32


def partition_row(engine: Engine, partition: int, output: Output) -> None:
    """Time, epoch and checkpoint of one partition."""
    owned = engine.owned[partition]
    time = owned.time
    output.row(
        partition,
        PARTITION_KEY,
        PartitionRow(
            VERSION,
            engine.partitions,
            owned.epoch,
            owned.next_offset,
            owned.checkpoint,
            engine.plan.change,
            time.now,
            time.alive_at,
            list(time.outages),
            list(time.unreached),
        ),
    )


def checkpoint(engine: Engine, output: Output) -> None:
    """Rows of all that has moved since the last one."""
    systems, series = engine.systems, engine.series
    for partition, chunk in _chunks_of(systems.dirty, systems.slot, systems.partition, systems.size):
        if partition in engine.owned:  # a misplaced system may be known of another
            members = chunk_of(systems.of_partition, partition, chunk, CHUNK)
            output.row(partition, ("systems", chunk), encode_row(_systems_row(engine, members)))
    partition_of = systems.partition[series.system]
    for partition, chunk in _chunks_of(series.dirty, series.slot, partition_of, series.size):
        members = chunk_of(series.of_partition, partition, chunk, CHUNK)
        output.row(partition, ("order", chunk), encode_row(_order_row(engine, members)))
        write_windows(engine, (partition, chunk), members, output)
    systems.dirty[:] = False
    series.dirty[:] = False
    for number in [number for number in series.ties if not series.tied[number]]:
        del series.ties[number]
    for number, owned in engine.owned.items():
        if owned.checkpoint != owned.next_offset:
            owned.checkpoint = owned.next_offset
            partition_row(engine, number, output)


def _chunks_of(dirty: np.ndarray, slot: Ints, partition: Ints, size: int) -> list[tuple[int, int]]:
    rows = np.flatnonzero(dirty[:size])
    found = np.unique(partition[rows] << _CHUNK_BITS | slot[rows] // CHUNK)  # as pairs they would be sorted slowly
    return [(one >> _CHUNK_BITS, one & (1 << _CHUNK_BITS) - 1) for one in found.tolist()]


def _systems_row(engine: Engine, members: Ints) -> SystemsRow:
    systems = engine.systems
    names = [systems.names.names[number] for number in members.tolist()]
    return SystemsRow(VERSION, names, _bytes(systems.heard[members]), _bytes(systems.tags_at[members]))


def _order_row(engine: Engine, members: Ints) -> OrderRow:
    table = engine.series
    systems, instances = engine.systems.names.names, engine.instances.names
    metrics, places = np.unique(table.metric[members], return_inverse=True)
    series = list(
        zip(
            [systems[number] for number in table.system[members].tolist()],
            places.tolist(),
            [None if number < 0 else instances[number] for number in table.instance[members].tolist()],
            strict=True,
        )
    )
    ties = {place: table.ties[int(members[place])] for place in np.flatnonzero(table.tied[members]).tolist()}
    newest, last = _bytes(table.newest[members]), _bytes(table.last[members])
    return OrderRow(VERSION, [engine.metrics.names[metric] for metric in metrics.tolist()], series, newest, last, ties)


def _bytes(column: np.ndarray) -> bytes:
    return column.astype(column.dtype.newbyteorder("<")).tobytes()


def _ints(data: bytes) -> Ints:
    return np.frombuffer(data, "<i8").astype(np.int64)


def write_edits(engine: Engine, since: Mapping[int, int], output: Output) -> None:
    """A checkpoint, where a window may have begun anew: what came before an edit must not be read again into it.

    `since`: the change that each partition was judged by last.
    """
    if engine.windowed and any(change < engine.plan.change for change in since.values()):
        checkpoint(engine, output)


# --- the way back ---


def recover(engine: Engine, rows: Mapping[int, Mapping[Key, bytes]], replay: Callable[[], None]) -> Output:
    """From the rows of each partition. `replay` takes in, without judging, what was read after their checkpoints.

    Sensors that were edited meanwhile start over: what that publishes is in the output.
    """
    output = Output()
    for partition, found in rows.items():
        _restore(engine, partition, found)
    replay()
    for partition, found in rows.items():
        if PARTITION_KEY in found:
            kept = (decode_row(WindowsRow, data) for key, data in found.items() if key[0] == "windows")
            empty_new_windows(engine, partition, decode_row(PartitionRow, found[PARTITION_KEY]).change, kept)
        _restore_states(engine, partition, found, output)
    engine.finish_restoring()
    return output


def _restore(engine: Engine, partition: int, rows: Mapping[Key, bytes]) -> None:
    found = rows.get(PARTITION_KEY)
    engine.owned[partition] = _partition(decode_row(PartitionRow, found)) if found else Partition()
    for _, data in _sorted(rows, "systems"):
        _restore_systems(engine, partition, decode_row(SystemsRow, data))
    for _, data in _sorted(rows, "order"):
        _restore_order(engine, partition, decode_row(OrderRow, data))
    for key, data in _sorted(rows, "windows"):
        read_windows(engine, partition, key, decode_row(WindowsRow, data))
    for key, data in rows.items():
        if key[0] == "tags":
            system = engine.systems.add(key[1], partition)
            engine.systems.tags[system] = decode_row(TagsRow, data).tags


def _restore_states(engine: Engine, partition: int, rows: Mapping[Key, bytes], output: Output) -> None:
    for key, data in rows.items():
        if key[0] == "series":
            row = decode_row(SeriesRow, data)
            series = _series(engine, partition, key[1], key[2], key[3])
            for sensor in row.sensors:
                system = int(engine.series.system[series])
                engine.population.change(sensor.id, system, key[3], standing(state_of(sensor)))
            engine.restore_states(series, row.sensors, output)


def _partition(row: PartitionRow) -> Partition:
    outages, unreached = ([(start, end) for start, end in found] for found in (row.outages, row.unreached))
    time = PartitionTime(row.now, row.alive_at, None, outages, unreached)
    return Partition(time, row.epoch, row.checkpoint, row.next_offset)


def _sorted(rows: Mapping[Key, bytes], kind: str) -> Iterable[tuple[Key, bytes]]:
    return sorted((item for item in rows.items() if item[0][0] == kind), key=lambda item: tuple(map(int, item[0][1:])))


def _restore_systems(engine: Engine, partition: int, row: SystemsRow) -> None:
    numbers = np.array([engine.systems.add(name, partition) for name in row.names], np.int64)
    engine.systems.heard[numbers] = _ints(row.heard)
    engine.systems.tags_at[numbers] = _ints(row.tags_at)
    engine.systems.dirty[numbers] = False


def _restore_order(engine: Engine, partition: int, row: OrderRow) -> None:
    table = engine.series
    metrics = [engine.metric(name) for name in row.metrics]
    systems = np.array([engine.systems.add(name, partition) for name, _, _ in row.series], np.int64)
    metric = np.array([metrics[place] for _, place, _ in row.series], np.int64)
    instances = np.array([engine.instance(name) for _, _, name in row.series], np.int64)
    first = table.size
    engine.add_series(systems, metric, instances)
    new = slice(first, table.size)
    table.newest[new], table.last[new] = _ints(row.newest), np.frombuffer(row.last, "<f8")
    table.dirty[new] = False
    for place, values in row.ties.items():
        table.tied[first + place] = True
        table.ties[first + place] = tuple(values)


def _series(engine: Engine, partition: int, system: str, metric: str, instance: str | None) -> int:
    numbers = (
        np.array([engine.systems.add(system, partition)], np.int64),
        np.array([engine.metric(metric)], np.int64),
        np.array([engine.instance(instance)], np.int64),
    )
    found = int(engine.series.find(*numbers)[0])
    if found < 0:
        engine.add_series(*numbers)
        found = engine.series.size - 1
    return found
