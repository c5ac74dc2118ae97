"""The quick structs against the wire model."""

from __future__ import annotations

import json
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from delivering import NOW, delivery_for, event_of, unsigned_recipient
from tocsin.dispatcher.core.quick_delivery import QuickDelivery, as_model, decode_delivery
from tocsin.dispatcher.core.templates import render
from tocsin.dispatcher.core.variables import DEFAULT_BODY, Values
from tocsin.shared.errors import CodecError
from tocsin.shared.ids import NAMESPACE, audit_id
from tocsin.shared.schemas.delivery import Delivery, RenderedBody
from tocsin.shared.schemas.event import NotificationEvent

HOOK = unsigned_recipient("https://example.com")


def full() -> Delivery:
    event = event_of(ended_at=NOW + 5, dismissed_because="by-hand", dismissed_by="cli:me", comment="enough", reminder=2)
    body = RenderedBody(content_type="text/plain", text="é\x00", subject="S", html="<p>")
    return delivery_for(HOOK, event=event, rendered=body, attempts=3, replay=2, configuration_change=7)


def test_they_have_the_fields_of_the_model() -> None:
    quick = decode_delivery(full().encode())
    assert isinstance(quick, QuickDelivery)
    assert set(json.loads(quick.encode())) == set(Delivery.model_fields)
    assert set(json.loads(quick.encode())["event"]) == set(NotificationEvent.model_fields)


def test_what_they_read_and_write_is_what_the_model_does() -> None:
    model = full()
    quick = decode_delivery(model.encode())
    assert Delivery.decode(quick.encode()) == model == as_model(quick)
    assert quick.event.ended_at == model.event.ended_at
    assert (quick.routed_at, quick.event.time, quick.event.activated_at) == (
        model.routed_at,
        model.event.time,
        model.event.activated_at,
    )
    as_json = "application/json"
    assert render(DEFAULT_BODY, as_json, Values.of(quick.event)) == render(
        DEFAULT_BODY, as_json, Values.of(model.event)
    )
    rendered = RenderedBody(content_type="text/html", text="x")
    again = quick.model_copy(update={"rendered": rendered, "attempts": 4})
    assert Delivery.decode(again.encode()) == model.model_copy(update={"rendered": rendered, "attempts": 4})


@pytest.mark.parametrize(
    "change",
    [
        {"routed_at": 1_764_064_800_123},  # epoch milliseconds, which the model takes
        {"routed_at": "2026-11-23T10:00:00+01:00"},
        {"unknown": [1, {"a": 2}]},
    ],
)
def test_whatever_the_model_takes_is_taken(change: dict[str, object]) -> None:
    value = json.dumps(json.loads(full().encode()) | change).encode()
    found, model = decode_delivery(value), Delivery.decode(value)
    assert found.routed_at == model.routed_at
    assert as_model(found) == model


@pytest.mark.parametrize(
    "change", [{"routed_at": "yesterday"}, {"id": 5}, {"event": []}, {"recipient": {"id": "r"}}, {"attempts": "x"}]
)
def test_whatever_the_model_refuses_is_refused_with_its_reason(change: dict[str, object]) -> None:
    value = json.dumps(json.loads(full().encode()) | change).encode()
    with pytest.raises(CodecError, match=next(iter(change))):
        decode_delivery(value)


@given(st.text(max_size=20), st.integers(0, 9), st.text(max_size=20))
def test_ids_are_uuid5_of_their_parts_as_json_whatever_is_in_them(delivery: str, replay: int, kind: str) -> None:
    name = json.dumps(["audit", delivery, str(replay), kind, "1"])
    assert audit_id(delivery, replay, kind, 1) == str(uuid.uuid5(NAMESPACE, name))
