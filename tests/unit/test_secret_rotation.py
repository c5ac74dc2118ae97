"""Which secrets go on signing after a change, and for how long."""

from __future__ import annotations

from typing import Any

from tocsin.shared.configuration.records import Ciphertext, Recipient, RetiredSecret, SignedSecret, Webhook
from tocsin.shared.configuration.rotation import signed_secret, with_retired

HOUR = 3_600_000
NOW = 1_764_064_800_000


def sealed(text: str) -> Ciphertext:
    return Ciphertext(key_id="k", nonce="n", data=text)


def hook(secret: str, **given: Any) -> Recipient:
    signed = SignedSecret(secret=sealed(secret), **given)
    return Recipient(id="r", name="R", type="system", webhook=Webhook(url="https://x", authentication=signed))


def retired(recipient: Recipient) -> list[tuple[str, str, int]]:
    signed = signed_secret(recipient)
    assert signed is not None
    return [(one.secret.data, one.scheme, (one.until - NOW) // HOUR) for one in signed.retired]


def test_a_replaced_secret_goes_on_for_a_day_and_the_one_before_it_for_what_is_left_of_its_own() -> None:
    first = with_retired(None, hook("a"), NOW)
    assert retired(first) == []
    second = with_retired(first, hook("b"), NOW)
    assert retired(second) == [("a", "standard", 24)]
    third = with_retired(second, hook("c"), NOW + 6 * HOUR)
    assert retired(third) == [("b", "standard", 30), ("a", "standard", 24)]
    assert retired(with_retired(third, hook("d"), NOW + 25 * HOUR)) == [("c", "standard", 49), ("b", "standard", 30)]


def test_a_write_that_changes_no_secret_changes_nothing_however_late() -> None:
    second = with_retired(hook("a"), hook("b"), NOW)
    assert with_retired(second, hook("b"), NOW + 100 * HOUR) == second


def test_keep_old_is_settable_and_none_ends_the_old_ones_at_once() -> None:
    assert retired(with_retired(hook("a"), hook("b", keep_old=7 * 24 * HOUR), NOW)) == [("a", "standard", 168)]
    assert retired(with_retired(hook("a"), hook("b", keep_old=0), NOW)) == []
    kept = with_retired(hook("a"), hook("b"), NOW)
    cut = with_retired(kept, hook("b", keep_old=0), NOW + HOUR)
    assert retired(cut) == [("a", "standard", 1)], "over now"
    assert with_retired(cut, hook("b", keep_old=0), NOW + 2 * HOUR) == cut


def test_a_change_of_scheme_keeps_the_old_secret_only_where_both_fit_into_one_header() -> None:
    assert retired(with_retired(hook("a"), hook("b", scheme="ed25519"), NOW)) == [("a", "standard", 24)]
    assert retired(with_retired(hook("a"), hook("b", scheme="github"), NOW)) == []
    assert retired(with_retired(hook("a", scheme="header", header="X"), hook("b"), NOW)) == []


def test_an_old_secret_that_comes_back_does_not_sign_twice() -> None:
    second = with_retired(hook("a"), hook("b"), NOW)
    assert retired(with_retired(second, hook("a"), NOW)) == [("b", "standard", 24)]


def test_no_more_than_five_are_kept() -> None:
    current = hook("0")
    for number in range(1, 9):
        current = with_retired(current, hook(str(number)), NOW + number)
    assert [secret for secret, *_ in retired(current)] == ["7", "6", "5", "4", "3"]


def test_what_was_retired_survives_the_wire() -> None:
    record = with_retired(hook("a"), hook("b"), NOW)
    assert Recipient.decode(record.encode()) == record
    assert signed_secret(record) == SignedSecret(
        secret=sealed("b"), retired=(RetiredSecret(secret=sealed("a"), scheme="standard", until=NOW + 24 * HOUR),)
    )
