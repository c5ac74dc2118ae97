"""Stage 2: what has become too old is given up. Time in which its recipient was paused or disabled does not count."""

from __future__ import annotations

from typing import Protocol

from tocsin.dispatcher.core.quick_delivery import as_model
from tocsin.dispatcher.stages.records import dead_letter_out, end_without_attempt
from tocsin.dispatcher.stages.steps import Addressed, Settled
from tocsin.shared.clock import Clock
from tocsin.shared.schemas.delivery import DeadLetter


class Ages(Protocol):
    """How old something of a recipient is."""

    def age_ms(self, recipient: str, since_ms: int, now_ms: int) -> int: ...


class Expire:
    """A dead letter too, so that it can be replayed."""

    def __init__(self, ages: Ages, clock: Clock) -> None:
        self._ages = ages
        self._clock = clock

    def __call__(self, addressed: Addressed) -> Addressed | Settled:
        delivery, recipient, now = addressed.taken.delivery, addressed.recipient, self._clock.now_ms()
        if self._ages.age_ms(recipient.id, delivery.routed_at, now) <= recipient.expire_after:
            return addressed
        letter = DeadLetter(delivery=as_model(delivery), reason="expired", time=now)
        return end_without_attempt(addressed.taken, "expired", now, "too_old", dead_letter_out(letter))
