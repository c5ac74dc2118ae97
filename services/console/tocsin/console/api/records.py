"""Sensors, groups, notifications and recipients: list, show, create, replace, delete."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from aiohttp import web

from tocsin.console.access.roles import Need
from tocsin.console.api.documents import DOCUMENTS, SHOWN, page_model, show, without_identity
from tocsin.console.api.idempotency import Idempotency, id_from_key, is_repeat
from tocsin.console.api.requests import (
    CURSOR,
    LIMIT,
    answer,
    cursor_of,
    encode_cursor,
    expected_revision,
    json_body,
    limit_of,
    paged,
)
from tocsin.console.web.context import Console, caller, console
from tocsin.console.web.problems import not_found
from tocsin.console.web.routes import Api, Query, Route
from tocsin.shared.configuration.names import fold
from tocsin.shared.configuration.records import Record

SEARCH = Query("search", "Part of the name, however it is written")
NAME = Query("name", "The one of this name")


def record_routes(idempotency: Idempotency) -> list[Route]:
    """Five routes for each kind."""
    return [route for kind in DOCUMENTS for route in _routes_of(kind, idempotency)]


def _routes_of(kind: str, idempotency: Idempotency) -> list[Route]:
    handlers = _Handlers(kind, idempotency)
    path, tag = f"/api/v1/{kind}s", f"{kind}s"
    document, shown = DOCUMENTS[kind], SHOWN[kind]
    changes: Need = "operator" if kind == "silence" else "editor"
    one = f"{path}/{{id}}"
    return [
        Route(
            "GET",
            path,
            handlers.list,
            "viewer",
            Api(f"List {kind}s", tag, answer=page_model(kind.capitalize(), shown), query=(SEARCH, NAME, LIMIT, CURSOR)),
        ),
        Route(
            "POST",
            path,
            handlers.create,
            changes,
            Api(f"Create a {kind}", tag, body=document, answer=shown, status=201, etag=True, refuses=(409,)),
        ),
        Route("GET", one, handlers.show, "viewer", Api(f"Show a {kind}", tag, answer=shown, etag=True)),
        Route(
            "PUT",
            one,
            handlers.replace,
            changes,
            Api(f"Replace a {kind}", tag, body=document, answer=shown, etag=True, if_match=True, refuses=(409,)),
        ),
        Route(
            "DELETE",
            one,
            handlers.delete,
            changes,
            Api(f"Delete a {kind}", tag, status=204, if_match=True, refuses=(409,)),
        ),
    ]


def find(services: Console, kind: str, record_id: str) -> Record:
    """Raises ProblemError 404."""
    found = services.directory.get(kind, record_id)
    if found is None:
        raise not_found(f"{kind} {record_id[:64]}")
    return found


def matching(records: list[Record], search: str) -> list[Record]:
    """By part of the name or the description."""
    wanted = search.strip().casefold()
    return [one for one in records if wanted in one.name.casefold() or wanted in one.description.casefold()]


def _name_is(name: str) -> Callable[[Record], bool]:
    try:
        wanted = fold(name)
    except ValueError:
        return lambda record: False
    return lambda record: fold(record.name) == wanted


class _Handlers:
    """Of one kind."""

    def __init__(self, kind: str, idempotency: Idempotency) -> None:
        self._kind = kind
        self._idempotency = idempotency

    def _shown(self, services: Console, record: Record) -> dict[str, Any]:
        return show(record, services.directory.state, services.directory.names)

    async def list(self, request: web.Request) -> web.StreamResponse:
        services = console(request)
        records = services.directory.state.of_kind(self._kind)
        if "name" in request.query:
            records = list(filter(_name_is(request.query["name"]), records))
        if "search" in request.query:
            records = matching(records, request.query["search"])
        after = cursor_of(request, str)
        page, last = paged(records, lambda one: fold(one.name), after[0] if after else None, limit_of(request))
        items = [self._shown(services, one) for one in page]
        return answer({"items": items, "next": encode_cursor([last]) if last is not None else None})

    async def show(self, request: web.Request) -> web.StreamResponse:
        services = console(request)
        record = find(services, self._kind, request.match_info["id"])
        return answer(self._shown(services, record), revision=record.revision)

    async def create(self, request: web.Request) -> web.StreamResponse:
        services, who = console(request), caller(request)

        async def work() -> web.Response:
            create_as = id_from_key(request, who, self._kind)
            known = services.directory.get(self._kind, create_as) if create_as else None
            record = known or await services.editor.save(
                self._kind, without_identity(await json_body(request)), who.actor, create_as=create_as
            )
            return answer(
                self._shown(services, record),
                status=201,
                revision=record.revision,
                Location=f"/api/v1/{self._kind}s/{record.id}",
            )

        return await self._idempotency.once(request, who, services.clock.now_ms(), work)

    async def replace(self, request: web.Request) -> web.StreamResponse:
        services, who = console(request), caller(request)
        record_id = request.match_info["id"]

        async def work() -> web.Response:
            document = without_identity(await json_body(request))
            find(services, self._kind, record_id)
            record = await services.editor.save(
                self._kind, document, who.actor, record_id=record_id, expected=expected_revision(request)
            )
            return answer(self._shown(services, record), revision=record.revision)

        return await self._idempotency.once(request, who, services.clock.now_ms(), work)

    async def delete(self, request: web.Request) -> web.StreamResponse:
        services, who = console(request), caller(request)
        record_id = request.match_info["id"]

        async def work() -> web.Response:
            if not is_repeat(request):
                find(services, self._kind, record_id)
            await services.editor.delete(self._kind, record_id, who.actor, expected_revision(request))
            return web.Response(status=204)

        return await self._idempotency.once(request, who, services.clock.now_ms(), work)
