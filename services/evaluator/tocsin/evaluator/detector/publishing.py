"""Changes as bytes. Written with msgspec, in a tenth of the time pydantic takes; a test compares the two."""

from __future__ import annotations

import msgspec

from tocsin.evaluator.detector.output import Change
from tocsin.shared.headers import Headers, cloud_event
from tocsin.shared.ids import change_id
from tocsin.shared.times import format_rfc3339

EVENT_TYPE = "sensor.changed"
SOURCE = "/detector"


class _Source(msgspec.Struct):
    topic: str
    partition: int
    offset: int


class _Change(msgspec.Struct):
    """As tocsin.shared.schemas.change.SensorChange, field by field."""

    schema_version: int
    id: str
    sensor_id: str
    sensor: str
    revision: str
    system: str
    metric: str
    instance: str | None
    state: str
    previous: str
    previous_level: str | None
    level: str | None
    value: float | None
    time: str
    condition: str | None
    reason: str
    source: _Source | None


_encode = msgspec.json.Encoder().encode


def id_of(change: Change) -> str:
    """From the cause: a replay makes it again."""
    cause: tuple[object, ...]
    if change.place is not None:
        cause = change.place
    elif change.timer is not None:
        cause = (change.reason, change.timer, change.time)
    else:
        cause = (change.reason, change.since)
    return change_id(change.sensor_id, change.revision, (change.system, change.instance), cause)


def encode_change(change: Change, readings_topic: str) -> tuple[bytes, bytes, Headers]:
    """Key, value, headers."""
    change_uuid = id_of(change)
    source = None
    if change.place is not None:
        source = _Source(readings_topic, change.place[0], change.place[1])
    value = _encode(
        _Change(
            schema_version=1,
            id=change_uuid,
            sensor_id=change.sensor_id,
            sensor=change.sensor,
            revision=change.revision,
            system=change.system,
            metric=change.metric,
            instance=change.instance,
            state=change.state,
            previous=change.previous,
            previous_level=change.previous_level,
            level=change.level,
            value=change.value,
            time=format_rfc3339(change.time),
            condition=change.condition,
            reason=change.reason,
            source=source,
        )
    )
    return change.system.encode(), value, cloud_event(change_uuid, EVENT_TYPE, SOURCE, change.time)
