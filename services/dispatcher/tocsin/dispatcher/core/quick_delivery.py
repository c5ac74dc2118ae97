"""Deliveries read some times quicker: the fields of `Delivery`, as msgspec structs. Pure.

Every delivery is decoded once and, when it fails, encoded again: with the wire model that alone costs as much as
sending it. The structs have the model's fields and its two methods, so whoever is handed one need not know; a test
holds them against the model. What they refuse is shown to the model, which has the readable reason, or the patience.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, cast

import msgspec

from tocsin.shared.schemas.base import Time
from tocsin.shared.schemas.delivery import Delivery
from tocsin.shared.schemas.event import DismissedBecause, EventKind
from tocsin.shared.times import parse_rfc3339


class _Ref(msgspec.Struct, frozen=True):
    id: str
    name: str


class _Threshold(msgspec.Struct, frozen=True):
    value: str
    is_percent: bool
    text: str


class _Urls(msgspec.Struct, frozen=True):
    activation: str
    systems_at_activation: str
    systems_now: str


class _Rendered(msgspec.Struct, frozen=True):
    content_type: str
    text: str
    subject: str | None = None
    html: str | None = None


class _Event(msgspec.Struct, frozen=True, kw_only=True):
    schema_version: Literal[1] = 1
    id: str
    kind: EventKind
    ordinal: int
    tenant_id: str
    activation_id: str
    activated_at_text: str = msgspec.field(name="activated_at")
    time_text: str = msgspec.field(name="time")
    reminder: int | None = None
    ended_at_text: str | None = msgspec.field(name="ended_at", default=None)
    dismissed_because: DismissedBecause | None = None
    dismissed_by: str | None = None
    comment: str | None = None
    notification: _Ref
    description: str = ""
    sensors: tuple[_Ref, ...]
    group: _Ref | None = None
    threshold: _Threshold
    revision: str
    matched: int
    reporting: int
    systems: tuple[str, ...] = ()
    systems_total: int = 0
    systems_truncated: bool = False
    urls: _Urls
    configuration_change: int = 0

    @property
    def activated_at(self) -> Time:
        return parse_rfc3339(self.activated_at_text)

    @property
    def time(self) -> Time:
        return parse_rfc3339(self.time_text)

    @property
    def ended_at(self) -> Time | None:
        return None if self.ended_at_text is None else parse_rfc3339(self.ended_at_text)


class QuickDelivery(msgspec.Struct, frozen=True, kw_only=True):
    """A `Delivery` in all but its type."""

    schema_version: Literal[1] = 1
    id: str
    replay: int = 0
    recipient: _Ref
    event: _Event
    routed_at_text: str = msgspec.field(name="routed_at")
    attempts: int = 0
    rendered: _Rendered | None = None
    configuration_change: int = 0

    @property
    def routed_at(self) -> Time:
        return parse_rfc3339(self.routed_at_text)

    def model_copy(self, *, update: Mapping[str, Any]) -> QuickDelivery:
        return msgspec.structs.replace(self, **update)

    def encode(self) -> bytes:
        """UTF-8 JSON, as it goes to the topic."""
        return _encoder.encode(self)


_decoder = msgspec.json.Decoder(QuickDelivery)


def _plain(value: Any) -> Any:
    return value.model_dump()


_encoder = msgspec.json.Encoder(enc_hook=_plain)  # a body just rendered is of the wire model


def decode_delivery(data: bytes | None) -> Delivery:
    """Raises CodecError with a readable reason."""
    try:
        found = _decoder.decode(data or b"")
        # Times are read when they are needed; here it is seen that they can be.
        found.event.activated_at, found.event.time, found.event.ended_at, found.routed_at  # noqa: B018
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return Delivery.decode(data)
    return cast(Delivery, found)


def as_model(delivery: Delivery) -> Delivery:
    """For what holds the wire model to its word, such as a dead letter."""
    return delivery if isinstance(delivery, Delivery) else Delivery.decode(delivery.encode())
