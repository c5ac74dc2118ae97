"""What every channel is."""

from __future__ import annotations

from typing import Protocol

import msgspec

from tocsin.dispatcher.core.outcomes import Outcome
from tocsin.shared.configuration.records import Recipient
from tocsin.shared.schemas.delivery import Delivery, RenderedBody


class Parcel(msgspec.Struct, frozen=True):
    """One attempt's worth: what goes to whom."""

    delivery: Delivery
    recipient: Recipient
    rendered: RenderedBody


class Channel(Protocol):
    """One way to a recipient. Used from one event loop."""

    @property
    def name(self) -> str:
        """As audit records and metrics call it."""
        ...

    def render(self, delivery: Delivery, recipient: Recipient, *, still_retried: bool = False) -> RenderedBody:
        """What will be sent, once for all attempts. Raises TemplateError.

        `still_retried`: the `activated` of the same activation has not reached this recipient yet.
        """
        ...

    def fits(self, rendered: RenderedBody) -> bool:
        """Whether this was rendered for this channel: a recipient may have changed from one to another."""
        ...

    async def send(self, parcel: Parcel) -> Outcome:
        """One attempt, bounded in time. Whatever the receiver does is an outcome; nothing is raised for it."""
        ...

    async def close(self) -> None: ...
