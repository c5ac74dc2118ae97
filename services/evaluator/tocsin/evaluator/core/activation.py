"""When an activation opens, and how it ends. Pure: a row and an input go in, a row and perhaps an event come out.

For each tally or tick:

1. A tally that is not newer than what is known of its input partition changes nothing.
2. The rule in effect is taken up. Another revision than the row's, or none, dismisses an open activation.
3. The threshold is judged, once every input partition has counted under the row's revision.

A step repeated on its own result changes nothing, so a log may be read again from any place before its end.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

import msgspec

from tocsin.evaluator.core.activation_row import Count, Opened, Pending, Row, State
from tocsin.evaluator.core.notification import (
    Occasion,
    Population,
    Rule,
    Rulebook,
    activation_record,
    describe,
    reached,
)
from tocsin.shared.ids import activation_id, event_id
from tocsin.shared.schemas.event import EventKind, NotificationEvent
from tocsin.shared.schemas.tally import MAX_SYSTEMS_LISTED, Tally, Tick

CLOCK_SKEW_MS = 60_000
"""How far ahead of the broker's record timestamp an input's own time may be."""

FOLLOWER_LAG_MS = 30_000
"""How long a row waits for a process that has not seen the configuration the row was judged by."""

FORGET_AFTER_MS = 10 * 60_000
"""How long a row without a notification is kept: a tally may come before the configuration does."""


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
    ACTIVATED = "activated"
    RESOLVED = "resolved"
    DISMISSED = "dismissed"
    FORGOTTEN = "forgotten"


class Sign(StrEnum):
    """What a row is told."""

    REACHED = "reached"
    NOT_REACHED = "not reached"
    DISMISS = "dismiss"


TRANSITIONS: Mapping[tuple[State, Sign], tuple[State, EventKind | None]] = MappingProxyType(
    {
        (State.IDLE, Sign.REACHED): (State.ACTIVE, "activated"),
        (State.IDLE, Sign.NOT_REACHED): (State.IDLE, None),
        (State.IDLE, Sign.DISMISS): (State.IDLE, None),
        (State.ACTIVE, Sign.REACHED): (State.ACTIVE, None),
        (State.ACTIVE, Sign.NOT_REACHED): (State.IDLE, "resolved"),
        (State.ACTIVE, Sign.DISMISS): (State.DISMISSED, "dismissed"),
        (State.DISMISSED, Sign.REACHED): (State.DISMISSED, None),
        (State.DISMISSED, Sign.NOT_REACHED): (State.IDLE, None),
        (State.DISMISSED, Sign.DISMISS): (State.DISMISSED, None),
    }
)


@dataclass(frozen=True, slots=True)
class Step:
    """What follows from one input. The very same row: nothing to write. No row: the notification is forgotten."""

    row: Row | None
    reason: Reason
    event: Pending | None = None


def step(row: Row | None, given: Tally | Tick, book: Rulebook, place: Place) -> Step:
    """Take one input. The row's partition in the table is the input's."""
    before = row
    now = max(row.time if row else 0, _time_of(given, place))
    match given:
        case Tally():
            row = row or Row(given.notification_id)
            counted = count(row, given)
            if counted is row:
                return Step(before, Reason.STALE)
            row = counted
        case Tick():
            if row is None:
                return Step(None, Reason.UNKNOWN)
    rule = book.rules.get(row.notification_id)
    if book.change < row.change and now < row.changed_at + FOLLOWER_LAG_MS:
        return _written(before, row, None, Reason.LAGGING, given, now)
    row, event = take_up(row, rule, book, now)
    if rule is None:
        if isinstance(given, Tick) and not row.outbox and now >= row.time + FORGET_AFTER_MS:
            return Step(None, Reason.FORGOTTEN)
        reason = Reason.UNKNOWN
    elif not row.complete():
        reason = Reason.COUNTING
    else:
        row, judged = judge(row, rule, book, place, now)
        event, reason = event or judged, Reason.UNCHANGED
    return _written(before, row, event, Reason(event.kind) if event else reason, given, now)


def count(row: Row, tally: Tally) -> Row:
    """The row with this tally in it; the very same row when the tally is not newer than what it has."""
    known = row.counts.get(tally.partition)
    if known is not None and (tally.epoch, tally.counter) <= known.version:
        return row
    newest = Count(
        epoch=tally.epoch,
        counter=tally.counter,
        revision=tally.revision,
        matched=tally.matched,
        reporting=tally.reporting,
        time=tally.time,
        systems=tally.systems[:MAX_SYSTEMS_LISTED],
    )
    counts = {**row.counts, tally.partition: newest}
    if tally.partitions != row.partitions:
        counts = {partition: count for partition, count in counts.items() if partition < tally.partitions}
    return msgspec.structs.replace(row, partitions=tally.partitions, counts=counts)


def take_up(row: Row, rule: Rule | None, book: Rulebook, now: int) -> tuple[Row, Pending | None]:
    """Judge by this rule from now on; what the old one opened is dismissed."""
    revision = rule.revision if rule else None
    if revision == row.revision:
        return row, None
    event = None
    if row.opened is not None:
        activated = NotificationEvent.decode(row.opened.event.encode())
        # The counts may be the new revision's already: then the dismissed one ends with those it was opened with.
        population = Population(activated.matched, activated.reporting, activated.systems)
        if row.complete():
            population = _population(row)
        ended = activated.model_copy(
            update={
                "kind": "dismissed",
                "id": event_id(row.opened.id, "dismissed", row.ordinal + 1),
                "ordinal": row.ordinal + 1,
                "time": now,
                "matched": population.matched,
                "reporting": population.reporting,
                "systems": population.systems,
                "systems_total": population.matched,
                "systems_truncated": population.truncated,
                "configuration_change": book.change,
            }
        )
        event = _pending(ended, activated)
    state, _ = TRANSITIONS[row.state, Sign.DISMISS]
    row = msgspec.structs.replace(row, state=state, opened=None, revision=revision, change=book.change, changed_at=now)
    return (row if event is None else _announce(row, event)), event


def judge(row: Row, rule: Rule, book: Rulebook, place: Place, now: int) -> tuple[Row, Pending | None]:
    """Compare the complete counts of the row with the rule's threshold."""
    sign = Sign.REACHED if reached(rule.notification.threshold, row.matched(), row.reporting()) else Sign.NOT_REACHED
    state, kind = TRANSITIONS[row.state, sign]
    if state is row.state:
        return row, None
    row = msgspec.structs.replace(row, state=state)
    if kind is None:
        return row, None
    if kind == "activated":
        opened_id = activation_id(book.tenant_id, row.notification_id, rule.revision, place.partition, place.offset)
        opened_at, opened_event = now, None
    else:
        assert row.opened is not None
        opened_id, opened_at, opened_event = row.opened.id, row.opened.at, row.opened.event
    ordinal = row.ordinal + 1
    occasion = Occasion(event_id(opened_id, kind, ordinal), kind, ordinal, opened_id, opened_at, now)
    event = describe(occasion, rule, _population(row), book)
    pending = _pending(event, event if opened_event is None else NotificationEvent.decode(opened_event.encode()))
    opened = Opened(opened_id, opened_at, pending.event) if kind == "activated" else None
    return _announce(msgspec.structs.replace(row, opened=opened), pending), pending


def forget_sent(row: Row, ordinal: int) -> Row:
    """The row without the events that are known to be on their topics: those up to `ordinal`."""
    left = tuple(event for event in row.outbox if event.ordinal > ordinal)
    return row if len(left) == len(row.outbox) else msgspec.structs.replace(row, outbox=left)


def _time_of(given: Tally | Tick, place: Place) -> int:
    return given.time if place.timestamp < 0 else min(given.time, place.timestamp + CLOCK_SKEW_MS)


def _population(row: Row) -> Population:
    return Population(row.matched(), row.reporting(), row.systems(MAX_SYSTEMS_LISTED))


def _pending(event: NotificationEvent, activated: NotificationEvent) -> Pending:
    return Pending(
        id=event.id,
        kind=event.kind,
        ordinal=event.ordinal,
        activation_id=event.activation_id,
        time=event.time,
        event=event.encode().decode(),
        activation=activation_record(event, activated).encode().decode(),
    )


def _announce(row: Row, event: Pending) -> Row:
    return msgspec.structs.replace(row, ordinal=event.ordinal, outbox=(*row.outbox, event))


def _written(
    before: Row | None, row: Row, event: Pending | None, reason: Reason, given: Tally | Tick, now: int
) -> Step:
    if row is before:
        return Step(before, reason)
    tick = max(row.tick, now) if isinstance(given, Tick) else row.tick
    return Step(msgspec.structs.replace(row, edition=row.edition + 1, time=now, tick=tick), reason, event)
