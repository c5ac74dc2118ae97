"""`sensor-readings`: what sensors send. The readable schema; the hot paths use structs that are tested against it."""

from __future__ import annotations

import math
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from tocsin.shared.schemas.base import Time

MAX_NAME_BYTES = 256
MAX_REPORT_BYTES = 1 << 20
MAX_TAGS = 64


def _name(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError("must be a string")
    if not value:
        raise ValueError("must not be empty")
    if len(value.encode("utf-8", "surrogatepass")) > MAX_NAME_BYTES:
        raise ValueError(f"must be at most {MAX_NAME_BYTES} bytes")
    if any("\ud800" <= letter <= "\udfff" for letter in value):
        raise ValueError("must be valid Unicode")
    return value


def _value(value: Any) -> float:
    if isinstance(value, bool):
        return float(value)
    if not isinstance(value, (int, float)):
        raise ValueError("must be a number, true or false")
    try:
        number = float(value)
    except OverflowError:
        raise ValueError("must fit a 64-bit float") from None
    if not math.isfinite(number):
        raise ValueError("must be finite: NaN and infinities are no readings")
    return number


Name = Annotated[str, BeforeValidator(_name), Field(min_length=1)]
Value = Annotated[float, BeforeValidator(_value)]
Tags = Annotated[dict[Name, Annotated[str, Field(max_length=MAX_NAME_BYTES)]], Field(max_length=MAX_TAGS)]


class Reading(BaseModel):
    """One value of one metric of one system (and instance) at one event time."""

    model_config = ConfigDict(frozen=True, extra="ignore", json_schema_extra={"title": "Reading"})

    system: Name
    metric: Name
    value: Value
    time: Time
    instance: Name | None = None
    unit: str | None = None
    tags: Tags | None = None


class ReportedReading(BaseModel):
    """A reading inside a report; `time` defaults to the report's."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    metric: Name
    value: Value
    time: Time | None = None
    instance: Name | None = None
    unit: str | None = None


class Report(BaseModel):
    """Several readings of one system in one message."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    system: Name
    time: Time
    tags: Tags | None = None
    readings: list[ReportedReading]
