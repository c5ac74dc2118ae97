"""What passes between the stages.

msgspec's structs rather than dataclasses, here and wherever one is made for each delivery: a frozen one is made in a
fifth of the time, and a delivery needs a dozen.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import msgspec

from tocsin.dispatcher.channels.base import Channel
from tocsin.dispatcher.core.audit import Attempt, Origin
from tocsin.dispatcher.core.outcomes import Outcome
from tocsin.dispatcher.partitions import Partition
from tocsin.shared.configuration.records import Recipient
from tocsin.shared.headers import Headers
from tocsin.shared.schemas.delivery import Delivery
from tocsin.shared.topics import DELIVERY_AUDIT


class Taken(msgspec.Struct, frozen=True):
    """A delivery as it was read, and where."""

    delivery: Delivery
    partition: Partition
    offset: int
    origin: Origin
    not_before_ms: int = 0  # a retry's due time and its jitter
    value: bytes = b""  # as it was read, to be parked unchanged
    parked: bool = False  # it was read from `delivery-parked`
    lane: str | None = None  # of a recipient with an order: one of a lane at a time

    @property
    def number(self) -> int:
        """Of its partition; the same in every topic, as everything of a recipient is."""
        return self.partition.key[1]


def in_lane(taken: Taken, ordered: Literal["activation", "notification"]) -> Taken:
    """As its recipient's order has it."""
    event = taken.delivery.event
    return msgspec.structs.replace(
        taken, lane=event.activation_id if ordered == "activation" else event.notification.id
    )


class Addressed(msgspec.Struct, frozen=True):
    """Its recipient as it is configured now."""

    taken: Taken
    recipient: Recipient
    channel: Channel


class Ready(msgspec.Struct, frozen=True):
    """Rendered; `delivery` carries the body from now on."""

    addressed: Addressed
    delivery: Delivery


class Attempted(msgspec.Struct, frozen=True):
    """Tried once; `delivery` counts the attempt."""

    addressed: Addressed
    delivery: Delivery
    attempt: Attempt


class Out(msgspec.Struct, frozen=True):
    """A record to be written with the settlement."""

    topic: str  # without prefix
    key: bytes
    value: bytes | None  # none: a tombstone
    headers: Headers
    partition: int = -1  # by the key


class Settled(msgspec.Struct, frozen=True):
    """This delivery's record is done with: these records are its successor."""

    partition: Partition
    offset: int | None  # none: records that concern no delivery
    records: tuple[Out, ...] = ()
    terminal: str | None = None  # the terminal's kind
    done_key: str | None = None  # to be remembered once the terminal is durable
    attempt: Outcome | None = None  # how the attempt ended, if there was one
    parked_again: bool = False  # it waits in `delivery-parked`, at the head of its lane


def terminals_of(settled: Iterable[Settled]) -> list[bytes]:
    """The terminal audit records of these, as they were written."""
    found = []
    for one in settled:
        if one.terminal:
            audits = [out.value for out in one.records if out.topic == DELIVERY_AUDIT and out.value is not None]
            found += audits[-1:]
    return found
