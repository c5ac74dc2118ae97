"""`tocsin secrets`."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from tocsin.console.cli.secrets import secrets
from tocsin.dispatcher.core.signing import check_secret, public_key
from tocsin.shared.errors import SettingsError


def run(*arguments: str, text: str = "", **environment: str) -> str:
    result = CliRunner().invoke(secrets, arguments, input=text, env=environment, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def test_generated_secrets_are_good_for_their_scheme() -> None:
    standard = json.loads(run("generate", "--json"))
    assert check_secret(standard["secret"]) == []
    pair = json.loads(run("generate", "--scheme", "ed25519", "--json"))
    assert check_secret(pair["secret"], "ed25519") == []
    assert pair["public_key"] == public_key(pair["secret"])
    assert run("generate").startswith("secret      whsec_")


def test_the_public_key_comes_from_a_variable_or_from_standard_input() -> None:
    pair = json.loads(run("generate", "--scheme", "ed25519", "--json"))
    assert run("public-key", text=pair["secret"] + "\n").strip() == pair["public_key"]
    assert run("public-key", "--env", "HOOK", HOOK=pair["secret"]).strip() == pair["public_key"]


def test_what_is_no_secret_is_refused_without_showing_it() -> None:
    with pytest.raises(SettingsError, match="an ed25519 secret is whsk_") as error:
        run("public-key", text="hush\n")
    assert "hush" not in str(error.value)
    with pytest.raises(SettingsError, match="the environment variable NO_SUCH is not set"):
        run("public-key", "--env", "NO_SUCH")
