"""Which groups give which role, and how somebody is called: what is settings, and what a token may hold."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tocsin.console.access.id_tokens import groups_in, name_in, parse_roles, role_of
from tocsin.console.access.oidc import OidcPolicy
from tocsin.console.settings import ConsoleSettings
from tocsin.shared.errors import SettingsError
from tocsin.shared.settings import KafkaSettings

WHOLE = {"oidc_issuer": "https://id.example", "oidc_client_id": "c", "oidc_roles": "viewer=*"}


def policy(**given: Any) -> OidcPolicy | None:
    kafka = KafkaSettings({"bootstrap.servers": "127.0.0.1:1"})
    return OidcPolicy.of(ConsoleSettings.load({}, kafka=kafka, **given))


def test_the_highest_role_of_somebodys_groups_counts() -> None:
    roles = parse_roles("viewer=*, editor = ops, admin=chiefs,viewer=ops")
    assert roles == {"*": "viewer", "ops": "editor", "chiefs": "admin"}
    assert role_of(["ops", "chiefs"], roles) == "admin"
    assert role_of(["ops"], roles) == "editor"
    assert role_of([], roles) == "viewer"
    assert role_of(["others"], {"ops": "editor"}) is None


@pytest.mark.parametrize("text", ["root=ops", "ingest=ops", "editor", "editor=", "=ops"])
def test_a_mapping_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not ROLE=GROUP"):
        parse_roles(text)


@pytest.mark.parametrize(
    ("claims", "claim", "found"),
    [
        ({"groups": ["a", 1, None, "b"]}, "groups", ("a", "b")),
        ({"groups": "a"}, "groups", ("a",)),
        ({"realm_access": {"roles": ["a"]}}, "realm_access.roles", ("a",)),
        ({"https://x.example/roles": ["a"]}, "https://x.example/roles", ("a",)),
        ({"groups": {"a": 1}}, "groups", ()),
        ({"realm_access": ["roles"]}, "realm_access.roles", ()),
        ({}, "groups", ()),
    ],
)
def test_groups_are_where_the_setting_says(claims: dict[str, Any], claim: str, found: tuple[str, ...]) -> None:
    assert groups_in(claims, claim) == found


@pytest.mark.parametrize(
    ("claims", "name"),
    [
        ({"preferred_username": " grace "}, "grace"),
        ({"preferred_username": "", "email": "g@example.com"}, "g@example.com"),
        ({"preferred_username": "a\nb", "email": 5}, "u|1"),
        ({}, "u|1"),
    ],
)
def test_somebody_is_called_by_what_can_be_a_name(claims: dict[str, Any], name: str) -> None:
    assert name_in(claims, "preferred_username", "u|1") == name


def test_without_an_issuer_there_is_no_provider() -> None:
    assert policy() is None


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"oidc_issuer": "http://id.example"}, "TOCSIN_OIDC_ISSUER"),
        ({"oidc_client_id": ""}, "TOCSIN_OIDC_CLIENT_ID"),
        ({"oidc_roles": ""}, "TOCSIN_OIDC_ROLES"),
        ({"oidc_roles": "root=x"}, "TOCSIN_OIDC_ROLES"),
        ({"oidc_client_secret_file": Path("/nowhere/secret")}, "TOCSIN_OIDC_CLIENT_SECRET_FILE"),
    ],
)
def test_what_is_set_wrongly_is_named_at_the_start(given: dict[str, Any], why: str) -> None:
    with pytest.raises(SettingsError, match=why):
        policy(**{**WHOLE, **given})


def test_the_way_back_is_under_the_consoles_own_address() -> None:
    found = policy(**WHOLE, console_url="https://tocsin.example/", oidc_client_secret="hidden")
    assert found is not None
    assert found.redirect_uri == "https://tocsin.example/sign-in/oidc/callback"
    assert found.client_secret == "hidden"
