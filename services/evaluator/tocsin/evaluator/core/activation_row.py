"""The activator's state of one notification, as it stands in its table and changelog.

Fields are added, never renamed; `layout` is raised only when old code could misread a row.
"""

from __future__ import annotations

from enum import StrEnum

import msgspec

from tocsin.shared.errors import CodecError

LAYOUT = 1


class State(StrEnum):
    """Of a notification: is an activation open?"""

    IDLE = "idle"
    ACTIVE = "active"
    DISMISSED = "dismissed"
    """Ended before the threshold was left: nothing opens until it has been not reached once."""


class Count(msgspec.Struct, frozen=True, omit_defaults=True):
    """The newest tally of one input partition."""

    epoch: int
    counter: int
    revision: str
    matched: int
    reporting: int
    time: int  # "now" of the input partition
    systems: tuple[str, ...] = ()

    @property
    def version(self) -> tuple[int, int]:
        return self.epoch, self.counter


class Opened(msgspec.Struct, frozen=True):
    """The open activation, as it was announced."""

    id: str
    at: int
    event: str  # the `activated` event, JSON


class Pending(msgspec.Struct, frozen=True):
    """An event that is not known to be on its topics yet. Sent byte for byte, however often."""

    id: str
    kind: str
    ordinal: int
    activation_id: str
    time: int
    event: str  # for `notification-events`, JSON
    activation: str  # for `activations`, JSON


class Row(msgspec.Struct, frozen=True, omit_defaults=True):
    """All that is known of one notification."""

    notification_id: str
    edition: int = 0  # how often it was written: of two rows of one notification, the higher is the newer
    layout: int = LAYOUT
    state: State = State.IDLE
    revision: str | None = None  # of the rule it is judged by; none: no such notification (yet)
    change: int = 0  # of the configuration, when that rule was taken up
    changed_at: int = 0  # when it was taken up
    partitions: int = 0  # of the input
    counts: dict[int, Count] = {}
    opened: Opened | None = None  # none unless active
    ordinal: int = 0  # of the last event
    outbox: tuple[Pending, ...] = ()
    time: int = 0  # of the last write; never steps back
    tick: int = 0  # of the last tick that changed the row

    def complete(self) -> bool:
        """Whether every input partition has counted under the row's revision."""
        return 0 < self.partitions == len(self.counts) and all(
            count.revision == self.revision for count in self.counts.values()
        )

    def matched(self) -> int:
        return sum(count.matched for count in self.counts.values())

    def reporting(self) -> int:
        return sum(count.reporting for count in self.counts.values())

    def systems(self, limit: int) -> tuple[str, ...]:
        """The first of the matched systems that the tallies name, in order of name."""
        return tuple(sorted({name for count in self.counts.values() for name in count.systems})[:limit])


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Row)


def encode_row(row: Row) -> bytes:
    return _encoder.encode(row)


def decode_row(data: bytes) -> Row:
    """Raises CodecError: not a row, or one of a layout that this version does not know."""
    try:
        row = _decoder.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise CodecError("row", str(error)) from None
    if row.layout > LAYOUT:
        raise CodecError("row", f"layout {row.layout} is newer than {LAYOUT}")
    return row
