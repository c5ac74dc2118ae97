"""Signing in through an identity provider: out to it, and back."""

from __future__ import annotations

from dataclasses import asdict

from aiohttp import web

from tocsin.console.access.id_tokens import SignInRefusedError, role_of
from tocsin.console.access.oidc import ANSWER_WITHIN_MS, CALLBACK, Attempt, Oidc, ProviderError
from tocsin.console.access.sessions import seal, unseal
from tocsin.console.accounts import provided_user
from tocsin.console.pages.forms import see_other
from tocsin.console.pages.sign_in import own_path, sign_in_page, signed_in
from tocsin.console.state import Operation, State
from tocsin.console.web.context import Console, console
from tocsin.console.web.problems import not_found
from tocsin.console.web.routes import Route
from tocsin.shared.configuration.records import User
from tocsin.shared.telemetry.logs import logger

log = logger(__name__)

BEGIN = "/sign-in/oidc"
COOKIE = "tocsin-oidc"
BINDING = "console-oidc"
LONGEST_PATH = 500


def oidc_routes() -> list[Route]:
    return [Route("GET", BEGIN, begin, "nobody"), Route("GET", CALLBACK, come_back, "nobody")]


def _provider(services: Console) -> Oidc:
    if services.oidc is None:
        raise not_found("identity provider here: TOCSIN_OIDC_ISSUER is not set")
    return services.oidc


async def begin(request: web.Request) -> web.StreamResponse:
    services = console(request)
    provider = _provider(services)
    path = own_path(request.query.get("next"))
    attempt = Attempt.begin(path if len(path) <= LONGEST_PATH else "/", services.clock.now_ms())
    try:
        response = see_other(await provider.authorization_url(attempt))
    except ProviderError as error:
        return sign_in_page(request, f"The identity provider: {error}.", 502)
    response.set_cookie(
        COOKIE,
        seal(services.keys(), BINDING, asdict(attempt)),
        path=BEGIN,
        httponly=True,
        secure=not services.settings.console_insecure_cookies,
        samesite="Lax",  # the provider sends the browser back by a link
        max_age=ANSWER_WITHIN_MS // 1000,
    )
    return response


async def come_back(request: web.Request) -> web.StreamResponse:
    services, query = console(request), request.query
    provider = _provider(services)
    found = unseal(services.keys(), BINDING, request.cookies.get(COOKIE, ""))
    try:
        attempt = provider.take(Attempt(**found) if found else None, query.get("state", ""))
        if query.get("iss", provider.policy.issuer) != provider.policy.issuer:  # RFC 9207
            raise SignInRefusedError("the answer is from another issuer")
        if "error" in query or not query.get("code"):
            log.warning("the identity provider signs nobody in", why=query.get("error", "no code")[:100])
            raise SignInRefusedError("the identity provider has not signed you in")
        user = await _user(services, provider, attempt, query["code"])
    except SignInRefusedError as error:
        log.warning("sign-in failed", by="oidc", why=str(error))
        response = sign_in_page(request, f"You are not signed in: {error}.", 403)
    except ProviderError as error:
        response = sign_in_page(request, f"The identity provider: {error}.", 502)
    else:
        response = signed_in(services, user, attempt.path)
    response.set_cookie(
        COOKIE, "", path=BEGIN, max_age=0, httponly=True, secure=not services.settings.console_insecure_cookies
    )
    return response


async def _user(services: Console, provider: Oidc, attempt: Attempt, code: str) -> User:
    """Their account: made the first time, its role as the provider has it now."""
    who = await provider.identity(attempt, code)
    role = role_of(who.groups, provider.policy.roles)
    if role is None:
        raise SignInRefusedError("nothing here is open to you; ask whoever manages your groups")

    def build(state: State) -> list[Operation]:
        return provided_user(state, provider.policy.issuer, who, role)[1]

    if build(services.directory.state):
        await services.editor.write(build, f"oidc:{who.name}")
    return provided_user(services.directory.state, provider.policy.issuer, who, role)[0]
