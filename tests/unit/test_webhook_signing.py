"""Signatures, with the published vectors, and verified by the third-party package."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from standardwebhooks import Webhook

from tocsin.dispatcher.core.signing import (
    Signer,
    SigningSecret,
    check_secret,
    generate_secret,
    public_key,
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
    page = (Path(__file__).parents[2] / "docs" / "verify" / "README.md").read_text()
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


SEED, PUBLIC = (
    base64.b64encode(bytes.fromhex(text)).decode()
    for text in (
        "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
    )
)
"""RFC 8032, section 7.1, test 1."""


def test_the_public_key_of_an_ed25519_secret() -> None:
    assert public_key(f"whsk_{SEED}") == f"whpk_{PUBLIC}"
    both = base64.b64encode(base64.b64decode(SEED) + base64.b64decode(PUBLIC)).decode()
    assert public_key(f"whsk_{both}") == f"whpk_{PUBLIC}"


def test_an_ed25519_signature_verifies_with_the_public_key_and_nothing_else() -> None:
    headers = Signer([SigningSecret(f"whsk_{SEED}", "ed25519")]).headers("msg_1", 1_614_265_330_999, b'{"a": 1}')
    version, _, signature = headers["webhook-signature"].partition(",")
    assert (version, headers["webhook-timestamp"]) == ("v1a", "1614265330")
    key = Ed25519PublicKey.from_public_bytes(base64.b64decode(PUBLIC))
    key.verify(base64.b64decode(signature), b'msg_1.1614265330.{"a": 1}')
    with pytest.raises(InvalidSignature):
        key.verify(base64.b64decode(signature), b'msg_1.1614265331.{"a": 1}')


def test_the_github_and_header_schemes_set_one_header_each_and_the_id() -> None:
    github = Signer([SigningSecret("It's a Secret to Everybody", "github")]).headers("id", 1, b"Hello, World!")
    assert github == {
        "webhook-id": "id",
        "X-Hub-Signature-256": "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17",
    }
    plain = Signer([SigningSecret("s3cret", "header")], "X-Token").headers("id", 1, b"x")
    assert plain == {"webhook-id": "id", "X-Token": "s3cret"}
    assert Signer(()).headers("id", 1, b"x") == {"webhook-id": "id"}


def test_a_retired_secret_signs_beside_the_new_one_until_its_time_is_over() -> None:
    signer = Signer(
        [
            SigningSecret("new", "standard"),
            SigningSecret("older", "standard", until_ms=2_000),
            SigningSecret(f"whsk_{SEED}", "ed25519", until_ms=3_000),
        ]
    )

    def versions(now_ms: int) -> list[str]:
        return [one.partition(",")[0] for one in signer.headers("id", now_ms, b"x")["webhook-signature"].split(" ")]

    assert versions(1_999) == ["v1", "v1", "v1a"]
    assert versions(2_000) == ["v1", "v1a"]
    assert versions(3_000) == ["v1"]
    assert signer.headers("id", 1_999, b"x")["webhook-signature"].startswith(sign(b"new", "id", 1, b"x") + " ")


@pytest.mark.parametrize(
    ("scheme", "secret", "problem"),
    [
        ("ed25519", "whsec_AAAA", "an ed25519 secret is whsk_ and the base64 of a 32-byte seed"),
        ("ed25519", "whsk_AAAA", "of a 32-byte seed, not of 3 bytes"),
        ("ed25519", "whsk_not base64", "an ed25519 secret is whsk_"),
        ("ed25519", "whsk_" + base64.b64encode(bytes(64)).decode(), "is not the public key of its first"),
        ("standard", f"whsk_{SEED}", "is an ed25519 key: set scheme: ed25519"),
        ("header", "a\r\nb", "the secret must not contain control characters"),
        ("github", "", "the secret must not be empty"),
    ],
)
def test_what_is_wrong_with_a_secret_for_its_scheme(scheme: Any, secret: str, problem: str) -> None:
    (found,) = check_secret(secret, scheme)
    assert problem in found


def test_a_secret_is_not_in_the_repr() -> None:
    assert "hush" not in repr(SigningSecret("hush", "standard"))


@pytest.mark.parametrize("length", [1, 24, 63, 64, 65, 200])
def test_a_signer_made_once_signs_every_text_as_the_plain_function_does(length: int) -> None:
    secret = "k" * length
    signer = Signer([SigningSecret(secret, "standard")])
    for body in (b"", b"{}", b"x" * 5_000):
        expected = sign(signing_key(secret), "id", 1_764_064_800, body)
        assert signer.headers("id", 1_764_064_800_123, body)["webhook-signature"] == expected
