"""Activations, deliveries, dead letters, systems, the audit: what happened, and replaying."""

from __future__ import annotations

import asyncio
from bisect import bisect_right
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from aiohttp import web

from tocsin.console.api.documents import page_model
from tocsin.console.api.idempotency import Idempotency, is_repeat
from tocsin.console.api.requests import (
    CURSOR,
    LIMIT,
    answer,
    bad_field,
    bad_query,
    choice_of,
    cursor_of,
    encode_cursor,
    json_body,
    limit_of,
    only_fields,
    optional_body,
    text_field,
)
from tocsin.console.api.shapes import (
    ActivationDetail,
    ActivationRow,
    ChangeRow,
    DeadLetterRow,
    DeliveryDetail,
    DeliveryRow,
    DismissDocument,
    Dismissed,
    LagAnswer,
    ReplayDocument,
    Replayed,
    SystemNames,
    SystemRow,
)
from tocsin.console.dismissing import dismiss_activation
from tocsin.console.matching import systems_now, triggered_by_system
from tocsin.console.models.database import Row
from tocsin.console.models.queries import ACTIVATION_STATES, DELIVERY_STATES, Page, Wanted
from tocsin.console.models.systems import UNHEARD
from tocsin.console.replaying import replay
from tocsin.console.web.context import caller, console
from tocsin.console.web.problems import not_found
from tocsin.console.web.routes import Api, Handler, Query, Route
from tocsin.shared.times import format_rfc3339, parse_rfc3339

_TIMES = ("routed_at", "updated_at", "next_at", "activated_at", "ended_at", "time")
RECIPIENT = Query("recipient", "Its id")
NOTIFICATION = Query("notification", "Its id")
SINCE = Query("since", "Not before this time", {"type": "string", "format": "date-time"})
UNTIL = Query("until", "Before this time", {"type": "string", "format": "date-time"})


def _state(choices: Iterable[str]) -> Query:
    return Query("state", "Only these", {"type": "string", "enum": list(choices)})


def operation_routes(idempotency: Idempotency) -> list[Route]:
    activations, deliveries = "/api/v1/activations", "/api/v1/deliveries"
    listed = (LIMIT, CURSOR)
    at = Query("at", "`activation`: as it was then; without it: now", {"type": "string", "enum": ["activation", "now"]})

    def once(handler: Callable[[web.Request], Awaitable[web.Response]]) -> Handler:
        async def handle(request: web.Request) -> web.StreamResponse:
            async def work() -> web.Response:
                return await handler(request)

            return await idempotency.once(request, caller(request), console(request).clock.now_ms(), work)

        return handle

    return [
        Route(
            "GET",
            activations,
            list_activations,
            "viewer",
            Api(
                "List activations, newest first",
                "activations",
                answer=page_model("Activation", ActivationRow),
                query=(_state(ACTIVATION_STATES), NOTIFICATION, SINCE, *listed),
            ),
        ),
        Route(
            "GET",
            f"{activations}/{{id}}",
            show_activation,
            "viewer",
            Api("Show an activation", "activations", answer=ActivationDetail),
        ),
        Route(
            "GET",
            f"{activations}/{{id}}/systems",
            list_affected,
            "viewer",
            Api("Systems affected, at the activation or now", "activations", answer=SystemNames, query=(at, *listed)),
        ),
        Route(
            "POST",
            f"{activations}/{{id}}/dismiss",
            once(dismiss),
            "operator",
            Api(
                "End an open activation by hand", "activations", body=DismissDocument, answer=Dismissed, refuses=(409,)
            ),
        ),
        Route(
            "GET",
            "/api/v1/lag",
            show_lag,
            "viewer",
            Api("How far each service is behind, as it was read last", "operations", answer=LagAnswer),
        ),
        Route(
            "GET",
            deliveries,
            list_deliveries,
            "viewer",
            Api(
                "List deliveries, newest first",
                "deliveries",
                answer=page_model("Delivery", DeliveryRow),
                query=(
                    _state(DELIVERY_STATES),
                    RECIPIENT,
                    NOTIFICATION,
                    Query("activation", "Its id"),
                    SINCE,
                    UNTIL,
                    *listed,
                ),
            ),
        ),
        Route(
            "GET",
            f"{deliveries}/{{id}}",
            show_delivery,
            "viewer",
            Api("Show a delivery with its attempts", "deliveries", answer=DeliveryDetail),
        ),
        Route(
            "GET",
            "/api/v1/dead-letters",
            list_letters,
            "viewer",
            Api(
                "List dead letters that nobody has replayed, newest first",
                "dead letters",
                answer=page_model("DeadLetter", DeadLetterRow),
                query=(RECIPIENT, NOTIFICATION, *listed),
            ),
        ),
        Route(
            "POST",
            "/api/v1/dead-letters/replay",
            once(replay_letters),
            "operator",
            Api("Take dead letters up again", "dead letters", body=ReplayDocument, answer=Replayed),
        ),
        Route(
            "GET",
            "/api/v1/systems",
            list_systems,
            "viewer",
            Api(
                "List systems that have reported lately",
                "systems",
                answer=page_model("System", SystemRow),
                query=(Query("search", "Part of the name"), *listed),
            ),
        ),
        Route(
            "GET",
            "/api/v1/audit",
            list_changes,
            "operator",
            Api(
                "List changes of the configuration, newest first",
                "audit",
                answer=page_model("Change", ChangeRow),
                query=(Query("record", "Its id"), Query("kind", "Such as sensor"), *listed),
            ),
        ),
    ]


def time_of(request: web.Request, name: str) -> int | None:
    text = request.query.get(name)
    if not text:
        return None
    try:
        return parse_rfc3339(text)
    except ValueError as error:
        raise bad_query(name, str(error)) from None


def shown(row: Row, *leave_out: str) -> Row:
    """Times as text."""
    return {
        name: format_rfc3339(value) if name in _TIMES and value is not None else value
        for name, value in row.items()
        if name not in leave_out
    }


def paged(page: Page, *leave_out: str) -> web.Response:
    items = [shown(row, *leave_out) for row in page.rows]
    return answer({"items": items, "next": encode_cursor(page.next) if page.next else None})


async def list_activations(request: web.Request) -> web.StreamResponse:
    page = await console(request).queries.activations(
        cursor_of(request, int, str),
        limit_of(request),
        notification=request.query.get("notification"),
        state=choice_of(request, "state", ACTIVATION_STATES),
        since=time_of(request, "since"),
    )
    return paged(page)


async def _activation(request: web.Request) -> Row:
    found = await console(request).queries.activation(request.match_info["id"])
    if found is None:
        raise not_found(f"activation {request.match_info['id'][:64]}")
    return found


async def show_activation(request: web.Request) -> web.StreamResponse:
    found = await _activation(request)
    head = {name: found[name] for name in ("id", "state", "activated_at", "matched", "reporting")}
    ref = {"notification_id": found["notification"]["id"], "notification": found["notification"]["name"]}
    rest = {name: found.get(name) for name in ("ended_at", "systems_total", "systems_truncated", "events")}
    return answer({**head, **ref, **rest})


async def list_affected(request: web.Request) -> web.StreamResponse:
    found = await _activation(request)
    cursor, limit = cursor_of(request, str), limit_of(request)
    after = cursor[0] if cursor else ""
    if choice_of(request, "at", ("activation", "now")) != "activation" and found["state"] == "active":
        names, total = await systems_now(console(request), found["notification"]["id"], limit + 1, after)
    else:
        names, total = await console(request).queries.systems_at_activation(found), found["systems_total"]
        names = [name for name in names if name > after]
    page = names[:limit]
    more = len(names) > len(page)
    return answer({"items": page, "next": encode_cursor([page[-1]]) if more else None, "total": total})


def wanted_of(request: web.Request) -> Wanted:
    return Wanted(
        recipient=request.query.get("recipient"),
        notification=request.query.get("notification"),
        activation=request.query.get("activation"),
        state=choice_of(request, "state", DELIVERY_STATES),
        since=time_of(request, "since"),
        until=time_of(request, "until"),
    )


async def list_deliveries(request: web.Request) -> web.StreamResponse:
    after = cursor_of(request, int, str)
    return paged(await console(request).queries.deliveries(wanted_of(request), after, limit_of(request)))


async def show_delivery(request: web.Request) -> web.StreamResponse:
    found = await console(request).queries.delivery(request.match_info["id"])
    if found is None:
        raise not_found(f"delivery {request.match_info['id'][:64]}")
    return answer(shown(found, "event"))


def letter_row(row: Row) -> Row:
    letter = row["record"]
    delivery = letter["delivery"]
    return {
        "delivery_id": row["delivery_id"],
        "replay": row["replay"],
        "time": row["time"],
        "recipient_id": row["recipient_id"],
        "recipient": delivery["recipient"]["name"],
        "notification_id": row["notification_id"],
        "notification": delivery["event"]["notification"]["name"],
        "event": delivery["event"]["kind"],
        "reason": row["reason"],
        "detail": letter.get("detail", ""),
        "status": letter.get("status"),
        "response_excerpt": letter.get("response_excerpt", ""),
    }


async def list_letters(request: web.Request) -> web.StreamResponse:
    page = await console(request).queries.dead_letters(
        cursor_of(request, int, str),
        limit_of(request),
        recipient=request.query.get("recipient"),
        notification=request.query.get("notification"),
    )
    return paged(Page([letter_row(row) for row in page.rows], page.next), "event")


async def replay_letters(request: web.Request) -> web.Response:
    services, document = console(request), await json_body(request)
    only_fields(document, "deliveries", "recipient", "since")
    ids = document.get("deliveries") or []
    if not isinstance(ids, list) or not all(isinstance(one, str) for one in ids) or len(ids) > 1_000:
        raise bad_field("deliveries", "must be a list of at most 1000 ids")
    recipient = text_field(document, "recipient", required=False)
    if recipient is not None:
        since = text_field(document, "since", required=False)
        try:
            ids = [*ids, *await services.queries.failed_since(recipient, parse_rfc3339(since) if since else 0)]
        except ValueError as error:
            raise bad_field("since", str(error)) from None
    if not ids and recipient is None:
        raise bad_field("deliveries", "say which: ids of deliveries, or a recipient")
    return answer({"deliveries": await replay(services, ids)})


async def list_systems(request: web.Request) -> web.StreamResponse:
    services = console(request)
    after, limit = cursor_of(request, str), limit_of(request)
    search = request.query.get("search", "")
    names = await asyncio.to_thread(services.systems.names, search)
    first = bisect_right(names, after[0]) if after else 0
    page = names[first : first + limit + 1]
    triggered = await triggered_by_system(services, page[:limit])
    items: list[dict[str, Any]] = []
    for name in page[:limit]:
        view = services.systems.by_name.get(name, UNHEARD)
        row = {"name": name, "heard": format_rfc3339(view.heard), "tags": dict(view.tags)}
        items.append({**row, "triggered": len(triggered.get(name, ()))})
    return answer({"items": items, "next": encode_cursor([page[limit - 1]]) if len(page) > limit else None})


async def show_lag(request: web.Request) -> web.StreamResponse:
    found = console(request).lag.current
    items = [
        {"service": one.service, "group": one.group, "topic": one.topic, "behind": one.behind, "members": one.members}
        for one in found.rows
    ]
    return answer({"read_at": format_rfc3339(found.read_at) if found.read_at else None, "items": items})


async def dismiss(request: web.Request) -> web.Response:
    services, document = console(request), await optional_body(request)
    only_fields(document, "comment")
    comment = text_field(document, "comment", required=False) or ""
    activation_id = request.match_info["id"]
    done = await dismiss_activation(services, activation_id, caller(request).actor, comment) or is_repeat(request)
    return answer({"id": activation_id, "dismissed": done})


async def list_changes(request: web.Request) -> web.StreamResponse:
    page = await console(request).queries.changes(
        cursor_of(request, int, str),
        limit_of(request),
        record=request.query.get("record"),
        kind=request.query.get("kind"),
    )
    rows = [{**row, "fields": row["record"].get("fields", [])} for row in page.rows]
    return paged(Page(rows, page.next), "record")
