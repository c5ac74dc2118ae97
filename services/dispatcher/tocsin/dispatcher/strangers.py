"""Deliveries to recipients that this process has not heard of yet: nothing is known of a pause, a rate or an order."""

from __future__ import annotations

from dataclasses import dataclass, field

from tocsin.dispatcher.core.desk import Fetch
from tocsin.dispatcher.stages.steps import Taken
from tocsin.shared.clock import Clock
from tocsin.shared.configuration.snapshot import Configuration

CATCH_UP_SECONDS = 60.0
"""How long this process may be behind the router before a recipient it has never seen counts as gone."""


@dataclass(slots=True)
class _Stranger:
    until: float
    waiting: list[tuple[Taken, Fetch | None]] = field(default_factory=list)


class Strangers:
    """They wait until this process knows what the router knew; used from the sending loop only.

    `configuration` is the one that is acted upon: what a recipient known by it may get is known, too.
    """

    def __init__(self, clock: Clock) -> None:
        self.configuration = Configuration()
        self._clock = clock
        self._strangers: dict[str, _Stranger] = {}

    def keep(self, taken: Taken, fetch: Fetch | None = None) -> bool:
        """Whether it waits here, after what came before it; with `fetch`, on its way back from where it is parked."""
        id_ = taken.delivery.recipient.id
        found = self._strangers.get(id_)
        if found is None:
            if not self._behind(taken):
                return False
            found = self._strangers[id_] = _Stranger(self._clock.monotonic() + CATCH_UP_SECONDS)
        found.waiting.append((taken, fetch))
        return True

    def leave(self) -> list[tuple[Taken, Fetch | None]]:
        """Those that may go on now, in order."""
        if not self._strangers:
            return []
        now = self._clock.monotonic()
        gone: list[tuple[Taken, Fetch | None]] = []
        for id_, one in list(self._strangers.items()):
            if now > one.until or not self._behind(one.waiting[-1][0]):
                gone += one.waiting
                del self._strangers[id_]
        return gone

    def _behind(self, taken: Taken) -> bool:
        unknown = taken.delivery.recipient.id not in self.configuration.recipients
        return unknown and self.configuration.change < taken.delivery.configuration_change
