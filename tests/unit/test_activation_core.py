"""When an activation opens and how it ends."""

from __future__ import annotations

from decimal import Decimal

import pytest

from activating import T0, TENANT, Log, book, event_of
from tocsin.evaluator.core.activation import FORGET_AFTER_MS, Reason, forget_sent
from tocsin.evaluator.core.activation_row import decode_row, encode_row
from tocsin.evaluator.core.lifecycle import State
from tocsin.evaluator.core.notification import Rulebook, reached
from tocsin.shared.configuration.records import (
    ThresholdSpec,
)
from tocsin.shared.errors import CodecError
from tocsin.shared.ids import activation_id, event_id
from tocsin.shared.schemas.activation import Activation


@pytest.mark.parametrize(
    ("threshold", "matched", "reporting", "expected"),
    [
        ("1", 0, 10, False),
        ("1", 1, 10, True),
        ("3", 2, 2, False),
        ("3", 3, 3, True),
        ("25%", 2, 8, True),
        ("25%", 2, 9, False),
        ("100%", 5, 5, True),
        ("100%", 4, 5, False),
        ("50%", 0, 0, False),
        ("0.1%", 0, 10, False),
        ("33.3%", 333, 1000, True),
        ("33.3%", 332, 1000, False),
        ("33.3333333333333333333333333333333333%", 1, 3, True),
        ("33.3333333333333333333333333333333334%", 1, 3, False),
        ("0", 5, 5, False),
    ],
)
def test_a_threshold_is_compared_exactly(threshold: str, matched: int, reporting: int, expected: bool) -> None:
    spec = ThresholdSpec(value=Decimal(threshold.rstrip("%")), is_percent=threshold.endswith("%"))
    assert reached(spec, matched, reporting) is expected


def test_the_denominator_alone_can_resolve() -> None:
    log = Log(book())
    assert log.tally(1, 8).reason is Reason.UNCHANGED
    assert log.tally(2, 8).reason is Reason.ACTIVATED
    assert log.tally(2, 9).reason is Reason.RESOLVED


def test_the_event_says_all_that_rendering_needs() -> None:
    log = Log(book())
    log.tally(0, 8)
    event = event_of(log.tally(2, 8))
    activation = activation_id(TENANT, "n1", log.book.rules["n1"].revision, 0, 1)
    assert event.activation_id == activation
    assert event.id == event_id(activation, "activated", 1)
    assert (event.kind, event.ordinal, event.time, event.activated_at) == ("activated", 1, T0 + 2_000, T0 + 2_000)
    assert (event.notification.name, event.description) == ("Slow", "Too many are slow")
    assert event.sensors[0].name == "CPU busy"
    assert event.threshold.text == "25% of systems currently reporting"
    assert (event.matched, event.reporting, event.systems) == (2, 8, ("p0-000", "p0-001"))
    assert event.urls.activation == f"https://console.example/activations/{activation}"
    assert event.urls.systems_now == f"https://console.example/api/v1/activations/{activation}/systems"
    assert event.urls.systems_at_activation == event.urls.systems_now + "?at=activation"
    assert event.configuration_change == 1


def test_the_activation_record_keeps_the_systems_of_the_activation_when_it_ends() -> None:
    log = Log(book())
    opened = log.tally(2, 8)
    ended = log.tally(0, 8)
    first = Activation.decode(opened.events[0].activation.encode())
    last = Activation.decode(ended.events[0].activation.encode())
    assert (first.state, first.ended_at, first.matched) == ("active", None, 2)
    assert (last.state, last.ended_at, last.matched) == ("resolved", T0 + 2_000, 0)
    assert first.systems_at_activation == last.systems_at_activation == ("p0-000", "p0-001")
    assert first.id == last.id


def test_partitions_count_together_and_only_when_all_have_counted() -> None:
    log = Log(book(threshold="3"), partitions=2)
    assert log.tally(5, 9).reason is Reason.COUNTING
    assert log.tally(0, 9, partition=1).reason is Reason.ACTIVATED
    assert log.tally(2, 9).reason is Reason.RESOLVED
    assert log.tally(1, 9, partition=1).reason is Reason.ACTIVATED


def test_listed_systems_are_merged_in_order_and_capped_with_the_exact_count_beside_them() -> None:
    log = Log(book(threshold="1"), partitions=2)
    log.tally(150, 200, partition=1)
    event = event_of(log.tally(80, 200))
    assert len(event.systems) == 100
    assert event.systems[:2] == ("p0-000", "p0-001")
    assert event.systems[-1] == "p1-019"
    assert (event.systems_total, event.systems_truncated) == (230, True)


@pytest.mark.parametrize(("epoch", "counter"), [(1, 5), (1, 4), (0, 99)])
def test_a_tally_that_is_not_newer_changes_nothing(epoch: int, counter: int) -> None:
    log = Log(book())
    log.tally(2, 8, counter=5)
    before = log.row
    result = log.tally(0, 8, epoch=epoch, counter=counter)
    assert result.reason is Reason.STALE
    assert result.row is before


def test_a_new_epoch_counts_from_the_start() -> None:
    log = Log(book())
    log.tally(2, 8, counter=500)
    assert log.tally(0, 8, epoch=2, counter=0).reason is Reason.RESOLVED


def test_an_edit_dismisses_with_the_old_texts_and_opens_again_only_after_the_threshold_was_left() -> None:
    log = Log(book())
    opened = event_of(log.tally(2, 8))
    log.book = book(change=2, threshold="10%", name="Slower")
    dismissed = event_of(log.tick())
    assert (dismissed.kind, dismissed.ordinal, dismissed.activation_id) == ("dismissed", 2, opened.activation_id)
    assert (dismissed.notification.name, dismissed.threshold.value) == ("Slow", "25")
    assert (dismissed.matched, dismissed.reporting) == (2, 8)
    assert dismissed.configuration_change == 2
    assert log.tally(2, 8).reason is Reason.UNCHANGED
    assert log.known.state is State.DISMISSED
    assert log.tally(0, 8).events == ()
    again = event_of(log.tally(2, 8))
    assert (again.kind, again.ordinal, again.notification.name) == ("activated", 3, "Slower")
    assert again.activation_id != opened.activation_id


def test_a_new_revision_is_judged_only_when_every_partition_has_counted_under_it() -> None:
    log = Log(book(threshold="3"), partitions=2)
    log.tally(0, 9)
    log.tally(0, 9, partition=1)
    log.book = book(change=2, threshold="2")
    assert log.tally(5, 9).reason is Reason.COUNTING
    assert log.tick().events == ()
    assert log.tally(0, 9, partition=1).reason is Reason.ACTIVATED


def test_a_tally_that_comes_before_its_configuration_is_kept_until_that_comes() -> None:
    log = Log(book(threshold="3"))
    log.tally(0, 9)
    new = book(change=2, threshold="2")
    assert log.tally(2, 9, revision=new.rules["n1"].revision).reason is Reason.COUNTING
    log.book = new
    result = log.tick()
    assert result.reason is Reason.ACTIVATED
    assert event_of(result).activation_id == activation_id(TENANT, "n1", new.rules["n1"].revision, 0, log.offset)


def test_a_tally_of_a_new_notification_that_comes_before_its_configuration_is_kept_too() -> None:
    log = Log(Rulebook(change=1))
    new = book(change=2, threshold="2")
    assert log.tally(2, 9, revision=new.rules["n1"].revision).reason is Reason.UNKNOWN
    log.book = new
    assert log.tick().reason is Reason.ACTIVATED


def test_a_deleted_notification_is_dismissed_and_forgotten_once_its_event_is_out() -> None:
    log = Log(book())
    log.tally(2, 8)
    log.book = book(change=2, delete=True)
    assert log.tick().reason is Reason.DISMISSED
    assert log.tick(FORGET_AFTER_MS).reason is Reason.UNKNOWN
    log.row = forget_sent(log.known, 2)
    result = log.tick()
    assert (result.row, result.reason) == (None, Reason.FORGOTTEN)


def test_a_new_name_is_no_edit_and_shows_in_the_next_event() -> None:
    log = Log(book())
    log.tally(2, 8)
    log.book = book(change=2, name="Renamed")
    assert log.tick().events == ()
    assert event_of(log.tally(0, 8)).notification.name == "Renamed"


def test_a_process_with_an_older_configuration_waits_instead_of_dismissing() -> None:
    log = Log(book(change=2))
    log.tally(2, 8)
    log.book = book(change=1, threshold="90%")
    assert log.tick().row is log.row
    assert log.tally(0, 8, revision="whatever").reason is Reason.LAGGING
    assert log.known.state is State.ACTIVE


def test_a_configuration_that_began_anew_with_lower_numbers_is_taken_up_in_the_end() -> None:
    log = Log(book(change=1_000))
    log.tally(2, 8)
    log.book = book(change=1, threshold="90%")
    assert log.tick(31_000).reason is Reason.DISMISSED


def test_a_change_of_the_input_partitions_is_counting_until_all_are_in() -> None:
    log = Log(book(threshold="1"))
    log.tally(1, 8)
    log.partitions = 2
    assert log.tally(0, 8).reason is Reason.COUNTING
    assert log.tally(0, 8, partition=1).reason is Reason.RESOLVED


def test_time_never_steps_back_and_a_clock_far_ahead_is_held() -> None:
    log = Log(book())
    opened = event_of(log.tally(2, 8, time=T0 + 3_600_000))
    assert opened.time == T0 + 1_000 + 60_000
    assert event_of(log.tally(0, 8, time=T0)).time == opened.time


def test_a_tick_that_changes_nothing_writes_nothing() -> None:
    log = Log(book())
    log.tally(2, 8)
    assert log.tick().row is log.row
    assert log.tick(3_600_000).row is log.row


def test_every_write_raises_the_edition() -> None:
    log = Log(book())
    editions = [log.tally(matched, 8).row.edition for matched in (0, 2, 2, 0)]  # type: ignore[union-attr]
    assert editions == [1, 2, 3, 4]


def test_the_outbox_holds_events_in_order_until_they_are_out() -> None:
    log = Log(book())
    log.tally(2, 8)
    log.tally(0, 8)
    assert [event.kind for event in log.known.outbox] == ["activated", "resolved"]
    assert [event.kind for event in forget_sent(log.known, 1).outbox] == ["resolved"]
    assert forget_sent(log.known, 2).outbox == ()


def test_a_row_survives_its_bytes_and_ignores_what_it_does_not_know() -> None:
    log = Log(book())
    log.tally(2, 8)
    data = encode_row(log.known)
    assert decode_row(data) == log.known
    assert decode_row(data[:-1] + b',"added_later":{"a":[1]}}') == log.known


@pytest.mark.parametrize(
    "data", [b"", b"null", b"[]", b"{}", b"\xff\xfe", b"[" * 100_000, b'{"notification_id":"n1","layout":99}']
)
def test_bytes_that_are_no_row_are_an_error_and_not_a_crash(data: bytes) -> None:
    with pytest.raises(CodecError):
        decode_row(data)
