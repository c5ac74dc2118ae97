"""What waits, reminds, keeps quiet, cools down and is dismissed; what is told, when, and as of when."""

from __future__ import annotations

import msgspec

from activating import T0, TENANT, Log, book_with, event_of, kinds, quiet
from tocsin.evaluator.core.activation import Place, forget_sent, step
from tocsin.evaluator.core.activation_row import decode_row, encode_row
from tocsin.evaluator.core.notification import Rulebook
from tocsin.shared.configuration.records import Dismissal
from tocsin.shared.ids import activation_id
from tocsin.shared.schemas.activation import Activation
from tocsin.shared.schemas.event import NotificationEvent
from tocsin.shared.schemas.tally import Tick


def test_waiting_is_over_when_a_tick_has_passed_the_due_time_and_has_that_time() -> None:
    log = Log(book_with({"for_": 2_500}))
    assert kinds(log.tally(1, 8)) == []
    assert kinds(log.tick()) == []
    assert kinds(log.tick(1_500)) == []  # at the due time itself it may still be made void
    result = log.tick()
    assert event_of(result).time == T0 + 3_500
    assert event_of(result).activation_id == activation_id(TENANT, "n1", log.book.rules["n1"].revision, 0, 3)
    again = Log(book_with({"for_": 2_500}))
    again.tally(1, 8)
    again.tally(0, 8)
    assert kinds(again.tick(10_000)) == []


def test_a_tally_fires_what_was_due_before_it_with_the_counts_as_they_were() -> None:
    log = Log(book_with({"for_": 2_500, "remind_every": 4_000}))
    log.tally(3, 8)
    log.now += 9_000
    result = log.tally(0, 9)
    told = [NotificationEvent.decode(event.event.encode()) for event in result.events]
    assert [(event.kind, event.time - T0, event.matched, event.reminder) for event in told] == [
        ("activated", 3_500, 3, None),
        ("reminder", 7_500, 3, 1),
        ("resolved", 11_000, 0, None),
    ]
    record = Activation.decode(result.events[-1].activation.encode())
    assert (record.announced_at, record.reminded_at, record.reminder, record.ended_at) == (
        T0 + 3_500, T0 + 7_500, 1, T0 + 11_000,
    )  # fmt: skip


def test_a_silent_detector_opens_nothing_until_its_counts_are_heard_again() -> None:
    log = Log(book_with({"for_": 120_000}), partitions=2)
    log.tally(1, 8)
    log.tally(0, 8, partition=1)
    log.now += 60_000
    log.tally(1, 8, partition=0)  # one of two says again what it counts
    assert kinds(log.tick(100_000)) == []
    assert kinds(log.tally(1, 8)) == []
    result = log.tally(0, 8, partition=1)
    assert event_of(result).time == log.now


def test_more_reminders_than_may_go_out_at_once_come_in_turns_and_none_is_lost() -> None:
    log = Log(book_with({"remind_every": 1_000}))
    log.tally(1, 8)
    log.offset, log.now = 1, T0 + 11_500
    tick, at, numbers = Tick(time=log.now), Place(0, 1, log.now), []
    more = True
    while more:
        result = step(log.row, tick, log.book, at)
        assert len(result.events) <= 4
        log.row, more = result.row, result.more
        numbers += [NotificationEvent.decode(event.event.encode()).reminder for event in result.events]
    assert numbers == list(range(1, 11))
    assert step(log.row, tick, log.book, at).row is log.row


def test_what_opens_and_ends_in_a_silence_is_told_to_nobody_but_kept_in_the_records() -> None:
    log = Log(book_with(silences={"q": quiet(T0 + 60_000)}))
    opened = log.tally(1, 8)
    assert kinds(opened) == ["(activated)"]
    record = Activation.decode(opened.events[0].activation.encode())
    assert (record.state, record.announced_at) == ("active", None)
    ended = log.tally(0, 8)
    assert kinds(ended) == ["(resolved)"]
    record = Activation.decode(ended.events[0].activation.encode())
    assert (record.state, record.announced_at, record.ended_at) == ("resolved", None, T0 + 2_000)
    assert kinds(log.tick(120_000)) == []


def test_what_stands_at_the_end_of_a_silence_is_announced_then_as_it_is_then() -> None:
    log = Log(book_with(silences={"q": quiet(T0 + 10_000)}))
    log.tally(1, 8)
    assert kinds(log.tally(3, 8)) == []
    result = log.tick(9_000)
    event = event_of(result)
    assert (event.kind, event.time, event.activated_at, event.matched) == ("activated", T0 + 10_000, T0 + 1_000, 3)
    record = Activation.decode(result.events[0].activation.encode())
    assert (record.announced_at, record.systems_at_activation) == (T0 + 10_000, ("p0-000",))


def test_a_silence_that_is_ended_early_announces_from_the_change_on() -> None:
    log = Log(book_with(silences={"q": quiet(T0 + 3_600_000)}))
    log.tally(1, 8)
    log.tick(600_000)
    log.book = book_with(silences={"q": quiet(T0 + 605_000)})
    log.tick(6_000)
    assert event_of(log.tick()).time == T0 + 607_000  # when the change was seen


def test_an_end_in_a_silence_is_told_after_it_and_before_anything_newer() -> None:
    log = Log(book_with())
    log.tally(1, 8)
    log.book = book_with(silences={"q": quiet(T0 + 10_000, start=T0 + 2_000)})
    assert kinds(log.tally(0, 8)) == ["(resolved)"]
    assert kinds(log.tally(1, 8)) == ["(activated)"]
    result = log.tally(2, 8, time=T0 + 30_000)
    told = [NotificationEvent.decode(event.event.encode()) for event in result.events]
    assert [(event.kind, event.ordinal, event.time, event.ended_at) for event in told] == [
        ("resolved", 2, T0 + 10_000, T0 + 2_000),
        ("activated", 3, T0 + 10_000, None),
    ]
    assert told[0].activation_id != told[1].activation_id


def test_a_cooldown_holds_back_the_next_announcement_and_no_longer() -> None:
    log = Log(book_with({"cooldown": 5_000}))
    log.tally(1, 8)
    assert kinds(log.tally(0, 8)) == ["resolved"]  # at 2 s
    assert kinds(log.tally(1, 8)) == ["(activated)"]
    assert kinds(log.tally(0, 8)) == ["(resolved)"]  # which begins no cooldown of its own
    assert kinds(log.tally(1, 8)) == ["(activated)"]
    assert kinds(log.tick(2_000)) == []
    assert event_of(log.tick()).time == T0 + 7_000


def test_a_dismissal_by_hand_ends_it_until_the_threshold_was_left() -> None:
    log = Log(book_with())
    opened = event_of(log.tally(1, 8))
    known = Dismissal(id="d", name="d", activation_id=opened.activation_id, dismissed_by="cli:me", comment="known")
    log.book = book_with(dismissals={opened.activation_id: known})
    result = log.tick()
    event = event_of(result)
    assert (event.kind, event.dismissed_because, event.dismissed_by, event.comment) == (
        "dismissed", "by-hand", "cli:me", "known",
    )  # fmt: skip
    record = Activation.decode(result.events[0].activation.encode())
    assert (record.state, record.dismissed_by, record.comment) == ("dismissed", "cli:me", "known")
    assert kinds(log.tally(2, 8)) == []
    assert kinds(log.tally(0, 8)) == []
    assert event_of(log.tally(1, 8)).activation_id != opened.activation_id


def test_an_edit_ends_what_was_never_announced_without_a_word() -> None:
    log = Log(book_with(silences={"q": quiet(T0 + 3_600_000)}))
    log.tally(1, 8)
    log.book = book_with({"cooldown": 1}, silences={"q": quiet(T0 + 3_600_000)})
    result = log.tick()
    assert kinds(result) == ["(dismissed)"]
    assert Activation.decode(result.events[0].activation.encode()).dismissed_because == "edited"


def test_an_edit_in_a_silence_is_told_after_it_and_a_deletion_at_once() -> None:
    log = Log(book_with())
    log.tally(1, 8)
    log.book = book_with({"cooldown": 1}, silences={"q": quiet(T0 + 60_000)})
    assert kinds(log.tick()) == ["(dismissed)"]
    event = event_of(log.tick(60_000))
    assert (event.kind, event.time, event.ended_at) == ("dismissed", T0 + 60_000, T0 + 2_000)
    log.tally(0, 8)
    log.tally(1, 8)
    log.book = Rulebook(change=2)
    deleted = event_of(log.tick())
    assert (deleted.kind, deleted.dismissed_because) == ("dismissed", "deleted")


def test_an_edit_makes_waiting_begin_anew() -> None:
    log = Log(book_with({"for_": 5_000}))
    log.tally(1, 8)
    log.tick(3_000)
    log.book = book_with({"for_": 6_000})
    log.tally(1, 8)
    assert kinds(log.tick(5_900)) == []
    assert event_of(log.tick(200)).time == T0 + 5_000 + 6_000


OLD_ROW = (
    b'{"notification_id":"n1","edition":2,"state":"active","revision":"%s","change":1,"changed_at":1764000001000,'
    b'"partitions":1,"counts":{"0":{"epoch":1,"counter":1,"revision":"%s","matched":2,"reporting":8,'
    b'"time":1764000002000,"systems":["p0-000","p0-001"]}},"opened":{"id":"0f0f0f0f-0000-5000-8000-000000000000",'
    b'"at":1764000002000,"event":%s},"ordinal":1,"outbox":[{"id":"e1","kind":"activated","ordinal":1,'
    b'"activation_id":"0f0f0f0f-0000-5000-8000-000000000000","time":1764000002000,"event":"{}","activation":"{}"}],'
    b'"time":1764000002000}'
)
"""As the first version wrote it: no numbers, nothing held back, nobody known to have been heard."""


def test_a_row_of_the_first_version_goes_on() -> None:
    log = Log(book_with({"remind_every": 4_000}))
    event = event_of(Log(log.book).tally(2, 8))
    revision = log.book.rules["n1"].revision.encode()
    text = msgspec.json.encode(
        event.model_copy(update={"time": T0 + 2_000, "activated_at": T0 + 2_000}).encode().decode()
    )
    log.row = decode_row(OLD_ROW % (revision, revision, text))
    log.offset, log.now = 1, T0 + 2_000
    log.row = forget_sent(log.known, 1)
    assert log.known.outbox == ()
    reminded = log.tick(5_000)
    assert [(event.kind, event.ordinal, event.number) for event in reminded.events] == [("reminder", 2, 2)]
    record = Activation.decode(reminded.events[0].activation.encode())
    assert (record.announced_at, record.reminder) == (T0 + 2_000, 1)
    assert kinds(log.tally(0, 8)) == ["resolved"]


def test_a_row_that_holds_nothing_back_is_still_written_for_older_code() -> None:
    log = Log(book_with())
    log.tally(1, 8)
    assert b'"layout"' not in encode_row(log.known)
    log.book = book_with(silences={"q": quiet(T0 + 60_000)})
    log.tally(0, 8)
    assert b'"layout":2' in encode_row(log.known)
    assert decode_row(encode_row(log.known)).standing() == log.known.standing()
