"""Which headers a recipient may set."""

from __future__ import annotations

import pytest

from tocsin.dispatcher.core.headers import check_headers


def test_ordinary_headers_pass() -> None:
    given = [("X-Env", "prod"), ("x-key", None), ("Content-Type", "application/json"), ("Authorization", "Bearer x")]
    assert check_headers(given) == []


@pytest.mark.parametrize(
    "name",
    [
        "Host",
        "connection",
        "Content-Length",
        "TRANSFER-ENCODING",
        "te",
        "trailer",
        "upgrade",
        "Keep-Alive",
        "expect",
        "proxy-authorization",
        "Proxy-Connection",
        "webhook-id",
        "webhook-signature",
        "Webhook-Anything",
    ],
)
def test_what_frames_the_message_or_proves_it_is_refused(name: str) -> None:
    assert check_headers([(name, "x")]) == [f"header {name!r}: is set by the sender itself and may not be given"]


@pytest.mark.parametrize("name", ["", "X Y", "X:Y", "X\r\nY", "Ä", "X\0"])
def test_a_name_is_a_token(name: str) -> None:
    (problem,) = check_headers([(name, "x")])
    assert "a name has letters, digits and" in problem


@pytest.mark.parametrize("value", ["a\rb", "a\nb", "a\0b", "a\x7fb"])
def test_a_value_has_no_control_characters_and_is_never_shown(value: str) -> None:
    (problem,) = check_headers([("X", value)])
    assert problem == "header 'X': the value must not contain control characters such as CR, LF or NUL"


def test_names_are_unique_whatever_their_case() -> None:
    assert check_headers([("X-Key", "1"), ("x-kEY", "2")]) == [
        "header 'x-kEY': is there twice (upper and lower case are the same)"
    ]
