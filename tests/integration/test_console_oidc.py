"""Signing in through an identity provider, honest and not."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlencode, urlsplit

import pytest

from consoling import PASSWORD, Answer, Client, RunningConsole, console_settings, with_accounts
from identity_provider import CLIENT, SECRET, IdentityProvider, key_of
from support import read_all
from tocsin.console.access.oidc import KEYS_AGAIN_MS, Oidc
from tocsin.deploy.stack import Stack
from tocsin.shared.topics import CONFIGURATION, CONFIGURATION_AUDIT

pytestmark = pytest.mark.kafka

ROLES = "admin=chiefs, editor=ops, viewer=guests"


@pytest.fixture(scope="module")
def running(
    stack: Stack, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[RunningConsole, IdentityProvider]]:
    folder = tmp_path_factory.mktemp("oidc")
    (folder / "client-secret").write_text(f"{SECRET}\n")
    with IdentityProvider() as provider:
        settings = console_settings(
            stack,
            folder,
            oidc_issuer=provider.issuer,
            oidc_client_id=CLIENT,
            oidc_client_secret_file=folder / "client-secret",
            oidc_roles=ROLES,
        )
        with_accounts(settings)
        with RunningConsole(settings) as console:
            yield console, provider


@pytest.fixture
def console(running: tuple[RunningConsole, IdentityProvider]) -> RunningConsole:
    return running[0]


@pytest.fixture
def provider(running: tuple[RunningConsole, IdentityProvider]) -> IdentityProvider:
    running[1].reset()
    return running[1]


def oidc_of(console: RunningConsole) -> Oidc:
    found = console.console.oidc
    assert found is not None
    return found


def begun(console: RunningConsole, path: str = "/") -> tuple[Client, str]:
    """A browser on its way to the provider, and where that is."""
    client = Client(console.port)
    answer = client.get(f"/sign-in/oidc?{urlencode({'next': path})}")
    assert answer.status == 303, answer.text
    cookie = answer.headers["Set-Cookie"]
    assert all(word in cookie for word in ("HttpOnly", "Secure", "SameSite=Lax", "Path=/sign-in/oidc"))
    return client, answer.headers["Location"]


def back(client: Client, query: dict[str, str]) -> Answer:
    return client.get(f"/sign-in/oidc/callback?{urlencode(query)}")


def signed_in(console: RunningConsole, provider: IdentityProvider, path: str = "/") -> tuple[Client, Answer]:
    client, location = begun(console, path)
    return client, back(client, provider.authorize(location))


def test_a_person_whom_the_provider_knows_is_signed_in_with_the_role_of_their_groups(
    console: RunningConsole, provider: IdentityProvider
) -> None:
    assert 'href="/sign-in/oidc?next=/"' in Client(console.port).get("/sign-in").text
    client, answer = signed_in(console, provider, "/recipients?search=a")
    assert (answer.status, answer.headers["Location"]) == (303, "/recipients?search=a")
    assert client.get("/api/v1/me").json() == {"kind": "user", "name": "Grace", "scope": "editor"}
    # As for local accounts: nothing is written without the token against forged requests.
    sensor = {"name": "By single sign-on", "metric": "m", "trigger": "> 1"}
    assert client("POST", "/api/v1/sensors", sensor).status == 403
    assert client("POST", "/api/v1/sensors", sensor, X_CSRF_Token=client.csrf()).status == 201
    # The provider says who may what, each time anew; the account stays the same.
    provider.user = {**provider.user, "groups": "chiefs", "preferred_username": "Grace H."}
    client, _ = signed_in(console, provider)
    assert client.get("/api/v1/me").json() == {"kind": "user", "name": "Grace", "scope": "admin"}
    audited = [json.loads(message.value() or b"") for message in read_all(console.settings, CONFIGURATION_AUDIT)]
    found = [(one["actor"], one["action"], one["kind"]) for one in audited if one["actor"].startswith("oidc:")]
    assert found == [("oidc:Grace", "created", "user"), ("oidc:Grace H.", "changed", "user")]
    # A password does not go with such an account, whatever it is.
    assert Client(console.port).form("/sign-in", name="Grace", password=PASSWORD).status == 401
    assert Client(console.port).form("/sign-in", name="Grace", password="").status == 401


def test_the_local_sign_in_stays(console: RunningConsole, provider: IdentityProvider) -> None:
    assert console.browser().get("/api/v1/me").json()["name"] == "admin"


def test_somebody_with_the_name_of_a_local_account_does_not_get_it(
    console: RunningConsole, provider: IdentityProvider
) -> None:
    provider.user = {"sub": "u-2", "preferred_username": "Admin", "groups": ["guests"]}
    client, answer = signed_in(console, provider)
    assert answer.status == 303
    me = client.get("/api/v1/me").json()
    assert (me["name"], me["scope"]) == (f"Admin (127.0.0.1:{provider.port})", "viewer")


def test_an_account_that_is_disabled_here_stays_out(console: RunningConsole, provider: IdentityProvider) -> None:
    provider.user = {"sub": "u-3", "preferred_username": "Eve", "groups": ["guests"]}
    client, _ = signed_in(console, provider)
    admin = console.client("admin")
    (eve,) = [one for one in admin.get("/api/v1/users").json()["items"] if one["name"] == "Eve"]
    assert eve["issuer"] == provider.issuer
    path = f"/api/v1/users/{eve['id']}"
    assert admin("PATCH", path, {"password": "another good one"}, If_Match="*").status == 422
    assert admin("PATCH", path, {"disabled": True}, If_Match="*").status == 200
    assert client.get("/api/v1/me").status == 401
    assert refused(signed_in(console, provider)[1], "disabled")


def refused(answer: Answer, why: str) -> bool:
    """Nobody is signed in, and the page says why."""
    assert answer.status in (403, 502), answer.text
    assert "tocsin-session" not in answer.headers.get("Set-Cookie", "")
    assert why in answer.text, answer.text
    return True


LIES: dict[str, tuple[Callable[[IdentityProvider], Any], str]] = {
    "another nonce": (lambda lying: lying.claims.update(nonce="of another sign-in"), "answers another sign-in"),
    "no nonce": (lambda lying: lying.claims.update(nonce=None), "answers another sign-in"),
    "another issuer": (lambda lying: lying.claims.update(iss="https://evil.example"), "another issuer"),
    "the issuer with a slash": (lambda lying: lying.claims.update(iss=f"{lying.issuer}/"), "another issuer"),
    "another audience": (lambda lying: lying.claims.update(aud="another client"), "another application"),
    "many audiences": (lambda lying: lying.claims.update(aud=[CLIENT, "b"]), "given to another application"),
    "another party": (lambda lying: lying.claims.update(azp="b"), "given to another application"),
    "expired": (lambda lying: lying.claims.update(exp=int(time.time()) - 120), "expired"),
    "never expires": (lambda lying: lying.claims.update(exp=None), "no exp"),
    "expires: true": (lambda lying: lying.claims.update(exp=True), "no exp"),
    "of tomorrow": (lambda lying: lying.claims.update(iat=int(time.time()) + 86_400), "not valid yet"),
    "nobody": (lambda lying: lying.claims.update(sub=""), "whom it is about"),
    "no group of ours": (lambda lying: lying.claims.update(groups=["others"]), "nothing here is open to you"),
    "alg none": (lambda lying: lying.header.update(alg="none"), "not the provider"),
    "alg HS256 with the public key": (lambda lying: lying.header.update(alg="HS256"), "not the provider"),
    "a key nobody has published": (lambda lying: setattr(lying, "key", key_of("stranger")), "not the provider"),
    "another key under the same name": (lambda lying: setattr(lying, "key", key_of("first")), "not the provider"),
    "no token": (lambda lying: setattr(lying, "token", "a.b.c"), "not the provider"),
    "not JSON": (lambda lying: setattr(lying, "token", "é" * 10), "not the provider"),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_token_that_is_not_right_signs_nobody_in(
    console: RunningConsole, provider: IdentityProvider, lie: str
) -> None:
    tell, why = LIES[lie]
    tell(provider)
    client, answer = signed_in(console, provider)
    assert refused(answer, why)
    assert client.get("/api/v1/me").status == 401


def test_a_state_works_once_and_for_the_browser_that_began_only(
    console: RunningConsole, provider: IdentityProvider
) -> None:
    client, location = begun(console)
    cookie = client.cookie
    query = provider.authorize(location)
    # Another browser, or a stranger's link: it has no cookie, or one of another sign-in.
    other, _ = begun(console)
    for stranger in (Client(console.port), other, Client(console.port, cookie="tocsin-oidc=made-up")):
        assert refused(back(stranger, query), "not begun here")
    assert refused(back(Client(console.port, cookie=cookie), {**query, "state": "x"}), "not begun here")
    assert back(Client(console.port, cookie=cookie), query).status == 303
    fresh = provider.authorize(location)  # a new code with the old state
    assert refused(back(Client(console.port, cookie=cookie), fresh), "is over")


def test_a_code_works_once_and_with_its_own_verifier_only(console: RunningConsole, provider: IdentityProvider) -> None:
    client, location = begun(console)
    query = provider.authorize(location)
    assert back(client, query).status == 303
    again, second = begun(console)
    # A stolen code in a sign-in of one's own: first one that was used, then one that was not.
    state = provider.authorize(second)["state"]
    assert refused(back(again, {**query, "state": state}), "answered 400")
    _, third = begun(console)
    stolen = provider.authorize(third)["code"]
    thief, fourth = begun(console)
    assert refused(back(thief, {"code": stolen, "state": provider.authorize(fourth)["state"]}), "answered 400")


def test_an_answer_of_another_issuer_or_a_refusal_signs_nobody_in(
    console: RunningConsole, provider: IdentityProvider
) -> None:
    client, location = begun(console)
    assert refused(back(client, {**provider.authorize(location), "iss": "https://evil.example"}), "another issuer")
    client, location = begun(console)
    state = provider.authorize(location)["state"]
    assert refused(back(client, {"error": "access_denied<b>", "state": state}), "has not signed you in")


def test_a_sign_in_takes_ten_minutes_at_most(console: RunningConsole, provider: IdentityProvider) -> None:
    client, location = begun(console)
    query = provider.authorize(location)
    provider_here = oidc_of(console)
    usual = provider_here.clock

    class Later:
        def now_ms(self) -> int:
            return usual.now_ms() + 600_001

    provider_here.clock = Later()  # type: ignore[assignment]
    try:
        assert refused(back(client, query), "is over")
    finally:
        provider_here.clock = usual


def test_a_new_key_of_the_provider_is_found(console: RunningConsole, provider: IdentityProvider) -> None:
    assert signed_in(console, provider)[1].status == 303
    provider.published.append(key_of("second"))
    provider.reset()
    oidc = oidc_of(console)
    assert oidc._keys is not None
    oidc._keys = (oidc._keys[0] - KEYS_AGAIN_MS, oidc._keys[1])  # asked some time ago
    assert signed_in(console, provider)[1].status == 303


def test_nothing_leads_elsewhere_afterwards(console: RunningConsole, provider: IdentityProvider) -> None:
    for path in ("//evil.example", "https://evil.example", "/\\evil.example", "/" + "a" * 600):
        _, answer = signed_in(console, provider, path)
        assert answer.headers["Location"] == "/"


def test_a_provider_that_cannot_be_asked_is_a_message_and_no_failure(
    console: RunningConsole, provider: IdentityProvider
) -> None:
    oidc = oidc_of(console)
    oidc._metadata = None
    provider.discovery = {"issuer": "https://evil.example"}
    assert refused(Client(console.port).get("/sign-in/oidc"), "another issuer")
    provider.discovery = {"token_endpoint": "http://evil.example/token"}
    assert refused(Client(console.port).get("/sign-in/oidc"), "is not https")
    provider.discovery = {}
    _, location = begun(console)
    assert urlsplit(location).path == "/authorize"


def test_no_secret_of_a_sign_in_is_written_anywhere(
    console: RunningConsole, provider: IdentityProvider, caplog: pytest.LogCaptureFixture
) -> None:
    client, location = begun(console)
    query = provider.authorize(location)
    page = back(client, query)
    client, location = begun(console)
    provider.claims = {"aud": "another"}
    page = back(client, provider.authorize(location))
    sent = [form["code_verifier"] for form in provider.exchanged]
    topics = [read_all(console.settings, topic) for topic in (CONFIGURATION, CONFIGURATION_AUDIT)]
    kept = b"".join(message.value() or b"" for messages in topics for message in messages).decode()
    for secret in (SECRET, *sent):
        assert secret not in kept
        assert secret not in caplog.text
        assert secret not in page.text
