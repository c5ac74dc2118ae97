"""Secrets that a receiver sends back."""

from __future__ import annotations

import base64
import html
import json
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tocsin.dispatcher.core.redaction import Redactor


@pytest.mark.parametrize(
    "secret", ["hush", "pä:ss wörd", "a\"b\\c<d>&e'", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "."]
)
def test_every_way_a_page_writes_a_secret_is_masked(secret: str) -> None:
    redact = Redactor([secret])
    for form in (secret, json.dumps(secret), html.escape(secret), quote(secret), repr(secret)):
        shown = redact(f"X-Key -> {form} <-".encode())
        assert form.strip("\"'").encode() not in shown
        assert b"***" in shown
    assert redact(base64.b64encode(secret.encode())) == b"***"


def test_a_secret_that_contains_another_is_masked_as_a_whole() -> None:
    assert Redactor(["abc", "abcdef"])(b"-abcdef-abc-") == b"-***-***-"


def test_without_secrets_nothing_changes() -> None:
    assert Redactor([])(b"as it is") == b"as it is"
    assert Redactor([""])(b"as it is") == b"as it is"
    assert "hush" not in repr(Redactor(["hush"]))


@given(st.text(min_size=4).filter(lambda text: "*" not in text), st.binary(), st.binary())
def test_no_secret_survives(secret: str, before: bytes, after: bytes) -> None:
    plain = secret.encode("utf-8", "replace")
    found = Redactor([secret])(before + plain + after)
    assert plain not in found or plain in b"***"
