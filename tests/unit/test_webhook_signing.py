"""Signatures, with the published vectors, and verified by the third-party package."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import pytest
from standardwebhooks import Webhook

from tocsin.dispatcher.core.signing import (
    check_secret,
    generate_secret,
    sign,
    sign_github,
    signature_headers,
    signing_key,
)
from tocsin.shared.clock import SystemClock


def test_the_standard_webhooks_vector() -> None:
    key = signing_key("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    signature = sign(key, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}')
    assert signature == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_the_github_vector() -> None:
    expected = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"
    assert sign_github("It's a Secret to Everybody", b"Hello, World!") == expected


@pytest.mark.parametrize("secret", [generate_secret(), "any text: ö ✓", "short"], ids=["generated", "typed", "short"])
def test_a_receiver_verifies_with_the_third_party_package(secret: str) -> None:
    now = SystemClock().now_ms() // 1000
    body = '{"name": "Straße"}'
    headers = signature_headers((signing_key(secret),), "msg_1", now, body.encode())
    # A typed text is its own key: a receiver hands its base64 to a library that expects `whsec_`.
    receiver_secret = secret if secret.startswith("whsec_") else base64.b64encode(secret.encode()).decode()
    assert Webhook(receiver_secret).verify(body, headers) == {"name": "Straße"}


def test_the_receiver_in_the_documentation_verifies_and_refuses() -> None:
    page = (Path(__file__).parents[2] / "docs" / "verify-webhooks.md").read_text()
    (code,) = [block for block in page.split("```python\n") if block.startswith("import base64")]
    found: dict[str, Any] = {}
    exec(code.partition("```")[0], found)
    for secret in (generate_secret(), "any text"):
        headers = signature_headers((signing_key(secret),), "id", SystemClock().now_ms() // 1000, b"{}")
        assert found["verify"](secret, headers, b"{}")
        assert not found["verify"](secret, headers, b"{ }")
        assert not found["verify"](secret, {**headers, "webhook-timestamp": "1614265330"}, b"{}")


def test_two_keys_give_two_signatures_newest_first() -> None:
    headers = signature_headers((b"new", b"old"), "id", 1, b"x")
    assert headers["webhook-signature"] == f"{sign(b'new', 'id', 1, b'x')} {sign(b'old', 'id', 1, b'x')}"


def test_generated_secrets_are_32_bytes_and_never_the_same() -> None:
    first, second = generate_secret(), generate_secret()
    assert first.startswith("whsec_")
    assert len(signing_key(first)) == 32
    assert first != second
    assert check_secret(first) == []


def test_what_is_wrong_with_a_typed_secret_is_said_without_showing_it() -> None:
    assert check_secret("") == ["the secret must not be empty"]
    assert check_secret("anything else") == []
    assert check_secret("whsec_no base64!") == ["a secret that starts with whsec_ must go on in base64"]
    assert check_secret("whsec_" + base64.b64encode(b"tiny").decode()) == [
        "a secret that starts with whsec_ holds 24 to 64 bytes, not 4"
    ]
