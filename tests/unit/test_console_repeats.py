"""Writes that are sent again: what their keys leave in the configuration."""

from __future__ import annotations

import pytest

from tocsin.console import repeats
from tocsin.console.audit import audit_change
from tocsin.console.repeats import LIFETIME_MS, Keyed, KeyReusedError, done_before, with_key
from tocsin.console.state import Change, Operation, Put, State, compose
from tocsin.shared.configuration.records import Answered, Group

NOW = 1_764_064_800_000


def group(name: str) -> Put:
    return Put(Group(id=f"id-{name}", name=name))


def keyed(key: str, fingerprint: str = "f", now: int = NOW, caller: str = "c") -> Keyed:
    return Keyed.of(caller, key, fingerprint, now)


def changed(state: State, operations: list[Operation], key: Keyed, now: int = NOW) -> Change:
    return compose(state, with_key(state, operations, key, now), state.change + 1, now)


def answered(state: State) -> list[str]:
    return [record.id for record in state.of_kind(Answered.kind)]


def test_a_write_is_known_to_be_done_as_soon_as_it_is() -> None:
    before = State()
    assert not done_before(before, keyed("k"), NOW)
    assert not done_before(before, None, NOW)
    after = changed(before, [group("A")], keyed("k")).state
    assert after.find("group", "A") is not None
    assert done_before(after, keyed("k"), NOW)
    # Another caller's key of the same text is another key.
    assert not done_before(after, keyed("k", caller="d"), NOW)
    with pytest.raises(KeyReusedError):
        done_before(after, keyed("k", "another request"), NOW)


def test_a_key_counts_for_a_day() -> None:
    after = changed(State(), [group("A")], keyed("k")).state
    assert done_before(after, keyed("k"), NOW + LIFETIME_MS - 1)
    assert not done_before(after, keyed("k"), NOW + LIFETIME_MS)
    later = changed(after, [group("B")], keyed("k", "g", NOW + LIFETIME_MS), NOW + LIFETIME_MS).state
    assert done_before(later, keyed("k", "g"), NOW + LIFETIME_MS)


def test_what_changes_nothing_leaves_nothing() -> None:
    assert with_key(State(), [], keyed("k"), NOW) == []


def test_what_is_over_goes_with_later_changes_and_there_are_never_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(repeats, "MOST_REMEMBERED", 5)
    state = State()
    for number in range(9):
        state = changed(state, [group(f"G{number}")], keyed(f"k{number}", now=NOW + number), NOW + number).state
    assert sorted(answered(state)) == sorted(keyed(f"k{number}").id for number in range(4, 9))
    over = NOW + LIFETIME_MS + 6
    state = changed(state, [group("last")], keyed("last", now=over), over).state
    assert sorted(answered(state)) == sorted(keyed(key).id for key in ("k7", "k8", "last"))


def test_the_audit_tells_of_what_was_changed_and_not_of_keys() -> None:
    change = changed(State(), [group("A")], keyed("k"))
    records = audit_change(change, {}, "token:x", NOW)
    assert sorted(record.kind for record in records) == ["group", "settings"]
