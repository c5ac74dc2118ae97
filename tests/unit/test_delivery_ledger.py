"""The proof that nobody was forgotten."""

from __future__ import annotations

from tocsin.dispatcher.core.ledger import Ledger

D, E = ("d", 0), ("e", 0)


def test_one_end_each_is_clean() -> None:
    ledger = Ledger()
    for key in (D, E, ("d", 1)):
        ledger.audited(key, "routed", 1)
    ledger.audited(D, "attempt", 2, outcome="failed")
    ledger.audited(D, "dead-lettered", 3)
    ledger.audited(("d", 1), "delivered", 5)
    ledger.audited(E, "suppressed", 4)
    ledger.audited(E, "delivered", 4)
    report = ledger.report([])
    assert report.clean
    assert (report.routed, report.ended, report.open) == (3, {"dead-lettered": 1, "delivered": 2}, 0)
    assert (report.suppressed, report.attempts) == (1, {"failed": 1})


def test_what_waits_is_open_and_its_age_is_that_of_the_oldest() -> None:
    ledger = Ledger()
    ledger.audited(D, "routed", 70)
    ledger.audited(E, "routed", 50)
    report = ledger.report([D, E])
    assert (report.clean, report.open, report.oldest_open_ms) == (True, 2, 50)


def test_missing_doubled_and_unknown_are_told_apart() -> None:
    ledger = Ledger()
    ledger.audited(("missing", 0), "routed", 1)
    ledger.audited(("doubled", 0), "routed", 1)
    ledger.audited(("doubled", 0), "delivered", 2)
    ledger.audited(("doubled", 0), "expired", 3)
    ledger.audited(("unknown", 2), "cancelled", 1)
    report = ledger.report([("waiting but never routed", 0)])
    assert not report.clean
    assert report.missing == (("missing", 0),)
    assert report.doubled == (("doubled", 0),)
    assert report.unknown == (("unknown", 2), ("waiting but never routed", 0))


def test_a_terminal_wins_over_a_waiting_record_seen_before_it() -> None:
    ledger = Ledger()
    ledger.audited(D, "routed", 1)
    ledger.audited(D, "delivered", 2)
    report = ledger.report([D])
    assert (report.clean, report.open) == (True, 0)


def test_what_was_routed_while_we_looked_is_open_and_not_missing() -> None:
    ledger = Ledger()
    ledger.audited(D, "routed", 1, judged=False)
    assert (ledger.report([]).clean, ledger.report([]).open) == (True, 1)


def test_since_leaves_out_what_was_routed_before_whenever_it_ended() -> None:
    ledger = Ledger(since_ms=10)
    ledger.audited(D, "routed", 5)
    ledger.audited(D, "delivered", 15)
    ledger.audited(E, "routed", 12)
    report = ledger.report([])
    assert (report.routed, report.missing, report.unknown) == (1, (E,), ())
