"""Telling by another road that a recipient keeps failing: an event of its own, for the recipient who is told. Pure."""

from __future__ import annotations

from tocsin.shared.configuration.records import Recipient
from tocsin.shared.configuration.snapshot import Configuration
from tocsin.shared.ids import activation_id, delivery_id, event_id
from tocsin.shared.schemas.base import Ref
from tocsin.shared.schemas.delivery import Delivery
from tocsin.shared.schemas.event import EventUrls, NotificationEvent, Threshold
from tocsin.shared.schemas.recipient_state import RecipientState
from tocsin.shared.times import format_rfc3339


def failing_delivery(
    failing: Recipient, told: Recipient, state: RecipientState, configuration: Configuration, now_ms: int
) -> Delivery:
    """The same row of failures makes the same ids, whoever tells of it."""
    since = state.failing_since or now_ms
    activation = activation_id(configuration.tenant_id, failing.id, "on_failing", 0, since)
    event = NotificationEvent(
        id=event_id(activation, "activated", 1),
        kind="activated",
        ordinal=1,
        tenant_id=configuration.tenant_id,
        activation_id=activation,
        activated_at=since,
        time=now_ms,
        notification=Ref(id=failing.id, name=f"Recipient {failing.name} keeps failing"),
        description=_description(failing, state, since),
        sensors=(),
        threshold=Threshold(value="1", is_percent=False, text="1 recipient that keeps failing"),
        revision="on_failing",
        matched=0,
        reporting=0,
        urls=EventUrls(activation="", systems_at_activation="", systems_now=""),
    )
    return Delivery(
        id=delivery_id(event.id, told.id),
        recipient=Ref(id=told.id, name=told.name),
        event=event,
        routed_at=now_ms,
        configuration_change=configuration.change,
    )


def _description(failing: Recipient, state: RecipientState, since: int) -> str:
    began = f"Nothing has reached {failing.name} since {format_rfc3339(since)}; the last attempt ended as "
    end = "It is disabled: its deliveries wait until it is enabled again."
    if state.disabled_at is None:
        end = "Its deliveries wait; one at a time tries again."
    return f"{began}{state.last_reason or 'unknown'}. {end}"
