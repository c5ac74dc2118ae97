"""What goes on the wire: changes against their schema, times against the parser that decides."""

from __future__ import annotations

import json

import polars as pl
import pytest
from cloudevents.core.bindings.kafka import KafkaMessage, from_binary
from cloudevents.core.formats.json import JSONFormat
from hypothesis import given
from hypothesis import strategies as st

from tocsin.evaluator.detector.output import Change
from tocsin.evaluator.detector.publishing import encode_change
from tocsin.evaluator.detector.rfc3339 import NOT_PLAIN, parse_times
from tocsin.shared.headers import header
from tocsin.shared.schemas.base import Source
from tocsin.shared.schemas.change import SensorChange
from tocsin.shared.times import parse_rfc3339

CHANGE = Change(
    sensor_id="s-1",
    sensor="CPU busy",
    revision="r1",
    system="Büro-1",
    metric="cpu.percent",
    instance=None,
    state="triggered",
    level="crit",
    previous="clear",
    previous_level=None,
    value=93.5,
    time=1_764_064_800_123,
    condition="> 90",
    reason="reading",
    place=(3, 42, 0),
    since=0,
)


def test_the_bytes_are_those_of_the_schema() -> None:
    key, value, headers = encode_change(CHANGE, "sensor-readings")
    found = SensorChange.decode(value)
    assert json.loads(value) == json.loads(found.encode())
    assert list(json.loads(value)) == list(SensorChange.model_fields)
    assert found.source == Source(topic="sensor-readings", partition=3, offset=42)
    assert key == "Büro-1".encode()
    assert header(headers, "ce_id") == found.id.encode()


def test_the_headers_are_a_cloud_event() -> None:
    key, value, headers = encode_change(CHANGE, "sensor-readings")
    message = KafkaMessage({name: header(headers, name) or b"" for name, _ in headers}, key, value)
    event = from_binary(message, JSONFormat())
    assert event.get_type() == "dev.tocsin.sensor.changed"
    assert event.get_id() == json.loads(value)["id"]
    assert event.get_time().timestamp() * 1000 == CHANGE.time


@pytest.mark.parametrize(
    "text",
    [
        "2026-11-23T10:00:00Z", "2026-11-23T10:00:00.1Z", "2026-11-23T10:00:00.123456789Z", "2026-02-28T23:59:59Z",
        "2028-02-29T00:00:00+14:00", "1970-01-01T00:00:00Z", "9999-12-31T23:59:59.999Z",
    ],
)  # fmt: skip
def test_plain_times_are_read_as_columns(text: str) -> None:
    assert parse_times(pl.Series([text, None, "x" * 20])).tolist() == [parse_rfc3339(text), NOT_PLAIN, NOT_PLAIN]


DATE = r"(19[67]|20[0-4]|999)\d-[01]\d-[0-3]\d"
CLOCK = r"[0-2]\d:[0-6]\d:[0-6]\d(\.\d{1,10})?([zZ]|[+-][0-2]\d:[0-6]\d)?"


@given(st.lists(st.from_regex(f"{DATE}[Tt ]{CLOCK}", fullmatch=True)))
def test_a_time_read_as_a_column_is_what_the_parser_says(texts: list[str]) -> None:
    for text, found in zip(texts, parse_times(pl.Series(texts, dtype=pl.String)).tolist(), strict=True):
        if found != NOT_PLAIN:
            assert found == parse_rfc3339(text)
