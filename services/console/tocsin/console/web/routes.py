"""One table row a route: what it is, who may reach it, what the API document says of it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from aiohttp import web
from pydantic import BaseModel

from tocsin.console.access.roles import Need

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Method = Literal["GET", "POST", "PUT", "PATCH", "DELETE"]


@dataclass(frozen=True, slots=True)
class Query:
    """A query parameter of an API route."""

    name: str
    text: str
    schema: dict[str, object] = field(default_factory=lambda: {"type": "string"})


@dataclass(frozen=True, slots=True)
class Api:
    """What the OpenAPI document says of a route."""

    summary: str
    tag: str
    body: type[BaseModel] | None = None
    answer: type[BaseModel] | None = None
    status: int = 200
    query: tuple[Query, ...] = ()
    etag: bool = False  # the answer carries one
    if_match: bool = False  # the request must
    refuses: tuple[int, ...] = ()  # statuses beyond those that follow from the rest
    media: str = "application/json"


@dataclass(frozen=True, slots=True)
class Route:
    """A route cannot be made without a rule."""

    method: Method
    path: str
    handler: Handler
    needs: Need
    api: Api | None = None


def add_routes(app: web.Application, routes: Sequence[Route]) -> dict[tuple[str, str], Route]:
    """The routes by method and path; a HEAD goes by the rule of its GET."""
    table: dict[tuple[str, str], Route] = {}
    for route in routes:
        app.router.add_route(route.method, route.path, route.handler)
        table[route.method, route.path] = route
    return table
