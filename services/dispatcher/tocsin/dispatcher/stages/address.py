"""Stage 1: where it goes is read now, not when it was routed."""

from __future__ import annotations

from collections.abc import Mapping

from tocsin.dispatcher.channels.base import Channel
from tocsin.dispatcher.stages.records import end_without_attempt
from tocsin.dispatcher.stages.steps import Addressed, Settled, Taken
from tocsin.shared.clock import Clock
from tocsin.shared.configuration.follower import ConfigurationSource


class Address:
    """A deleted recipient cancels its deliveries. One not heard of yet has been waited for before: strangers.py."""

    def __init__(self, configuration: ConfigurationSource, channels: Mapping[str, Channel], clock: Clock) -> None:
        self._configuration = configuration
        self._channels = channels
        self._clock = clock

    def __call__(self, taken: Taken) -> Addressed | Settled:
        recipient = self._configuration.current.recipients.get(taken.delivery.recipient.id)
        if recipient is None:
            return end_without_attempt(taken, "cancelled", self._clock.now_ms(), "recipient_deleted")
        return Addressed(taken, recipient, self._channels[recipient.channel])
