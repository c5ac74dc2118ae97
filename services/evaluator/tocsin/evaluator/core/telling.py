"""What goes out for what has happened to a notification: events, and records of activations. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import assert_never

import msgspec

from tocsin.evaluator.core.activation_row import Opened, Pending, Row, Untold
from tocsin.evaluator.core.lifecycle import (
    Announced,
    Ended,
    EndTold,
    Happening,
    Hold,
    Reminded,
    Standing,
)
from tocsin.evaluator.core.lifecycle import Opened as HasOpened
from tocsin.evaluator.core.notification import (
    Occasion,
    Population,
    Rule,
    Rulebook,
    Told,
    activation_record,
    describe,
)
from tocsin.shared.configuration.records import Dismissal
from tocsin.shared.ids import activation_id, event_id
from tocsin.shared.schemas.base import Wire
from tocsin.shared.schemas.event import DismissedBecause, EventKind, NotificationEvent
from tocsin.shared.schemas.tally import MAX_SYSTEMS_LISTED


@dataclass(frozen=True, slots=True)
class Telling:
    """What the words need beside the row. `rule`: none when the notification is gone."""

    rule: Rule | None
    book: Rulebook
    opener: tuple[int, int]  # partition and offset of the input at hand: it makes the id of an activation it opens
    dismissed_because: DismissedBecause | None = None
    dismissal: Dismissal | None = None
    population: Population | None = None  # none: that of the row


def tell(row: Row, standing: Standing, happened: Sequence[Happening], telling: Telling) -> Row:
    """The row that stands so, with what goes out in its outbox."""
    for at, happening in enumerate(happened):
        match happening:
            case HasOpened():
                row = _opened(row, happening, telling)
                if not any(isinstance(later, Announced) for later in happened[at:]):
                    row = _post(row, None, _activated(row))
            case Announced():
                row = _announced(row, happening, telling)
            case Reminded():
                row = _reminded(row, happening, telling)
            case Ended():
                told = happening.announced and EndTold(happening.at, happening.kind, happening.at) in happened[at:]
                row = _ended(row, happening, telling, told=told)
            case EndTold():
                row = _end_told(row, happening)
            case _:
                assert_never(happening)
    return row.stands(standing)


def population_of(row: Row) -> Population:
    return Population(row.matched(), row.reporting(), row.systems(MAX_SYSTEMS_LISTED))


def _opened(row: Row, happening: HasOpened, telling: Telling) -> Row:
    assert telling.rule is not None
    book = telling.book
    made = activation_id(book.tenant_id, row.notification_id, telling.rule.revision, *telling.opener)
    occasion = Occasion("", "activated", 0, made, happening.at, happening.at)
    event = describe(occasion, telling.rule, telling.population or population_of(row), book)
    # Held until it is announced, be it at once.
    return msgspec.structs.replace(
        row, opened=Opened(made, happening.at, _text(event)), held=Hold(happening.at, None), reminded=0
    )


def _announced(row: Row, happening: Announced, telling: Telling) -> Row:
    opened = _open(row)
    event = _event(row, telling, "activated", happening.at)
    first = event if happening.at == opened.at else _activated(row)
    row = msgspec.structs.replace(
        row,
        opened=msgspec.structs.replace(opened, event=_text(first), announced_at=happening.at),
        held=None,
    )
    return _post(row, event, event)


def _reminded(row: Row, happening: Reminded, telling: Telling) -> Row:
    event = _event(row, telling, "reminder", happening.at, reminder=happening.number)
    opened = msgspec.structs.replace(_open(row), reminded_at=happening.at, reminder=happening.number)
    return _post(msgspec.structs.replace(row, opened=opened), event, event)


def _ended(row: Row, happening: Ended, telling: Telling, *, told: bool) -> Row:
    if telling.rule is None or telling.dismissed_because == "edited":
        event = _ended_as_it_opened(row, happening, telling)
    else:
        event = _event(row, telling, happening.kind, happening.at, ended_at=happening.at)
    text, activation = _text(event), _record(row, event)
    if not happening.announced or not told:
        row = _post(row, None, event)
    if happening.announced:
        # Until it is told, or at once by what follows.
        untold = Untold(happening.kind, happening.at, happening.at, None, text, activation)
        row = msgspec.structs.replace(row, untold=untold)
    return msgspec.structs.replace(row, opened=None)


def _end_told(row: Row, happening: EndTold) -> Row:
    assert row.untold is not None, "an ending is told that nobody has heard of"
    event = NotificationEvent.decode(row.untold.event.encode())
    ordinal = row.ordinal + 1
    event = event.model_copy(
        update={
            "id": event_id(event.activation_id, event.kind, ordinal),
            "ordinal": ordinal,
            "time": happening.at,
        }
    )
    activation = row.untold.activation
    return _put(msgspec.structs.replace(row, untold=None), event, _text(event), activation)


def _ended_as_it_opened(row: Row, happening: Ended, telling: Telling) -> NotificationEvent:
    """With names and texts as they were: the rule that it belonged to is gone."""
    activated = _activated(row)
    population = telling.population or population_of(row)
    return activated.model_copy(
        update={
            "kind": happening.kind,
            "time": happening.at,
            "ended_at": happening.at,
            "dismissed_because": telling.dismissed_because,
            "matched": population.matched,
            "reporting": population.reporting,
            "systems": population.systems,
            "systems_total": population.matched,
            "systems_truncated": population.truncated,
            "configuration_change": telling.book.change,
        }
    )


def _event(
    row: Row,
    telling: Telling,
    kind: EventKind,
    at: int,
    *,
    reminder: int | None = None,
    ended_at: int | None = None,
) -> NotificationEvent:
    assert telling.rule is not None
    opened, ordinal = _open(row), row.ordinal + 1
    occasion = Occasion(
        event_id(opened.id, kind, ordinal),
        kind,
        ordinal,
        opened.id,
        opened.at,
        at,
        reminder,
        ended_at,
        telling.dismissed_because,
        telling.dismissal,
    )
    return describe(occasion, telling.rule, telling.population or population_of(row), telling.book)


def _open(row: Row) -> Opened:
    assert row.opened is not None, "something happened to an activation that is not open"
    return row.opened


def _activated(row: Row) -> NotificationEvent:
    return NotificationEvent.decode(_open(row).event.encode())


def _record(row: Row, event: NotificationEvent) -> str:
    opened = _open(row)
    announced_at = opened.at if opened.announced_at is None and row.held is None else opened.announced_at
    told = Told(announced_at, opened.reminded_at, opened.reminder)
    return _text(activation_record(event, _activated(row), told))


def _post(row: Row, event: NotificationEvent | None, about: NotificationEvent) -> Row:
    """Put an event out with its activation; without one, only what has become of the activation."""
    return _put(row, about, _text(event) if event is not None else "", _record(row, about))


def _put(row: Row, about: NotificationEvent, event: str, activation: str) -> Row:
    number = max(row.number, row.ordinal) + 1
    ordinal = about.ordinal if event else 0
    pending = Pending(
        id=about.id if event else event_id(about.activation_id, f"record of {about.kind}", number),
        kind=about.kind,
        ordinal=ordinal,
        activation_id=about.activation_id,
        time=about.time,
        event=event,
        activation=activation,
        number=number,
    )
    return msgspec.structs.replace(row, ordinal=max(row.ordinal, ordinal), number=number, outbox=(*row.outbox, pending))


def _text(record: Wire) -> str:
    return record.encode().decode()
