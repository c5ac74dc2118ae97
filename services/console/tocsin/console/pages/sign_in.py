"""Signing in and out, and the one-time page that makes the first admin."""

from __future__ import annotations

import asyncio
from urllib.parse import urlsplit

from aiohttp import web

from tocsin.console.access.passwords import verify_password
from tocsin.console.access.welcome import is_welcome
from tocsin.console.accounts import AccountError, new_user
from tocsin.console.pages.forms import form_of, see_other, text
from tocsin.console.pages.render import render
from tocsin.console.state import ConflictError, Operation, Put, State
from tocsin.console.web.context import CALLER, SESSION, Console, console
from tocsin.console.web.guard import COOKIE
from tocsin.console.web.problems import ProblemError
from tocsin.console.web.routes import Route
from tocsin.shared.configuration.records import User
from tocsin.shared.telemetry.logs import logger

log = logger(__name__)

_HASHING = asyncio.Semaphore(2)
"""Each hash takes 19 MiB and 50 ms: a flood of sign-ins must not take the machine."""


def sign_in_routes() -> list[Route]:
    return [
        Route("GET", "/sign-in", show, "nobody"),
        Route("POST", "/sign-in", sign_in, "nobody"),
        Route("POST", "/sign-out", sign_out, "nobody"),
        Route("GET", "/welcome", welcome, "nobody"),
        Route("POST", "/welcome", make_first, "nobody"),
    ]


async def show(request: web.Request) -> web.StreamResponse:
    if request[CALLER] is not None:
        return see_other(own_path(request.query.get("next")))
    return sign_in_page(request)


def sign_in_page(request: web.Request, problem: str = "", status: int = 200, name: str = "") -> web.Response:
    services = console(request)
    return render(
        request,
        "sign_in.html",
        status,
        problem=problem,
        name=name,
        next=own_path(request.query.get("next")),
        no_users=not services.directory.has_users() and services.oidc is None,
        oidc=services.oidc.policy.label if services.oidc else "",
    )


async def sign_in(request: web.Request) -> web.StreamResponse:
    services = console(request)
    _check_origin(request)
    form = await form_of(request)
    name, password, address = text(form, "name"), form.get("password", ""), _address(request, services)
    now = services.clock.now_ms()
    if wait := services.throttle.wait_ms(name, address, now):
        minutes = -(-wait // 60_000)
        problem = f"Too many failed sign-ins. Try again in {minutes} minute{'' if minutes == 1 else 's'}."
        response = sign_in_page(request, problem, 429, name)
        response.headers["Retry-After"] = str(-(-wait // 1000))
        return response
    user = services.directory.user(name)
    known = None if user is None or user.disabled else user.password_hash or None
    async with _HASHING:
        right = await asyncio.to_thread(verify_password, password[:2_000], known)
    if user is None or not right:
        services.throttle.failed(name, address, now)
        log.warning("sign-in failed", name=name[:64], address=address)
        return sign_in_page(request, "That name and password do not go together.", 401, name)
    services.throttle.succeeded(name)
    return signed_in(services, user, own_path(request.query.get("next")))


async def sign_out(request: web.Request) -> web.StreamResponse:
    services, session = console(request), request[SESSION]
    if session is not None:
        services.sessions.end(session, services.clock.now_ms())
    response = see_other("/sign-in")
    response.del_cookie(COOKIE, path="/", secure=not services.settings.console_insecure_cookies, httponly=True)
    return response


async def welcome(request: web.Request) -> web.StreamResponse:
    services = console(request)
    _check_code(services, request.query.get("code", ""))
    return render(request, "welcome.html", code=request.query["code"], problems={}, name="")


async def make_first(request: web.Request) -> web.StreamResponse:
    services = console(request)
    _check_origin(request)
    form = await form_of(request)
    _check_code(services, form.get("code", ""))
    name, password = text(form, "name"), form.get("password", "")
    try:
        user = await asyncio.to_thread(
            new_user, services.editor.new_id(), name, "admin", password, services.clock.now_ms()
        )
    except AccountError as error:
        problems = {error.field: str(error)}
        return render(request, "welcome.html", 422, code=form["code"], problems=problems, name=name)

    def build(state: State) -> list[Operation]:
        if state.of_kind(User.kind):
            raise ConflictError("there is an account already: sign in with it")
        return [Put(user, 0)]

    await services.editor.write(build, f"user:{user.name}")
    return signed_in(services, user, "/")


def signed_in(services: Console, user: User, path: str) -> web.Response:
    """A session begins."""
    _, cookie = services.sessions.begin(user.id, services.clock.now_ms())
    response = see_other(path)
    response.set_cookie(
        COOKIE,
        cookie,
        path="/",
        httponly=True,
        secure=not services.settings.console_insecure_cookies,
        samesite="Lax",  # a link in an email has to arrive signed in
        max_age=services.settings.console_session // 1000,
    )
    log.info("signed in", name=user.name)
    return response


def _check_code(services: Console, code: str) -> None:
    if not is_welcome(services.keys(), code, services.clock.now_ms()):
        raise ProblemError(403, "this link is not valid any more; run: tocsin admin create NAME")
    if services.directory.has_users():
        raise ProblemError(409, "there is an account already: sign in with it")


def _check_origin(request: web.Request) -> None:
    """Signing in by another site's form would make somebody work in a stranger's account."""
    site = request.headers.get("Sec-Fetch-Site", "same-origin")
    origin = request.headers.get("Origin")
    if site not in ("same-origin", "none") or (origin is not None and urlsplit(origin).netloc != request.host):
        raise ProblemError(403, "this form was sent by another site")


def own_path(path: str | None) -> str:
    """A path of ours and nothing else: `//evil` and `/\\evil` lead elsewhere."""
    if not path or not path.startswith("/") or path[1:2] in ("/", "\\") or any(letter < " " for letter in path):
        return "/"
    return path


def _address(request: web.Request, services: Console) -> str:
    forwarded = request.headers.get("X-Forwarded-For", "")
    if services.settings.console_behind_proxy and forwarded:
        return forwarded.rpartition(",")[2].strip()[:64]
    return request.remote or ""
