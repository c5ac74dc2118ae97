"""All routes of the console: pages and API."""

from __future__ import annotations

from functools import partial
from importlib.metadata import version

from aiohttp import web

from tocsin.console.api.accounts import account_routes
from tocsin.console.api.idempotency import Idempotency
from tocsin.console.api.openapi import openapi
from tocsin.console.api.operations import operation_routes
from tocsin.console.api.recipients import recipient_routes
from tocsin.console.api.records import record_routes
from tocsin.console.api.requests import answer
from tocsin.console.pages.sign_in import sign_in_routes
from tocsin.console.web.live import live
from tocsin.console.web.routes import Route


def api_routes() -> list[Route]:
    idempotency = Idempotency()
    return [
        *record_routes(idempotency),
        *recipient_routes(idempotency),
        *operation_routes(idempotency),
        *account_routes(idempotency),
    ]


def all_routes() -> list[Route]:
    """The OpenAPI document describes exactly these."""
    api = api_routes()
    document = openapi(api, version("tocsin"))
    return [
        *api,
        Route("GET", "/openapi.json", partial(_openapi, document), "nobody"),
        Route("GET", "/live", live, "viewer"),
        *sign_in_routes(),
    ]


async def _openapi(document: dict[str, object], request: web.Request) -> web.StreamResponse:
    return answer(document)
