"""The one checker of readings: the gateway and the detector behind Kafka judge by the same rules. Pure.

1. One message is one JSON object in UTF-8, at most 1 MiB: a reading, or (it has the field `readings`) a report.
2. msgspec decodes what is right at once. What it refuses is decoded leniently and shown to the pydantic schema,
   reading by reading, which either accepts it after all or gives the readable reason. The schema decides.
3. A report whose system, time or tags are wrong is refused whole; else its readings are judged one by one.

Decided here: a field given twice counts as given last; unknown fields are ignored, whatever is in them; a number no
64-bit float can hold is refused like an infinity; bytes that are not UTF-8 spoil only the reading they stand in.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, TypeVar

import msgspec
from pydantic import BaseModel, ValidationError

from tocsin.shared.headers import Headers
from tocsin.shared.partitioning import partition_for
from tocsin.shared.schemas.reading import MAX_NAME_BYTES, MAX_REPORT_BYTES, MAX_TAGS, Reading, Report, ReportedReading
from tocsin.shared.times import MAX_EPOCH_MS, parse_rfc3339

_MAX_UTF8_BYTES_PER_LETTER = 4
_LONGEST_INTEGER = 400
"""Digits; a 64-bit float ends at 309, and Python refuses to read integers of more than 4,300."""

_LISTED_REJECTIONS = 20
"""Of one report in a header: enough to see the pattern, and a header stays small."""

M = TypeVar("M", bound=BaseModel)


class Reason(StrEnum):
    """Why something is no reading: header, metric label and answer."""

    NO_VALUE = "no-value"  # a tombstone, or nothing at all
    TOO_LARGE = "too-large"
    BAD_UTF8 = "bad-utf8"
    NOT_JSON = "not-json"
    TOO_DEEP = "too-deep"
    NOT_AN_OBJECT = "not-an-object"
    MISSING = "missing"
    WRONG_TYPE = "wrong-type"
    EMPTY = "empty"
    TOO_LONG = "too-long"
    TOO_MANY = "too-many"
    BAD_UNICODE = "bad-unicode"  # a lone surrogate, or bytes that are not UTF-8, in a text
    NOT_FINITE = "not-finite"
    BAD_TIME = "bad-time"
    MISPLACED = "misplaced"  # the key is not the system, or the partition is not the key's
    INVALID = "invalid"  # none of the above


class GoodReading(msgspec.Struct, frozen=True, gc=False):
    """A reading as everything inside sees it."""

    system: str
    metric: str
    instance: str | None
    value: float
    time: int  # epoch ms
    unit: str | None = None
    tags: dict[str, str] | None = None  # of the report it came in


@dataclass(frozen=True, slots=True)
class Rejection:
    """One thing that is no reading."""

    index: int | None  # place in the report's `readings`; None: the whole message
    field: str | None
    reason: Reason
    detail: str


@dataclass(frozen=True, slots=True)
class Checked:
    """What one message holds."""

    good: list[GoodReading]
    rejected: list[Rejection]
    report_time: int | None = None  # epoch ms; None: a single reading, or nothing good


def check_message(value: bytes | None) -> tuple[list[GoodReading], list[Rejection]]:
    """The good readings of one message and what is wrong with the rest. Never raises, whatever the bytes."""
    checked = check(value)
    return checked.good, checked.rejected


def check(value: bytes | None) -> Checked:
    """As `check_message`; also tells a report from a reading."""
    if not value:
        return _refused(Reason.NO_VALUE, "the message has no value")
    if len(value) > MAX_REPORT_BYTES:
        return _refused(Reason.TOO_LARGE, f"{len(value)} bytes; at most {MAX_REPORT_BYTES} are allowed")
    return _accept(value) or _explain(value)


def check_fields(fields: dict[str, Any]) -> GoodReading | Rejection:
    """One reading whose fields have been read from something other than JSON."""
    try:
        wire = msgspec.convert(fields, _Wire)
        f"{wire.system}{wire.metric}{wire.instance}{wire.unit}{wire.tags}".encode()  # raises at a lone surrogate
        time = _time(wire.time)
        good = None if time is None or not _is_name(wire.system) else _good(wire, wire, time)
        if good is not None and math.isfinite(good.value) and _are_tags(good.tags):
            return good
    except (msgspec.ValidationError, UnicodeEncodeError):
        pass  # the schema knows why
    reading = _show(Reading, fields, None)
    return reading if isinstance(reading, Rejection) else _from_schema(reading, reading, reading.time)


def misplaced(key: bytes | None, system: str, partition: int, partitions: int) -> Rejection | None:
    """Whether a message of this system may lie here: a system in two partitions would be counted twice."""
    wanted = system.encode()
    if key is None:
        return Rejection(None, "key", Reason.MISPLACED, "the message has no key; it must be the system")
    if key != wanted:
        shown = key[:64].decode("utf-8", "replace")
        return Rejection(None, "key", Reason.MISPLACED, f"the key is {shown!r}, not the system {system[:64]!r}")
    if (right := partition_for(key, partitions)) != partition:
        detail = f"partition {partition} instead of {right}: the producer's partitioner is not murmur2"
        return Rejection(None, "key", Reason.MISPLACED, detail)
    return None


def rejection_headers(rejected: Sequence[Rejection], source: str, traceparent: str | None = None) -> Headers:
    """Headers of a record in `sensor-readings-rejected`; its value is the message as it came, kept once.

    `source` says where it came from: `sensor-readings/3@42`, or `gateway`.
    """
    first = rejected[0]
    listed = [
        {"index": one.index, "field": one.field, "reason": one.reason, "detail": one.detail}
        for one in rejected[:_LISTED_REJECTIONS]
    ]
    headers: Headers = [
        ("reason", first.reason.encode()),
        ("detail", first.detail.encode("utf-8", "replace")),
        ("source", source.encode()),
        ("rejected", str(len(rejected)).encode()),
        ("rejections", json.dumps(listed).encode()),
    ]
    if first.field is not None:
        headers.append(("field", first.field.encode("utf-8", "replace")))
    if traceparent is not None:
        headers.append(("traceparent", traceparent.encode()))
    return headers


# --- the fast way ----------------------------------------------------------------------------------------------------


class _WirePart(msgspec.Struct, gc=False):
    metric: str
    value: bool | float
    time: int | float | str | None = None
    instance: str | None = None
    unit: str | None = None


class _Wire(msgspec.Struct, gc=False):
    """A reading or a report."""

    system: str
    time: int | float | str
    metric: str | None = None
    value: bool | float | None = None
    instance: str | None = None
    unit: str | None = None
    tags: dict[str, str] | None = None
    readings: list[_WirePart] | msgspec.UnsetType = msgspec.UNSET


_decode = msgspec.json.Decoder(_Wire).decode


def _accept(value: bytes) -> Checked | None:
    """The message if all of it is right; None when the schema has to look at it."""
    try:
        wire = _decode(value)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    time = _time(wire.time)
    if time is None or not _is_name(wire.system) or not _are_tags(wire.tags):
        return None
    if wire.readings is msgspec.UNSET:
        good = _good(wire, wire, time) if wire.value is not None else None
        return None if good is None else Checked([good], [])
    readings = []
    for part in wire.readings:
        own = time if part.time is None else _time(part.time)
        good = None if own is None else _good(wire, part, own)
        if good is None:
            return None
        readings.append(good)
    return Checked(readings, [], time)


def _good(wire: _Wire, part: _Wire | _WirePart, time: int) -> GoodReading | None:
    names = _is_name(part.metric) and (part.instance is None or _is_name(part.instance)) and _is_short(part.unit)
    if not names or part.metric is None or part.value is None:
        return None
    return GoodReading(wire.system, part.metric, part.instance, float(part.value), time, part.unit, wire.tags)


def _is_short(text: str | None) -> bool:
    if text is None or len(text) * _MAX_UTF8_BYTES_PER_LETTER <= MAX_NAME_BYTES:
        return True
    return len(text.encode()) <= MAX_NAME_BYTES


def _is_name(text: str | None) -> bool:
    return bool(text) and _is_short(text)


def _are_tags(tags: dict[str, str] | None) -> bool:
    if not tags:
        return True
    return len(tags) <= MAX_TAGS and all(_is_name(name) and _is_short(text) for name, text in tags.items())


def _time(given: float | str) -> int | None:
    if isinstance(given, str):
        try:
            return parse_rfc3339(given)
        except ValueError:
            return None
    return given if isinstance(given, int) and 0 <= given <= MAX_EPOCH_MS else None


# --- the readable way ------------------------------------------------------------------------------------------------


def _refused(reason: Reason, detail: str) -> Checked:
    return Checked([], [Rejection(None, None, reason, detail)])


def _integer(digits: str) -> int | float:
    return int(digits) if len(digits) <= _LONGEST_INTEGER else float(digits)


LENIENT_JSON = json.JSONDecoder(parse_int=_integer)
"""Takes NaN and Infinity for numbers, so that one of them spoils one reading of a report and not all."""


def _explain(value: bytes) -> Checked:
    try:
        # Bytes that are not UTF-8 become lone surrogates, which the schema refuses where they stand.
        found = LENIENT_JSON.decode(value.decode("utf-8", "surrogateescape"))
    except RecursionError:
        return _refused(Reason.TOO_DEEP, "nested too deeply to be read")
    except ValueError as error:
        return _unreadable(value, error)
    if not isinstance(found, dict):
        return _refused(Reason.NOT_AN_OBJECT, f"must be a JSON object, not {_kind(found)}")
    if "readings" in found:
        return _explain_report(found)
    reading = _show(Reading, found, None)
    if isinstance(reading, Rejection):
        return Checked([], [reading])
    return Checked([_from_schema(reading, reading, reading.time)], [])


def _explain_report(found: dict[str, Any]) -> Checked:
    parts = found["readings"]
    report = _show(Report, {**found, "readings": [] if isinstance(parts, list) else parts}, None)
    if isinstance(report, Rejection):
        return Checked([], [report])
    good: list[GoodReading] = []
    rejected: list[Rejection] = []
    for index, part in enumerate(parts):
        if not isinstance(part, dict):
            detail = f"must be a JSON object, not {_kind(part)}"
            rejected.append(Rejection(index, None, Reason.NOT_AN_OBJECT, detail))
            continue
        reading = _show(ReportedReading, part, index)
        if isinstance(reading, Rejection):
            rejected.append(reading)
        else:
            good.append(_from_schema(report, reading, report.time if reading.time is None else reading.time))
    return Checked(good, rejected, report.time)


def _from_schema(whole: Reading | Report, reading: Reading | ReportedReading, time: int) -> GoodReading:
    return GoodReading(whole.system, reading.metric, reading.instance, reading.value, time, reading.unit, whole.tags)


def _unreadable(value: bytes, error: ValueError) -> Checked:
    try:
        value.decode()
    except UnicodeDecodeError as bad:
        return _refused(Reason.BAD_UTF8, f"byte {bad.start} is not UTF-8")
    return _refused(Reason.NOT_JSON, f"not JSON: {error}")


def _show(model: type[M], found: dict[str, Any], index: int | None) -> M | Rejection:
    try:
        return model.model_validate(found)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
    where = tuple(str(part) for part in first["loc"])
    cause = first.get("ctx", {}).get("error")
    detail = str(cause) if cause is not None else first["msg"]
    field = ".".join(_shown(part) for part in where if part != "[key]") or None
    return Rejection(index, field, _reason(first["type"], where), detail[:1].lower() + detail[1:])


def _shown(part: str) -> str:
    # The name of a tag may be anything: shown cut and printable.
    return part[:64] if part.isidentifier() else ascii(part[:64])


_REASONS = {str(reason): reason for reason in Reason}


def _reason(kind: str, where: tuple[str, ...]) -> Reason:
    """From pydantic's name of an error; ours come through as they are."""
    if where and where[-1] == "time" and kind == "value_error":
        return Reason.BAD_TIME
    if kind.endswith("_type"):
        return Reason.WRONG_TYPE
    if kind == "too_long":
        return Reason.TOO_MANY
    return _REASONS.get(kind, Reason.INVALID)


_KINDS = {dict: "an object", list: "an array", str: "a string", bool: "true or false", type(None): "null"}


def _kind(found: object) -> str:
    return _KINDS.get(type(found), "a number")
