"""Who may sign in, and what a cookie, a token and a role are worth."""

from __future__ import annotations

import pytest

from tocsin.console.access.keys import hint_of, new_token, token_hash
from tocsin.console.access.passwords import check_password, hash_password, verify_password
from tocsin.console.access.roles import Caller
from tocsin.console.access.sessions import Sessions, seal, unseal
from tocsin.console.access.throttle import PER_NAME, WINDOW_MS, Throttle
from tocsin.shared.secrets import KeyRing

KEYS = KeyRing({"k1": b"1" * 32})
OTHERS = KeyRing({"k1": b"2" * 32})
NOW = 1_764_064_800_000


def test_a_password_verifies_against_its_own_hash_only() -> None:
    stored = hash_password("correct horse battery")
    assert stored.startswith("$argon2id$")
    assert stored != hash_password("correct horse battery")
    assert verify_password("correct horse battery", stored)
    assert not verify_password("correct horse batterx", stored)


def test_nobody_has_no_password_and_a_broken_hash_lets_nobody_in() -> None:
    assert not verify_password("", None)
    assert not verify_password("correct horse battery", None)
    assert not verify_password("x", "$argon2id$broken")


@pytest.mark.parametrize("password", ["short", "aaaaaaaaaaaa", "Administrator"])
def test_weak_passwords_are_refused(password: str) -> None:
    assert check_password(password, "administrator")


def test_a_session_is_read_back_until_it_ends() -> None:
    sessions = Sessions(lambda: KEYS, 1_000)
    session, cookie = sessions.begin("u1", NOW)
    assert sessions.read(cookie, NOW + 999) == session
    assert sessions.read(cookie, NOW + 1_000) is None
    sessions.end(session, NOW)
    assert sessions.read(cookie, NOW) is None


@pytest.mark.parametrize("cookie", ["", "x", "AAAA", "a" * 5_000, "ünï", "e30"])
def test_what_is_no_cookie_is_nobody(cookie: str) -> None:
    assert Sessions(lambda: KEYS, 1_000).read(cookie, NOW) is None


def test_a_cookie_of_other_keys_or_for_something_else_is_not_taken() -> None:
    _, cookie = Sessions(lambda: OTHERS, 1_000).begin("u1", NOW)
    assert Sessions(lambda: KEYS, 1_000).read(cookie, NOW) is None
    assert unseal(KEYS, "console-session", seal(KEYS, "console-welcome", {"until": 1})) is None


def test_tokens_are_long_and_kept_as_a_hash() -> None:
    token = new_token()
    assert len(token) >= 43
    assert token not in token_hash(token)
    assert token.endswith(hint_of(token))


@pytest.mark.parametrize(
    ("scope", "reached"),
    [
        ("viewer", ["viewer"]),
        ("operator", ["viewer", "operator"]),
        ("editor", ["viewer", "operator", "editor"]),
        ("admin", ["viewer", "operator", "editor", "admin"]),
        ("ingest", []),
    ],
)
def test_each_role_reaches_what_those_before_it_do(scope: str, reached: list[str]) -> None:
    who = Caller("token", "t", "t", scope)  # type: ignore[arg-type]
    assert [need for need in ("viewer", "operator", "editor", "admin") if who.may(need)] == reached  # type: ignore[arg-type]


def test_failures_make_a_name_wait_and_time_forgives() -> None:
    throttle = Throttle()
    for number in range(PER_NAME):
        assert throttle.wait_ms("Alice", "192.0.2.1", NOW + number) == 0
        throttle.failed("alice", "192.0.2.1", NOW + number)
    assert throttle.wait_ms("ALICE", "192.0.2.2", NOW + PER_NAME) > 0
    assert throttle.wait_ms("bob", "192.0.2.1", NOW + PER_NAME) == 0
    assert throttle.wait_ms("alice", "192.0.2.2", NOW + WINDOW_MS + PER_NAME) == 0


def test_a_right_password_forgives_the_name() -> None:
    throttle = Throttle()
    for _ in range(PER_NAME):
        throttle.failed("alice", "192.0.2.1", NOW)
    throttle.succeeded("alice")
    assert throttle.wait_ms("alice", "192.0.2.9", NOW) == 0
