"""Rows of `detector-state`: keys are JSON arrays, values MessagePack arrays that begin with a version and only grow.

| key | value | written |
|---|---|---|
| `["series", system, metric, instance]` | the sensors that are not clear | when one of them has changed |
| `["tags", system]` | its tags | when they have changed |
| `["partition"]` | epoch, time, checkpoint | in every transaction that touches the partition |
| `["systems", n]`, `["order", n]` | 512 systems or series with their newest times | at a checkpoint, if changed |
| `["windows", n, m]` | part m of the windows of the same series | at a checkpoint, if changed |

Which partition they belong to is the partition they are in.
"""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec

from tocsin.evaluator.core.plan import PlannedSensor
from tocsin.evaluator.core.sensor import NONE, START, Phase, SensorState, Shown, Visible, counted
from tocsin.shared.errors import CodecError

CHUNK = 512
"""Systems or series in one row: about 10 KB."""

VERSION = 1

S = TypeVar("S", bound=msgspec.Struct)

Key = tuple[Any, ...]
PARTITION_KEY: Key = ("partition",)


class SensorRow(msgspec.Struct, array_like=True, frozen=True):
    """A sensor that has something to remember on a series. Rows of the first version end with `since`."""

    id: str
    revision: str
    phase: int  # core.sensor.Phase
    since: int  # event time, ms: when what is judged became so; of a pending one its start
    level: int = 0  # by place
    level_name: str | None = None
    starts: tuple[int, ...] = ()
    recovering: int = NONE
    struck: bool = False
    hits: tuple[str, ...] = ()  # hexadecimal: they may have more bits than MessagePack's numbers
    judged_at: int = NONE
    last: float | None = None
    flaps: str = ""
    held: tuple[Visible, int] | None = None
    closed: int = NONE


def sensor_row(sensor: PlannedSensor, state: SensorState) -> SensorRow:
    level = state.level if state.held is None else counted(state).level
    return SensorRow(
        sensor.id,
        sensor.revision,
        int(state.phase),
        min(start for start in state.starts if start != NONE) if state.phase is Phase.PENDING else state.since,
        max(state.level, 0),
        sensor.level_name(level),
        state.starts,
        state.recovering,
        state.struck,
        tuple(f"{bits:x}" for bits in state.hits) if state.hits else (),
        state.judged_at,
        state.last,
        f"{state.flaps:x}" if state.flaps else "",
        state.held,
        state.closed,
    )


def state_of(row: SensorRow) -> SensorState:
    """Rows of the first version have neither levels nor what came later."""
    phase = Phase(row.phase)
    starts = (row.since,) if phase is Phase.PENDING and not row.starts else row.starts
    state = SensorState(
        level=row.level if phase in (Phase.TRIGGERED, Phase.RECOVERING) else NONE,
        since=0 if phase in (Phase.CLEAR, Phase.PENDING) and row.held is None else row.since,
        starts=starts,
        recovering=row.recovering,
        struck=row.struck,
        no_data=phase is Phase.NO_DATA,
        hits=tuple(int(bits, 16) for bits in row.hits),
        judged_at=row.judged_at,
        last=row.last,
        flaps=int(row.flaps, 16) if row.flaps else 0,
        held=Shown(*row.held) if row.held is not None else None,
        closed=row.closed,
    )
    return START if state == START else state


class SeriesRow(msgspec.Struct, array_like=True, frozen=True):
    """What a series' sensors are; a tombstone when all are clear."""

    version: int
    sensors: list[SensorRow]


class TagsRow(msgspec.Struct, array_like=True, frozen=True):
    """Tags of a system; as of when is in its systems row."""

    version: int
    tags: dict[str, str]


class PartitionRow(msgspec.Struct, array_like=True, frozen=True):
    """One input partition."""

    version: int
    partitions: int  # how many there were
    epoch: int  # raised at each assignment
    next_offset: int  # in sensor-readings
    checkpoint: int  # offset in sensor-readings up to which the systems and order rows go
    change: int  # of the configuration last worked from
    now: int  # event time, ms
    alive_at: int | None  # wall clock, ms: the broker's last sign of life
    outages: list[tuple[int, int]]  # event times, ms
    unreached: list[tuple[int, int]] = []  # the same


class SystemsRow(msgspec.Struct, array_like=True, frozen=True):
    """Some systems of the partition, in order of first appearance."""

    version: int
    names: list[str]
    heard: bytes  # int64, little-endian, ms
    tags_at: bytes  # the same


class WindowsRow(msgspec.Struct, array_like=True, frozen=True):
    """Windows of some of the series of an order row: readings one after the other, in order of time in each."""

    version: int
    sensors: list[tuple[str, str]]  # id and revision
    windows: list[tuple[int, int, int, float | None]]  # place in the order row, in `sensors`; count; a rate's last
    times: bytes  # int64, little-endian, ms
    values: bytes  # float64, little-endian


class OrderRow(msgspec.Struct, array_like=True, frozen=True):
    """Some series of the partition, in order of first appearance."""

    version: int
    metrics: list[str]
    series: list[tuple[str, int, str | None]]  # system, place in `metrics`, instance
    newest: bytes  # int64, little-endian, ms
    last: bytes  # float64, little-endian
    ties: dict[int, tuple[float, ...]]  # by place: all values seen at the newest time, if more than one


_encoder = msgspec.msgpack.Encoder()


def encode_key(key: Key) -> bytes:
    return msgspec.json.encode(key)


def encode_row(row: msgspec.Struct | bytes) -> bytes:
    """Bytes are encoded already."""
    return row if isinstance(row, bytes) else _encoder.encode(row)


def decode_row(kind: type[S], data: bytes) -> S:
    """Newer versions have more fields at the end, which are ignored."""
    return msgspec.msgpack.decode(data, type=kind)


_KINDS: dict[str, tuple[type[msgspec.Struct], int]] = {
    "series": (SeriesRow, 4),
    "tags": (TagsRow, 2),
    "partition": (PartitionRow, 1),
    "systems": (SystemsRow, 2),
    "order": (OrderRow, 2),
    "windows": (WindowsRow, 3),
}
"""The row of each kind of key, and how many parts the key has."""


def check_row(key: bytes | None, value: bytes | None) -> Key:
    """The key of a row that can be restored from. Raises CodecError: somebody else has written to the topic."""
    try:
        parts: Key = tuple(msgspec.json.decode(key or b"", type=list[Any]))
        row, length = _KINDS[parts[0]]
        if len(parts) != length:
            raise ValueError(f"a key of {len(parts)} parts instead of {length}")
        if value is not None:
            decode_row(row, value)
    except (ValueError, LookupError, TypeError, RecursionError) as error:
        raise CodecError("not-a-row", str(error)) from None
    return parts
