"""When an activation opens, and how it ends. Pure: a row and an input go in, a row and perhaps events come out.

For each tally or tick:

1. A tally that is not newer than what is known of its input partition changes nothing.
2. The rule in effect is taken up. Another revision than the row's, or none, dismisses an open activation; so does a
   dismissal by hand.
3. Timers that fell due before it fire, each as of its due time, with the counts as they were.
4. Its counts are taken, and the threshold is judged, once every input partition has counted under the row's revision.

A step repeated on its own result changes nothing, so a log may be read again from any place before its end.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum

import msgspec

from tocsin.evaluator.core import lifecycle
from tocsin.evaluator.core.activation_row import Count, Pending, Row
from tocsin.evaluator.core.lifecycle import Moved, Policy, State
from tocsin.evaluator.core.notification import Population, Rule, Rulebook
from tocsin.evaluator.core.telling import Telling, tell
from tocsin.shared.schemas.event import DismissedBecause, NotificationEvent
from tocsin.shared.schemas.tally import MAX_SYSTEMS_LISTED, Tally, Tick

CLOCK_SKEW_MS = 60_000
"""How far ahead of the broker's record timestamp an input's own time may be."""

FOLLOWER_LAG_MS = 30_000
"""How long a row waits for a process that has not seen the configuration the row was judged by."""

FORGET_AFTER_MS = 10 * 60_000
"""How long a row without a notification is kept: a tally may come before the configuration does."""

MOST_AT_ONCE = 4
"""Events that one input makes of one row at a time; it is given again for the rest. Each is written with its row."""

_NO_POLICY = Policy()


@dataclass(frozen=True, slots=True)
class Place:
    """Where an input stands in `notification-tallies`."""

    partition: int
    offset: int
    timestamp: int  # of the record, epoch ms; below 0: none


class Reason(StrEnum):
    """What became of an input."""

    STALE = "stale"
    UNKNOWN = "unknown_notification"
    LAGGING = "configuration_behind"
    COUNTING = "counting"
    UNCHANGED = "unchanged"
    WAITING = "waiting"  # something has changed, and nobody is told (yet)
    ACTIVATED = "activated"
    REMINDED = "reminder"
    RESOLVED = "resolved"
    DISMISSED = "dismissed"
    FORGOTTEN = "forgotten"


@dataclass(frozen=True, slots=True)
class Step:
    """What follows from one input. The very same row: nothing to write. No row: the notification is forgotten.

    `events` go out once the row is written. `more`: the same input has to be given again after that.
    """

    row: Row | None
    reason: Reason
    events: tuple[Pending, ...] = ()
    more: bool = False


def step(row: Row | None, given: Tally | Tick, book: Rulebook, place: Place) -> Step:
    """Take one input. The row's partition in the table is the input's."""
    before = row
    now = max(row.time if row else 0, _time_of(given, place))
    if isinstance(given, Tick):
        if row is None:
            return Step(None, Reason.UNKNOWN)
    else:
        row = row or Row(given.notification_id)
        if not is_newer(row, given):
            return Step(before, Reason.STALE)
    rule = book.rules.get(row.notification_id)
    if book.change < row.change and now < row.changed_at + FOLLOWER_LAG_MS:
        row = row if isinstance(given, Tick) else count(row, given, _heard(given, place))
        return _written(before, row, Reason.LAGGING, given, now)
    work = _Work(row, rule, book, place)
    work.take_up(now)
    work.dismiss_by_hand(now)
    if not work.fire(now):
        return _written(before, work.row, Reason.WAITING, given, now, more=True)
    if isinstance(given, Tally):
        work.row = count(work.row, given, _heard(given, place))
    if rule is None:
        if isinstance(given, Tick) and not work.row.outbox and now >= row.time + FORGET_AFTER_MS:
            return Step(None, Reason.FORGOTTEN)
        reason = Reason.UNKNOWN
    elif not work.row.complete():
        reason = Reason.COUNTING
    else:
        work.judge(now)
        reason = Reason.UNCHANGED
    return _written(before, work.row, reason, given, now)


def is_newer(row: Row, tally: Tally) -> bool:
    """Whether it is newer than what the row has of its input partition."""
    known = row.counts.get(tally.partition)
    return known is None or (tally.epoch, tally.counter) > known.version


def count(row: Row, tally: Tally, heard: int) -> Row:
    """The row with this tally, which is newer, in it."""
    newest = Count(
        epoch=tally.epoch,
        counter=tally.counter,
        revision=tally.revision,
        matched=tally.matched,
        reporting=tally.reporting,
        time=tally.time,
        systems=tally.systems[:MAX_SYSTEMS_LISTED],
        heard=heard,
    )
    counts = {**row.counts, tally.partition: newest}
    if tally.partitions != row.partitions:
        counts = {partition: count for partition, count in counts.items() if partition < tally.partitions}
    return msgspec.structs.replace(row, partitions=tally.partitions, counts=counts)


class _Work:
    """One row while an input is taken."""

    def __init__(self, row: Row, rule: Rule | None, book: Rulebook, place: Place) -> None:
        self.row = row
        self._policy = rule.policy if rule is not None else _NO_POLICY
        self._rule = rule
        self._telling = Telling(rule, book, (place.partition, place.offset))

    def take_up(self, now: int) -> None:
        """Judge by this rule from now on; what the old one opened is dismissed."""
        rule, row = self._rule, self.row
        revision = rule.revision if rule is not None else None
        if revision == row.revision:
            return
        because: DismissedBecause = "deleted" if rule is None else "edited"
        telling = replace(self._telling, dismissed_because=because, population=_last_population(row))
        self._move(lifecycle.dismiss(row.standing(), self._policy, now), telling)
        self.row = msgspec.structs.replace(
            self.row, revision=revision, change=self._telling.book.change, changed_at=now
        )

    def dismiss_by_hand(self, now: int) -> None:
        opened = self.row.opened
        dismissal = self._telling.book.dismissals.get(opened.id) if opened is not None else None
        if dismissal is not None:
            telling = replace(self._telling, dismissed_because="by-hand", dismissal=dismissal)
            self._move(lifecycle.dismiss(self.row.standing(), self._policy, now), telling)

    def fire(self, now: int) -> bool:
        """The timers due before now. False: there are more than may go out at once."""
        standing = self.row.standing()
        if standing.state in (State.IDLE, State.DISMISSED) and standing.ending is None:
            return True  # most rows at most ticks
        standing = lifecycle.ask_again(standing, self._policy, now)
        heard_until = self.row.heard_until() if self.row.complete() else 0
        standing, happened, done = lifecycle.advance(standing, self._policy, now, MOST_AT_ONCE, heard_until)
        self._move((standing, happened), self._telling)
        return done

    def judge(self, now: int) -> None:
        """Compare the complete counts of the row with the rule's threshold."""
        assert self._rule is not None
        row = self.row
        reached = self._rule.reached(row.matched(), row.reporting())
        heard_until = row.heard_until()
        self._move(lifecycle.judge(row.standing(), self._policy, now, reached, heard_until), self._telling)

    def _move(self, moved: Moved, telling: Telling) -> None:
        standing, happened = moved
        if happened or standing != self.row.standing():
            self.row = tell(self.row, standing, happened, telling)


def forget_sent(row: Row, place: int) -> Row:
    """The row without what is known to be on its topics: that up to this place."""
    left = tuple(pending for pending in row.outbox if pending.place > place)
    return row if len(left) == len(row.outbox) else msgspec.structs.replace(row, outbox=left)


def _last_population(row: Row) -> Population | None:
    """Of a row under the revision it has; what it opened with, where its counts are another revision's already."""
    if row.opened is None or row.complete():
        return None
    activated = NotificationEvent.decode(row.opened.event.encode())
    return Population(activated.matched, activated.reporting, activated.systems)


def _time_of(given: Tally | Tick, place: Place) -> int:
    return given.time if place.timestamp < 0 else min(given.time, place.timestamp + CLOCK_SKEW_MS)


def _heard(tally: Tally, place: Place) -> int:
    return tally.sent_at if place.timestamp < 0 else place.timestamp


_REASONS = {kind: Reason(kind) for kind in ("activated", "reminder", "resolved", "dismissed")}


def _written(
    before: Row | None, row: Row, reason: Reason, given: Tally | Tick, now: int, *, more: bool = False
) -> Step:
    if row is before:
        return Step(before, reason)
    known = before.outbox if before is not None else ()
    events = row.outbox[len(known) :]
    told = [event.kind for event in events if event.event]
    if told:
        reason = _REASONS[told[-1]]
    elif events:
        reason = Reason.WAITING
    tick = max(row.tick, now) if isinstance(given, Tick) else row.tick
    return Step(msgspec.structs.replace(row, edition=row.edition + 1, time=now, tick=tick), reason, events, more)
