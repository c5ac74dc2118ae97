"""The canonical wire form of readings: what the gateway, the agent and the replay write."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from tocsin.shared.readings import GoodReading
from tocsin.shared.schemas.reading import MAX_REPORT_BYTES
from tocsin.shared.times import format_rfc3339


class _Reading(msgspec.Struct, omit_defaults=True, gc=False):
    system: str
    metric: str
    value: float
    time: str
    instance: str | None = None
    unit: str | None = None
    tags: dict[str, str] | None = None


class _Part(msgspec.Struct, omit_defaults=True, gc=False):
    metric: str
    value: float
    instance: str | None = None
    time: str | None = None
    unit: str | None = None


class _Report(msgspec.Struct, omit_defaults=True, gc=False):
    system: str
    time: str
    readings: list[_Part]
    tags: dict[str, str] | None = None


_encode = msgspec.json.Encoder().encode


def encode_reading(reading: GoodReading) -> bytes:
    """One reading a message. Its time is RFC 3339 in UTC with milliseconds."""
    time = format_rfc3339(reading.time)
    return _encode(
        _Reading(
            reading.system, reading.metric, reading.value, time, reading.instance, reading.unit, reading.tags or None
        )
    )


def encode_report(good: Sequence[GoodReading], report_time: int) -> list[bytes]:
    """Readings of one system as a report; a reading as old as the report carries no time of its own.

    Usually one message. Several when the canonical form outgrows what a message may have, as epoch times made long can.
    """
    parts = [
        _Part(
            reading.metric,
            reading.value,
            reading.instance,
            None if reading.time == report_time else format_rfc3339(reading.time),
            reading.unit,
        )
        for reading in good
    ]
    message = _encode(_Report(good[0].system, format_rfc3339(report_time), parts, good[0].tags or None))
    if len(message) <= MAX_REPORT_BYTES or len(good) == 1:
        return [message]
    half = len(good) // 2
    return encode_report(good[:half], report_time) + encode_report(good[half:], report_time)
