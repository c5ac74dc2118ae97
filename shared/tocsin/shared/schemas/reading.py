"""`sensor-readings`: what sensors send. The readable schema; the hot paths use structs that are tested against it."""

from __future__ import annotations

import math
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema
from pydantic_core import PydanticCustomError

from tocsin.shared.schemas.base import Time

MAX_NAME_BYTES = 256
MAX_REPORT_BYTES = 1 << 20
MAX_TAGS = 64


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise PydanticCustomError("wrong-type", "must be a string")
    try:
        size = len(value.encode())
    except UnicodeEncodeError:
        raise PydanticCustomError("bad-unicode", "must be valid Unicode") from None
    if size > MAX_NAME_BYTES:
        raise PydanticCustomError("too-long", "must be at most {bytes} bytes", {"bytes": MAX_NAME_BYTES})
    return value


def _name(value: Any) -> str:
    if value == "":
        raise PydanticCustomError("empty", "must not be empty")
    return _text(value)


def _value(value: Any) -> float:
    if isinstance(value, bool):
        return float(value)
    if not isinstance(value, (int, float)):
        raise PydanticCustomError("wrong-type", "must be a number, true or false")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise PydanticCustomError(
            "not-finite", "must be finite: NaN, infinities and numbers beyond a 64-bit float are no readings"
        )
    return number


Text = Annotated[str, BeforeValidator(_text)]
Name = Annotated[str, BeforeValidator(_name), Field(min_length=1)]
Value = Annotated[float, BeforeValidator(_value), WithJsonSchema({"type": ["number", "boolean"]})]
EventTime = Annotated[
    Time, WithJsonSchema({"anyOf": [{"type": "string", "format": "date-time"}, {"type": "integer", "minimum": 0}]})
]
"""RFC 3339 with zone, or epoch milliseconds; senders may choose."""
Tags = Annotated[dict[Name, Text], Field(max_length=MAX_TAGS)]


class Reading(BaseModel):
    """One value of one metric of one system (and instance) at one event time."""

    model_config = ConfigDict(frozen=True, extra="ignore", json_schema_extra={"title": "Reading"})

    system: Name
    metric: Name
    value: Value
    time: EventTime
    instance: Name | None = None
    unit: Text | None = None
    tags: Tags | None = None


class ReportedReading(BaseModel):
    """A reading inside a report; `time` defaults to the report's."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    metric: Name
    value: Value
    time: EventTime | None = None
    instance: Name | None = None
    unit: Text | None = None


class Report(BaseModel):
    """Several readings of one system in one message."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    system: Name
    time: EventTime
    tags: Tags | None = None
    readings: list[ReportedReading]
