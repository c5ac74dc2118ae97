"""Deliveries to recipients that this process has not heard of yet: nothing is known of a pause, a rate or an order."""

from __future__ import annotations

from dataclasses import dataclass, field

from tocsin.dispatcher.stages.address import CATCH_UP_SECONDS
from tocsin.dispatcher.stages.steps import Taken
from tocsin.shared.clock import Clock
from tocsin.shared.configuration.follower import ConfigurationSource


@dataclass(slots=True)
class _Stranger:
    until: float
    waiting: list[Taken] = field(default_factory=list)


class Strangers:
    """They wait until this process knows what the router knew; used from the sending loop only."""

    def __init__(self, configuration: ConfigurationSource, clock: Clock) -> None:
        self._configuration = configuration
        self._clock = clock
        self._strangers: dict[str, _Stranger] = {}

    def keep(self, taken: Taken) -> bool:
        """Whether it waits here, after what came before it."""
        id_ = taken.delivery.recipient.id
        found = self._strangers.get(id_)
        if found is None:
            if not self._behind(taken):
                return False
            found = self._strangers[id_] = _Stranger(self._clock.monotonic() + CATCH_UP_SECONDS)
        found.waiting.append(taken)
        return True

    def leave(self) -> list[Taken]:
        """Those that may go on now, in order."""
        if not self._strangers:
            return []
        now, gone = self._clock.monotonic(), []
        for id_, one in list(self._strangers.items()):
            if now > one.until or not self._behind(one.waiting[-1]):
                gone += one.waiting
                del self._strangers[id_]
        return gone

    def _behind(self, taken: Taken) -> bool:
        configuration = self._configuration.current
        unknown = taken.delivery.recipient.id not in configuration.recipients
        return unknown and configuration.change < taken.delivery.configuration_change
