"""Every request passes here: who is it, may they, is it their own doing. Then headers that bind the browser."""

from __future__ import annotations

import hmac
from urllib.parse import quote

from aiohttp import web
from aiohttp.typedefs import Handler

from tocsin.console.access.keys import token_hash
from tocsin.console.access.roles import Caller
from tocsin.console.access.sessions import Session
from tocsin.console.web.context import CALLER, CONSOLE, ROUTES, SESSION, Console
from tocsin.console.web.problems import ProblemError
from tocsin.console.web.routes import Route
from tocsin.shared.configuration.records import Token, User

COOKIE = "tocsin-session"
CSRF_HEADER = "X-CSRF-Token"
CSRF_FIELD = "csrf"
SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
SIGN_IN = frozenset({"/sign-in", "/welcome"})
"""They are sent before there is a session; they look at where they come from instead."""
FORMS = ("application/x-www-form-urlencoded", "multipart/form-data")

HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
        "form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
}


def is_api(request: web.BaseRequest) -> bool:
    return request.path.startswith("/api/") or request.path == "/openapi.json"


async def bind_browser(request: web.Request, response: web.StreamResponse) -> None:
    """Before any answer goes out, streams too."""
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)
    if not request.path.startswith("/static/"):
        response.headers.setdefault("Cache-Control", "no-store")
    if request.secure or request.app[CONSOLE].settings.console_url.startswith("https:"):
        response.headers.setdefault("Strict-Transport-Security", "max-age=31536000")


@web.middleware
async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Identifies, authorises, and refuses what another site has made a browser send."""
    request[CALLER], request[SESSION] = None, None
    if request.match_info.http_exception is not None:
        return await handler(request)  # no such route, or not that method
    rule = rule_of(request)
    identify(request)
    found = request[CALLER]
    if rule.needs != "nobody":
        if found is None:
            raise _sign_in_first(request)
        if not found.may(rule.needs):
            raise ProblemError(403, f"this needs the role {rule.needs}; {found.name!r} is {found.scope}")
    if request.method not in SAFE and request[SESSION] is not None and request.path not in SIGN_IN:
        await _check_same_site(request, request[SESSION])
    return await handler(request)


def rule_of(request: web.Request) -> Route:
    """The row of the table. A route without one is a bug: nobody gets in."""
    resource = request.match_info.route.resource
    method = "GET" if request.method == "HEAD" else request.method
    rule = request.app[ROUTES].get((method, resource.canonical if resource else ""))
    if rule is None:
        raise ProblemError(403, "this route has no rule")
    return rule


def identify(request: web.Request) -> None:
    """A token in `Authorization` goes before the session's cookie. What is not valid is nobody."""
    services = request.app[CONSOLE]
    scheme, _, presented = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        request[CALLER] = _token_caller(services, presented.strip())
    elif cookie := request.cookies.get(COOKIE):
        session = services.sessions.read(cookie, services.clock.now_ms())
        user = services.directory.get(User.kind, session.user_id) if session else None
        if session and isinstance(user, User) and not user.disabled and session.issued_at >= user.password_changed_at:
            request[CALLER] = Caller("user", user.id, user.name, user.role)
            request[SESSION] = session


def _token_caller(services: Console, presented: str) -> Caller | None:
    token: Token | None = services.directory.token(token_hash(presented))
    if token is None or (token.expires_at is not None and token.expires_at <= services.clock.now_ms()):
        return None
    return Caller("token", token.id, token.name, token.scope)


def _sign_in_first(request: web.Request) -> Exception:
    if is_api(request) or request.method not in SAFE or request.headers.get("Accept", "").startswith("text/event"):
        text = "sign in, or send an API token as `Authorization: Bearer TOKEN`"
        return ProblemError(401, text, headers={"WWW-Authenticate": 'Bearer realm="tocsin"'})
    return web.HTTPSeeOther(f"/sign-in?next={quote(request.path_qs, safe='')}")


async def _check_same_site(request: web.Request, session: Session | None) -> None:
    assert session is not None
    given = request.headers.get(CSRF_HEADER)
    if given is None and request.content_type in FORMS:
        field = (await request.post()).get(CSRF_FIELD)
        given = field if isinstance(field, str) else None
    if not hmac.compare_digest((given or "").encode(), session.csrf.encode()):
        raise ProblemError(403, f"the form is too old or not ours: load the page again (or send {CSRF_HEADER})")
