"""`deliveries`, `delivery-retry-*` and `delivery-dead-letter`: one event for one recipient. Nothing secret in it."""

from __future__ import annotations

from typing import Literal

from tocsin.shared.schemas.base import Ref, Time, Wire
from tocsin.shared.schemas.event import NotificationEvent


class RenderedBody(Wire):
    """What is sent, rendered once at the first attempt and byte-identical over all of them."""

    content_type: str
    text: str  # webhook: the body; email: the text part
    subject: str | None = None  # email only
    html: str | None = None  # email only


class Delivery(Wire):
    """A delivery as it travels: fresh in `deliveries`, with its history in a retry topic."""

    schema_version: Literal[1] = 1
    id: str
    replay: int = 0  # each replay by hand adds one
    recipient: Ref
    event: NotificationEvent
    routed_at: Time
    attempts: int = 0  # made so far in this replay
    rendered: RenderedBody | None = None
    configuration_change: int = 0  # routed under; whoever knows less cannot say that the recipient is deleted


class DeadLetter(Wire):
    """A delivery that will not be tried again unless someone replays it."""

    schema_version: Literal[1] = 1
    delivery: Delivery
    reason: str  # attempts_exhausted, permanent_refusal, template_error, gone, expired, cancelled
    detail: str = ""
    status: int | None = None  # HTTP status or SMTP code of the last answer
    response_excerpt: str = ""
    time: Time
