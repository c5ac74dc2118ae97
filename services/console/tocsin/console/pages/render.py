"""Templates to answers."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any

import jinja2
from aiohttp import web

from tocsin.console.access.roles import Caller
from tocsin.console.pages import words
from tocsin.console.web.context import CALLER, SESSION, console
from tocsin.console.web.guard import identify
from tocsin.console.web.problems import ProblemError

NAVIGATION = (
    ("", (("/", "Overview"), ("/activations", "Activations"), ("/systems", "Systems"))),
    (
        "Rules",
        (
            ("/notifications", "Notifications"),
            ("/sensors", "Sensors"),
            ("/groups", "Groups"),
            ("/recipients", "Recipients"),
            ("/schedules", "Schedules"),
        ),
    ),
    ("Operations", (("/deliveries", "Deliveries"), ("/dead-letters", "Dead letters"), ("/silences", "Silences"))),
    ("Administration", (("/audit", "Audit"), ("/tokens", "Tokens"), ("/users", "Users"))),
)
NEEDS = {"/audit": "operator", "/tokens": "admin", "/users": "admin"}


@cache
def environment() -> jinja2.Environment:
    """Made at the first page."""
    made = jinja2.Environment(
        loader=jinja2.PackageLoader("tocsin.console.pages"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters.update(words.FILTERS)
    made.globals.update({"asset": asset, "navigation": NAVIGATION, "nav_needs": NEEDS})
    return made


@cache
def asset(name: str) -> str:
    """The address of a static file; a new content is a new address."""
    data = files("tocsin.console.pages").joinpath("static", name).read_bytes()
    return f"/static/{name}?v={hashlib.sha256(data).hexdigest()[:10]}"


def render(request: web.Request, template: str, status: int = 200, **context: Any) -> web.Response:
    """A page, with who is looking at it."""
    who, session = request[CALLER], request[SESSION]
    everything: Mapping[str, Any] = {
        "who": who,
        "may": who.may if who else Caller("user", "", "", "ingest").may,
        "csrf": session.csrf if session else "",
        "path": request.path,
        "request": request,
        "now": console(request).clock.now_ms(),
        **context,
    }
    text = environment().get_template(template).render(everything)
    return web.Response(status=status, text=text, content_type="text/html", charset="utf-8")


def fragment(request: web.Request, template: str, **context: Any) -> str:
    """A part of a page, for a script to put in place."""
    return environment().get_template(template).render({"now": console(request).clock.now_ms(), **context})


def error_page(request: web.Request, problem: ProblemError) -> web.StreamResponse:
    """For people; to a script that asks for JSON, problem details."""
    if "application/json" in request.headers.get("Accept", "") or "text/event-stream" in request.headers.get(
        "Accept", ""
    ):
        return problem.response()
    if request.get(CALLER) is None and request.match_info.http_exception is not None:
        request[SESSION] = None
        identify(request)
    response = render(request, "error.html", problem.status, problem=problem.problem())
    response.headers.update(problem.headers)
    return response
