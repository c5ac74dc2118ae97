"""Stage 1: where it goes is read now, not when it was routed."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from tocsin.dispatcher.channels.base import Channel
from tocsin.dispatcher.stages.records import end_without_attempt
from tocsin.dispatcher.stages.steps import Addressed, Settled, Taken
from tocsin.shared.clock import Clock
from tocsin.shared.configuration.follower import ConfigurationSource
from tocsin.shared.configuration.records import Recipient

CATCH_UP_SECONDS = 60.0
"""How long this process may be behind the router before a recipient it has never seen counts as gone."""


class Address:
    """A deleted recipient cancels its deliveries."""

    def __init__(self, configuration: ConfigurationSource, channels: Mapping[str, Channel], clock: Clock) -> None:
        self._configuration = configuration
        self._channels = channels
        self._clock = clock

    async def __call__(self, taken: Taken) -> Addressed | Settled:
        recipient = await self._recipient(taken)
        if recipient is None:
            return end_without_attempt(taken, "cancelled", self._clock.now_ms(), "recipient_deleted")
        return Addressed(taken, recipient, self._channels[recipient.channel])

    async def _recipient(self, taken: Taken) -> Recipient | None:
        """None when it is deleted: not when this process has not heard of it yet.

        Where it was not parked, that has been waited for before.
        """
        delivery = taken.delivery
        id_, until = delivery.recipient.id, self._clock.monotonic() + CATCH_UP_SECONDS
        while (found := self._configuration.current.recipients.get(id_)) is None:
            behind = self._configuration.current.change < delivery.configuration_change
            if not taken.parked or not behind or self._clock.monotonic() > until:
                return None
            await asyncio.sleep(0.02)
        return found
