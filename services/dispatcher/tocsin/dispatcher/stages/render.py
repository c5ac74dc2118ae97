"""Stage 2: the body is rendered once; a retry carries it, so that all attempts send the same bytes."""

from __future__ import annotations

from typing import Protocol

from tocsin.dispatcher.core.templates import TemplateError
from tocsin.dispatcher.stages.records import give_up
from tocsin.dispatcher.stages.steps import Addressed, Ready, Settled
from tocsin.shared.clock import Clock
from tocsin.shared.schemas.delivery import Delivery


class Retries(Protocol):
    """What waits to be tried again."""

    def still_retried(self, recipient: str, activation: str) -> bool: ...


class Render:
    """A template that fails is a dead letter: the next attempt would fail alike."""

    def __init__(self, retries: Retries, clock: Clock) -> None:
        self._retries = retries
        self._clock = clock

    def __call__(self, addressed: Addressed) -> Ready | Settled:
        delivery = addressed.taken.delivery
        if delivery.rendered is not None and addressed.channel.fits(delivery.rendered):
            return Ready(addressed, delivery)
        try:
            still = self._still_retried(delivery)
            rendered = addressed.channel.render(delivery, addressed.recipient, still_retried=still)
        except TemplateError as error:
            return give_up(addressed.taken, self._clock.now_ms(), "template_error", str(error)[:1000])
        return Ready(addressed, delivery.model_copy(update={"rendered": rendered}))

    def _still_retried(self, delivery: Delivery) -> bool:
        event = delivery.event
        return event.kind != "activated" and self._retries.still_retried(delivery.recipient.id, event.activation_id)
