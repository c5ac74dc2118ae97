"""docs/schemas: current, true of what we write, and of what we refuse."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator, FormatChecker

from tocsin.shared.schemas.activation import Activation
from tocsin.shared.schemas.audit import AuditRecord
from tocsin.shared.schemas.base import Ref, Source, Wire
from tocsin.shared.schemas.change import SensorChange
from tocsin.shared.schemas.delivery import DeadLetter, Delivery, RenderedBody
from tocsin.shared.schemas.event import EventUrls, NotificationEvent, Threshold
from tocsin.shared.schemas.export import MODELS, render
from tocsin.shared.schemas.recipient_state import RecipientState, Stop
from tocsin.shared.schemas.system import MatchedSystem
from tocsin.shared.schemas.tally import Tally, Tick
from tocsin.shared.topics import topic_table

FOLDER = Path(__file__).parents[2] / "docs" / "schemas"
NOW = 1_795_428_000_123

EVENT = NotificationEvent(
    id="e",
    kind="activated",
    ordinal=1,
    tenant_id="t",
    activation_id="a",
    activated_at=NOW,
    time=NOW,
    notification=Ref(id="n", name="N"),
    sensors=(Ref(id="s", name="S"),),
    group=Ref(id="g", name="G"),
    threshold=Threshold(value="24.5", is_percent=True, text="24.5% of systems currently reporting"),
    revision="r",
    matched=1,
    reporting=2,
    systems=("PC",),
    systems_total=1,
    urls=EventUrls(activation="x", systems_at_activation="y", systems_now="z"),
)
DELIVERY = Delivery(
    id="d",
    recipient=Ref(id="r", name="R"),
    event=EVENT,
    routed_at=NOW,
    rendered=RenderedBody(content_type="application/json", text="{}"),
)
EXAMPLES: list[tuple[str, Wire]] = [
    ("sensor-change", SensorChange(id="c", sensor_id="s", sensor="S", revision="r", system="PC", metric="m",
                                   state="triggered", previous="clear", value=1.5, time=NOW,
                                   source=Source(topic="t", partition=0, offset=1))),
    ("sensor-change", SensorChange(id="c", sensor_id="s", sensor="S", revision="r", system="PC", metric="m",
                                   state="no-data", previous="clear", time=NOW, reason="timer")),
    ("tally", Tally(notification_id="n", revision="r", partition=0, partitions=4, epoch=1, counter=2, matched=1,
                    reporting=2, time=NOW, sent_at=NOW)),
    ("tally", Tick(time=NOW)),
    ("notification-event", EVENT),
    ("notification-event", EVENT.model_copy(update={"group": None, "kind": "resolved"})),
    ("activation", Activation(id="a", notification=Ref(id="n", name="N"), state="active", activated_at=NOW, matched=1,
                              reporting=2)),
    ("matched-system", MatchedSystem(notification_id="n", system="PC", partition=3, since=NOW)),
    ("delivery", DELIVERY),
    ("delivery", DELIVERY.model_copy(update={"rendered": None})),
    ("dead-letter", DeadLetter(delivery=DELIVERY, reason="attempts_exhausted", status=503, time=NOW)),
    ("recipient-state", RecipientState()),
    ("recipient-state", RecipientState(name="R", failures_in_a_row=6, failing_since=NOW, last_reason="timeout",
                                       opened_at=NOW, probe_at=NOW + 30_000, probe_every=30_000, told=True,
                                       stops=(Stop(start=NOW, end=NOW + 1), Stop(start=NOW + 2)))),
    ("audit", AuditRecord(id="x", kind="attempt", delivery_id="d", event_id="e", activation_id="a",
                          notification=Ref(id="n", name="N"), recipient=Ref(id="r", name="R"), time=NOW,
                          channel="webhook", attempt=1, outcome="failed", reason="timeout", latency_ms=15_000.0,
                          next_attempt_at=NOW)),
]  # fmt: skip

READING = {"system": "PC-042", "metric": "cpu.percent", "value": 93.5, "time": "2026-11-23T10:00:00.123Z"}
REPORT = {
    "system": "PC-042",
    "time": 1764064800123,
    "tags": {"site": "Berlin"},
    "readings": [{"metric": "app.hang", "instance": "msedge.exe", "value": True, "time": 1764064799000}],
}


def validator(stem: str) -> Draft202012Validator:
    schema = json.loads((FOLDER / f"{stem}.json").read_text())
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema, format_checker=FormatChecker())


@pytest.mark.parametrize("stem", MODELS)
def test_the_file_is_what_the_models_say(stem: str) -> None:
    fix = "run: python -m tocsin.shared.schemas.export docs/schemas"
    assert (FOLDER / f"{stem}.json").read_text() == render(stem), fix


def test_every_topic_with_a_schema_has_its_file_and_no_file_is_left_over() -> None:
    named = {topic.schema for topic in topic_table() if topic.schema}
    assert named == set(MODELS) == {path.stem for path in FOLDER.glob("*.json")}


@pytest.mark.parametrize(("stem", "record"), EXAMPLES, ids=lambda value: value if isinstance(value, str) else "")
def test_what_we_write_is_valid_and_readable_without_us(stem: str, record: Wire) -> None:
    value = json.loads(record.encode())
    validator(stem).validate(value)
    assert type(record).decode(record.encode()) == record


@pytest.mark.parametrize(("stem", "record"), EXAMPLES, ids=lambda value: value if isinstance(value, str) else "")
def test_a_field_of_a_later_version_is_valid_and_ignored(stem: str, record: Wire) -> None:
    value = {**json.loads(record.encode()), "added_later": {"x": 1}}
    validator(stem).validate(value)
    assert type(record).decode(json.dumps(value).encode()) == record


@pytest.mark.parametrize("value", [READING, REPORT, {**READING, "instance": "C:", "unit": "%", "value": False}])
def test_the_documented_readings_are_valid(value: dict[str, Any]) -> None:
    validator("reading").validate(value)


@pytest.mark.parametrize(
    ("stem", "value"),
    [
        ("reading", {**READING, "value": "93"}),
        ("reading", {**READING, "system": ""}),
        ("reading", {key: value for key, value in READING.items() if key != "metric"}),
        ("reading", {**READING, "time": None}),
        ("reading", []),
        ("audit", {**json.loads(EXAMPLES[-1][1].encode()), "kind": "perhaps"}),
        ("notification-event", {**json.loads(EVENT.encode()), "ordinal": "first"}),
        ("notification-event", {**json.loads(EVENT.encode()), "time": 5}),
    ],
)
def test_what_is_wrong_is_invalid(stem: str, value: Any) -> None:
    assert not validator(stem).is_valid(value)
