"""The activator's state of one notification, as it stands in its table and changelog.

Fields are added, never renamed; `layout` is raised only when old code could misread a row.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from tocsin.evaluator.core.lifecycle import Ending, Hold, Standing, State
from tocsin.shared.errors import CodecError

LAYOUT = 2
"""1: nothing was ever held back. A row in which nothing is, is still written as 1, for older code beside this."""


SILENT_AFTER_MS = 15_000
"""A detector says every 5 s what it counts, where systems match and there is a `for`. One that has not been heard for
longer may be down, and then no `for` can be over."""

SILENT_AT_ZERO_AFTER_MS = 90_000
"""Where nothing matches it says so each minute."""


class Count(msgspec.Struct, frozen=True, omit_defaults=True):
    """The newest tally of one input partition."""

    epoch: int
    counter: int
    revision: str
    matched: int
    reporting: int
    time: int  # "now" of the input partition
    systems: tuple[str, ...] = ()
    heard: int = 0  # when it came, by the clock of the ticks

    @property
    def patience(self) -> int:
        """How long it is taken to stand, ms."""
        return SILENT_AFTER_MS if self.matched else SILENT_AT_ZERO_AFTER_MS

    @property
    def version(self) -> tuple[int, int]:
        return self.epoch, self.counter


class Opened(msgspec.Struct, frozen=True, omit_defaults=True):
    """The open activation, as it opened."""

    id: str
    at: int
    event: str  # the `activated` event, JSON, as it would have been sent then
    announced_at: int | None = None
    reminded_at: int | None = None
    reminder: int | None = None  # the number of the last one


class Untold(msgspec.Struct, frozen=True):
    """An announced activation has ended, and nobody has been told."""

    kind: Literal["resolved", "dismissed"]
    at: int
    asked: int
    until: int | None
    event: str  # JSON, without its ordinal and id
    activation: str  # JSON


class Pending(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is not known to be on its topics yet. Sent byte for byte, however often."""

    id: str
    kind: str
    ordinal: int  # 0: no event, only a record of the activation
    activation_id: str
    time: int
    event: str  # for `notification-events`, JSON; empty: none
    activation: str  # for `activations`, JSON
    number: int = 0  # of what this notification has put out, counted from 1

    @property
    def place(self) -> int:
        """In the order of what the notification has put out."""
        return self.number or self.ordinal


class Row(msgspec.Struct, frozen=True, omit_defaults=True):
    """All that is known of one notification."""

    notification_id: str
    edition: int = 0  # how often it was written: of two rows of one notification, the higher is the newer
    layout: int = 1
    state: State = State.IDLE  # pending is written as idle with a `since`
    since: int | None = None
    revision: str | None = None  # of the rule it is judged by; none: no such notification (yet)
    change: int = 0  # of the configuration, when that rule was taken up
    changed_at: int = 0  # when it was taken up
    partitions: int = 0  # of the input
    counts: dict[int, Count] = {}
    opened: Opened | None = None  # none unless active
    held: Hold | None = None  # active, and not announced yet
    reminded: int = 0  # reminders of the open activation
    untold: Untold | None = None  # the end of the one before
    resolved_at: int | None = None  # the last resolution that cools down
    ordinal: int = 0  # of the last event
    number: int = 0  # of the last thing put out
    outbox: tuple[Pending, ...] = ()
    time: int = 0  # of the last write; never steps back
    tick: int = 0  # of the last tick that changed the row

    def complete(self) -> bool:
        """Whether every input partition has counted under the row's revision."""
        return 0 < self.partitions == len(self.counts) and all(
            count.revision == self.revision for count in self.counts.values()
        )

    def standing(self) -> Standing:
        """As the life of a notification is told."""
        state = State.PENDING if self.state is State.IDLE and self.since is not None else self.state
        ending = None
        if self.untold is not None:
            ending = Ending(self.untold.kind, self.untold.at, Hold(self.untold.asked, self.untold.until))
        since = self.opened.at if self.opened is not None else self.since
        return Standing(state, since, self.held, self.reminded, ending, self.resolved_at)

    def stands(self, standing: Standing) -> Row:
        """The row with this for its standing; what is to be told of an ending stays as it is, or goes."""
        state = State.IDLE if standing.state is State.PENDING else standing.state
        untold, ending = self.untold, standing.ending
        if ending is None:
            untold = None
        elif untold is not None:
            untold = msgspec.structs.replace(untold, asked=ending.hold.asked, until=ending.hold.until)
        return msgspec.structs.replace(
            self,
            state=state,
            since=standing.since if standing.state is State.PENDING else None,
            held=standing.held,
            reminded=standing.reminded,
            untold=untold,
            resolved_at=standing.resolved_at,
        )

    def heard_until(self) -> int:
        """Up to when the counts are known to stand."""
        return min((count.heard + count.patience for count in self.counts.values()), default=0)

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
    holds_back = row.held or row.untold or any(not pending.event for pending in row.outbox)
    return _encoder.encode(msgspec.structs.replace(row, layout=LAYOUT if holds_back else 1))


def decode_row(data: bytes) -> Row:
    """Raises CodecError: not a row, or one of a layout that this version does not know."""
    try:
        row = _decoder.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise CodecError("row", str(error)) from None
    if row.layout > LAYOUT:
        raise CodecError("row", f"layout {row.layout} is newer than {LAYOUT}")
    return row
