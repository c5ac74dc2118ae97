"""Which deliveries an event makes."""

from __future__ import annotations

from delivering import event_of, notification_for, unsigned_recipient
from tocsin.dispatcher.core.routing import REMEMBERED, Known, Routed, RouterRow, route
from tocsin.shared.configuration.records import Notification, Recipient
from tocsin.shared.configuration.snapshot import Configuration
from tocsin.shared.ids import delivery_id

A = unsigned_recipient("http://a/", "A")
B = unsigned_recipient("http://b/", "B")
BOTH = notification_for(A, B)


def configuration(notification: Notification, *recipients: Recipient) -> Configuration:
    return Configuration(
        change=1,
        notifications={notification.id: notification},
        recipients={recipient.id: recipient for recipient in recipients},
    )


def routed(*args: object) -> Routed:
    found = route(*args)  # type: ignore[arg-type]
    assert isinstance(found, Routed)
    return found


def test_ids_come_from_the_event_and_the_recipient_so_a_replay_makes_the_same() -> None:
    event = event_of(BOTH.id)
    first = routed(event, RouterRow(), configuration(BOTH, A, B), 1)
    again = routed(event, RouterRow(), configuration(BOTH, A, B), 2)
    assert [one.id for one in first.deliveries] == [delivery_id(event.id, A.id), delivery_id(event.id, B.id)]
    assert [one.id for one in again.deliveries] == [one.id for one in first.deliveries]
    assert first.oddity is None


def test_a_known_event_is_dropped_however_often_it_comes() -> None:
    event = event_of(BOTH.id)
    row = routed(event, RouterRow(), configuration(BOTH, A), 1).row
    assert route(event, row, configuration(BOTH, A), 2) == Known()


def test_the_last_64_events_are_remembered() -> None:
    row = RouterRow()
    events = [event_of(BOTH.id, ordinal) for ordinal in range(1, REMEMBERED + 2)]
    for event in events:
        row = routed(event, row, configuration(BOTH, A), 1).row
    assert (row.ordinal, len(row.event_ids)) == (65, 64)
    assert route(events[1], row, configuration(BOTH, A), 1) == Known()
    assert routed(events[0], row, configuration(BOTH, A), 1).oddity == "ordinal_used"


def test_a_gap_and_a_used_ordinal_pass_and_are_reported() -> None:
    row = RouterRow(ordinal=5, event_ids=("x",))
    assert routed(event_of(BOTH.id, 6), row, configuration(BOTH, A), 1).oddity is None
    gap = routed(event_of(BOTH.id, 8), row, configuration(BOTH, A), 1)
    assert (gap.oddity, gap.row.ordinal, len(gap.deliveries)) == ("ordinal_gap", 8, 1)
    used = routed(event_of(BOTH.id, 3), row, configuration(BOTH, A), 1)
    assert (used.oddity, used.row.ordinal, len(used.deliveries)) == ("ordinal_used", 5, 1)


def test_only_kinds_the_notification_wants_are_sent() -> None:
    wants = notification_for(A, notify_on=("activated", "dismissed"))
    kinds = ("activated", "reminder", "resolved", "dismissed")
    found = [routed(event_of(wants.id, kind=kind), RouterRow(), configuration(wants, A), 1) for kind in kinds]
    assert [len(one.deliveries) for one in found] == [1, 0, 0, 1]
    assert [one.nobody_because for one in found] == [None, "kind_not_wanted", "kind_not_wanted", None]
    assert all(len(one.row.event_ids) == 1 for one in found)


def test_nobody_is_told_of_a_deleted_notification_and_deleted_recipients_are_named() -> None:
    event = event_of(BOTH.id)
    assert routed(event, RouterRow(), Configuration(), 1).nobody_because == "notification_deleted"
    half = routed(event, RouterRow(), configuration(BOTH, B), 1)
    assert ([one.recipient.name for one in half.deliveries], half.unknown_recipients) == (["B"], (A.id,))
    assert routed(event, RouterRow(), configuration(BOTH), 1).nobody_because == "no_recipients"


def test_a_recipient_named_twice_gets_one_delivery() -> None:
    twice = BOTH.model_copy(update={"recipient_ids": (A.id, A.id)})
    assert len(routed(event_of(twice.id), RouterRow(), configuration(twice, A), 1).deliveries) == 1


def test_a_row_survives_its_topic() -> None:
    row = RouterRow(ordinal=3, event_ids=("a", "b"))
    assert RouterRow.decode(row.encode()) == row
