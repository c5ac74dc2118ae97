"""What `tocsin listen` makes of a request."""

from __future__ import annotations

import json
import time
from collections.abc import Callable

import pytest

from tocsin.console.receiver import History, Request, Seen, Verifier, as_json, body_lines, headline
from tocsin.dispatcher.core.signing import (
    Signer,
    SigningSecret,
    generate_secret,
    public_key,
    signature_headers,
    signing_key,
)
from tocsin.shared.errors import SettingsError

GENERATED = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
TYPED = "It's a Secret to Everybody ✓"
BODY = '{"name": "Büro"}'.encode()


def signed(secret: str, body: bytes = BODY, timestamp: int | None = None) -> dict[str, str]:
    when = int(time.time()) if timestamp is None else timestamp
    return signature_headers((signing_key(secret),), "msg_1", when, body)


@pytest.mark.parametrize("secret", [GENERATED, TYPED, "short", "d2hzZWM="])
def test_what_the_dispatcher_signs_is_verified_whatever_form_the_secret_has(secret: str) -> None:
    assert Verifier([secret]).why_not(signed(secret), BODY) is None


def test_while_a_secret_is_rotated_either_may_have_signed() -> None:
    assert Verifier([TYPED, GENERATED]).why_not(signed(GENERATED), BODY) is None
    two = signature_headers((signing_key("new"), signing_key(TYPED)), "msg_1", int(time.time()), BODY)
    assert Verifier([TYPED]).why_not(two, BODY) is None


@pytest.mark.parametrize(
    ("headers_now", "body", "reason"),
    [
        (dict, BODY, "missing required headers"),
        (lambda: signed("other"), BODY, "no matching signature found"),
        (lambda: signed(TYPED), BODY + b" ", "no matching signature found"),
        (lambda: signed(TYPED, timestamp=1), BODY, "message timestamp too old"),
        (lambda: signed(TYPED, timestamp=int(time.time()) + 3600), BODY, "message timestamp too new"),
        (lambda: {**signed(TYPED), "webhook-id": "msg_2"}, BODY, "no matching signature found"),
        (lambda: {**signed(TYPED), "webhook-timestamp": "soon"}, BODY, "invalid signature headers"),
        (lambda: {**signed(TYPED), "webhook-signature": "junk"}, BODY, "malformed signature headers or body"),
        (lambda: {**signed(TYPED), "webhook-signature": "v1,€"}, BODY, "malformed signature headers or body"),
        (lambda: {**signed(TYPED), "webhook-signature": "v1a,AAAA"}, BODY, "no matching signature found"),
        (lambda: signed(TYPED), b"\xff\xfe", "malformed signature headers or body"),
    ],
)
def test_what_is_not_genuine_is_told_apart(headers_now: Callable[[], dict[str, str]], body: bytes, reason: str) -> None:
    # Signed now: what was signed when the tests were collected may be too old by the time this one runs.
    assert Verifier([TYPED]).why_not(headers_now(), body) == reason


def test_without_a_secret_nothing_counts_as_verified() -> None:
    assert Verifier([]).why_not(signed(TYPED), BODY) == "no secret given"


@pytest.mark.parametrize("secret", ["", "whsec_not base64", "whsec_QUFB"])
def test_a_secret_that_could_never_verify_is_refused_without_being_shown(secret: str) -> None:
    with pytest.raises(SettingsError) as error:
        Verifier([secret])
    assert not secret or secret not in str(error.value)


def test_a_repeat_is_noticed_and_memory_is_bounded() -> None:
    history = History(most=2)
    assert [history.is_repeat(one) for one in ("a", "a", "b", "a", "c", "b", "")] == [
        *(False, True, False, True),
        *(False, False, False),
    ]


def seen(body: bytes = BODY, **headers: str) -> Seen:
    request = Request("POST", "/hook?x=1", {"webhook-id": "msg_1", **headers}, body, 1_795_428_000_123)
    return Seen(request, verified=False, why_not="no secret given", repeat=True, status=500)


def test_the_json_line_has_everything_but_credentials() -> None:
    line = as_json(seen(authorization="Basic canary", cookie="canary", **{"x-env": "prod"}))
    assert "\n" not in line
    assert "canary" not in line
    assert json.loads(line) == {
        "id": "msg_1",
        "verified": False,
        "why_not": "no secret given",
        "repeat": True,
        "received_at": "2026-11-23T10:00:00.123Z",
        "method": "POST",
        "path": "/hook?x=1",
        "status": 500,
        "size": 17,
        "headers": {"webhook-id": "msg_1", "authorization": "***", "cookie": "***", "x-env": "prod"},
        "body": '{"name": "Büro"}',
    }


def test_the_headline_says_it_all_in_one_line() -> None:
    assert headline(seen()).split("  ") == [
        *("2026-11-23T10:00:00.123Z", "POST /hook?x=1", "msg_1", "not verified (no secret given)"),
        *("repeat", "17 bytes", "answered 500"),
    ]


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b'{"a":[1]}', ["{", '  "a": [', "    1", "  ]", "}"]),
        (b"plain\ntext", ["plain", "text"]),
        (b"", []),
        (b"\x1b[2Jgone", ["\\x1b[2Jgone"]),
        (b'"\\u001b[2J"', ['"\\u001b[2J"']),
        (b"\xff", ["\\xff"]),
    ],
)
def test_a_body_is_shown_so_that_it_cannot_write_to_the_terminal(body: bytes, expected: list[str]) -> None:
    assert body_lines(body) == expected


def test_a_long_or_deep_body_is_cut() -> None:
    assert body_lines(b"x\n" * 1_000)[-1] == "… 960 more lines"
    assert body_lines(b"[" * 100_000) == ["[" * 100_000]


def test_the_other_schemes_are_told_by_what_the_request_carries() -> None:
    private = generate_secret("ed25519")
    github = Signer([SigningSecret("s3cret", "github")]).headers("id", 1_000, BODY)
    ed25519 = Signer([SigningSecret(private, "ed25519")]).headers("id", 1_000, BODY)
    lowered = [{name.lower(): value for name, value in one.items()} for one in (github, ed25519)]
    assert Verifier(["other", "s3cret"]).why_not(lowered[0], BODY) is None
    assert Verifier(["other"]).why_not(lowered[0], BODY) == "no matching signature found"
    assert Verifier([public_key(private)]).why_not(lowered[1], BODY) is None
    assert Verifier([public_key(private)]).why_not(lowered[1], BODY + b" ") == "no matching signature found"
    assert Verifier([public_key(generate_secret("ed25519"))]).why_not(lowered[1], BODY) is not None
    assert Verifier(["s3cret"], "X-Token").why_not({"x-token": "s3cret"}, BODY) is None
    assert Verifier(["s3cret"], "X-Token").why_not({"x-token": "s3cre"}, BODY) == "x-token does not hold the secret"
    assert Verifier(["s3cret"], "X-Token").why_not({}, BODY) is not None
    with pytest.raises(SettingsError, match="a public key is whpk_ and the base64 of 32 bytes"):
        Verifier(["whpk_AAAA"])
