"""The operators' commands that show what the console's pages show."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from consoling import console_settings
from delivering import delivery_for, put_deliveries, unsigned_recipient
from tocsin.console.access.keys import token_hash
from tocsin.console.settings import ConsoleSettings
from tocsin.console.store import Store
from tocsin.deploy.fleet import TOCSIN
from tocsin.deploy.stack import Stack
from tocsin.shared.configuration.records import Token, User

pytestmark = pytest.mark.kafka


@pytest.fixture(scope="module")
def settings(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> ConsoleSettings:
    return console_settings(stack, tmp_path_factory.mktemp("cli"))


def tocsin(settings: ConsoleSettings, *arguments: str, code: int = 0, **more: str) -> str:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TOCSIN_")} | {
        "KAFKA_BOOTSTRAP_SERVERS": settings.kafka.bootstrap_servers,
        "TOCSIN_STATE_DIR": str(settings.state_dir),
        "TOCSIN_TOPIC_PREFIX": settings.topic_prefix,
        "TOCSIN_RETRY_TIERS": "200ms,500ms",
        **more,
    }
    done = subprocess.run(
        [*TOCSIN, *arguments], capture_output=True, text=True, env=environment, timeout=120, check=False
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_the_first_account_is_made_and_then_the_link_is_worth_nothing(settings: ConsoleSettings) -> None:
    assert "/welcome?code=" in tocsin(settings, "admin", "link")
    tocsin(settings, "admin", "create", "Ada", TOCSIN_PASSWORD="correct horse battery")
    user = Store(settings, "test").read().find(User.kind, "ada")
    assert isinstance(user, User)
    assert (user.role, user.password_hash[:10]) == ("admin", "$argon2id$")
    assert "there is an account already" in tocsin(settings, "admin", "link", code=1)
    weak = tocsin(settings, "admin", "create", "Bob", code=1, TOCSIN_PASSWORD="short")
    assert "at least 10 characters" in weak


def test_a_token_is_printed_once_listed_without_itself_and_revoked(settings: ConsoleSettings) -> None:
    made = tocsin(settings, "tokens", "create", "CI", "--scope", "viewer", "--lasts", "90d").strip()
    token = Store(settings, "test").read().find(Token.kind, "ci")
    assert isinstance(token, Token)
    assert token.token_hash == token_hash(made)
    listed = json.loads(tocsin(settings, "tokens", "list", "-o", "json"))
    assert [(one["name"], one["scope"]) for one in listed] == [("CI", "viewer")]
    assert made not in json.dumps(listed)
    tocsin(settings, "tokens", "revoke", "ci")
    assert json.loads(tocsin(settings, "tokens", "list", "-o", "json")) == []


def test_deliveries_are_listed_shown_and_tailed(settings: ConsoleSettings, tmp_path: Path) -> None:
    delivery = delivery_for(unsigned_recipient("https://example.com", name="Desk"))
    put_deliveries(settings, [delivery])
    listed = json.loads(tocsin(settings, "deliveries", "list", "--state", "waiting", "-o", "json"))
    assert [(one["id"], one["recipient"]) for one in listed] == [(delivery.id, "Desk")]
    assert "Desk" in tocsin(settings, "deliveries", "list")
    shown = json.loads(tocsin(settings, "deliveries", "show", delivery.id))
    assert [step["kind"] for step in shown["steps"]] == ["routed"]
    assert "there is no delivery" in tocsin(settings, "deliveries", "show", "nope", code=1)
    where = ("--where", "recipient.name=Desk", "--from-start", "--count", "1")
    assert "Desk: routed" in tocsin(settings, "tail", "audit", *where)
    assert json.loads(tocsin(settings, "activations", "list", "-o", "json")) == []


def test_the_doctor_says_what_is_wrong(settings: ConsoleSettings) -> None:
    well = tocsin(settings, "doctor")
    assert "WRONG" not in well
    assert "OK     topics" in well
    ill = tocsin(settings, "doctor", code=1, TOCSIN_TOPIC_PREFIX="nothing-here.")
    assert "run: tocsin topics apply" in ill
