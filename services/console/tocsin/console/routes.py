"""All routes of the console: pages and API."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from importlib.metadata import version
from typing import Any

from aiohttp import web

from tocsin.console.api.accounts import account_routes
from tocsin.console.api.dry_runs import dry_run_routes
from tocsin.console.api.idempotency import Idempotency
from tocsin.console.api.openapi import openapi
from tocsin.console.api.operations import operation_routes
from tocsin.console.api.recipients import recipient_routes
from tocsin.console.api.records import record_routes
from tocsin.console.api.requests import answer
from tocsin.console.pages.accounts import account_pages
from tocsin.console.pages.deliveries import delivery_pages
from tocsin.console.pages.recipients import recipient_pages
from tocsin.console.pages.records import record_pages
from tocsin.console.pages.sign_in import sign_in_routes
from tocsin.console.pages.sign_in_oidc import oidc_routes
from tocsin.console.pages.watching import watching_pages
from tocsin.console.web.live import live
from tocsin.console.web.routes import Route


def api_routes() -> list[Route]:
    idempotency = Idempotency()
    return [
        *record_routes(idempotency),
        *recipient_routes(idempotency),
        *dry_run_routes(),
        *operation_routes(idempotency),
        *account_routes(idempotency),
    ]


def page_routes() -> list[Route]:
    return [
        *watching_pages(),
        *recipient_pages(),
        *record_pages(),
        *delivery_pages(),
        *account_pages(),
        *sign_in_routes(),
        *oidc_routes(),
    ]


def api_document(api: Sequence[Route]) -> dict[str, Any]:
    """The OpenAPI document describes exactly these."""
    return openapi(api, version("tocsin"))


def all_routes(api: Sequence[Route], document: dict[str, Any]) -> list[Route]:
    """API and pages."""
    return [
        *api,
        Route("GET", "/openapi.json", partial(_openapi, document), "nobody"),
        Route("GET", "/live", live, "viewer"),
        *page_routes(),
    ]


async def _openapi(document: dict[str, object], request: web.Request) -> web.StreamResponse:
    return answer(document)
