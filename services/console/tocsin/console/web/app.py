"""The application: the routes' table, the guard before it, the error handler around it."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files
from typing import Any

from aiohttp import web

from tocsin.console.web.context import API_DOCUMENT, CONSOLE, ROUTES, Console
from tocsin.console.web.errors import ErrorPage, catch_errors
from tocsin.console.web.guard import bind_browser, guard
from tocsin.console.web.routes import Handler, Route, add_routes
from tocsin.shared.telemetry.health import Health

HEALTH_PATHS = ("/-/healthy", "/-/ready", "/metrics")


def application(
    console: Console, routes: Sequence[Route], document: dict[str, Any], error_page: ErrorPage
) -> web.Application:
    """Nothing is opened here."""
    app = web.Application(
        middlewares=[catch_errors(error_page), guard], client_max_size=console.settings.console_max_body_bytes
    )
    app[CONSOLE] = console
    app[API_DOCUMENT] = document
    app[ROUTES] = add_routes(app, [*_health_routes(console.health), *static_routes(), *routes])
    app.on_response_prepare.append(bind_browser)
    return app


def _health_routes(health: Health) -> list[Route]:
    def page(path: str) -> Handler:
        async def show(request: web.Request) -> web.StreamResponse:
            status, content_type, body = health.report(path) or (404, "text/plain", b"")
            return web.Response(status=status, body=body, headers={"Content-Type": content_type})

        return show

    return [Route("GET", path, page(path), "nobody") for path in HEALTH_PATHS]


_TYPES = {"css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}


def static_routes() -> list[Route]:
    """The few files there are, read once; anything else is not found."""
    folder = files("tocsin.console.pages").joinpath("static")
    found = {item.name: item.read_bytes() for item in folder.iterdir() if item.name.rpartition(".")[2] in _TYPES}

    async def static(request: web.Request) -> web.StreamResponse:
        name = request.match_info["name"]
        if name not in found:
            raise web.HTTPNotFound
        headers = {"Cache-Control": "public, max-age=31536000, immutable" if "v" in request.query else "no-cache"}
        content_type = _TYPES[name.rpartition(".")[2]]
        return web.Response(body=found[name], content_type=content_type, charset="utf-8", headers=headers)

    return [Route("GET", "/static/{name}", static, "nobody")]
