"""Deliveries and dead letters."""

from __future__ import annotations

from aiohttp import web

from tocsin.console.api.operations import letter_row
from tocsin.console.api.requests import cursor_of
from tocsin.console.models.queries import DELIVERY_STATES, Wanted
from tocsin.console.pages.forms import form_of, see_other
from tocsin.console.pages.lists import next_url
from tocsin.console.pages.render import render
from tocsin.console.replaying import replay
from tocsin.console.web.context import console
from tocsin.console.web.problems import not_found
from tocsin.console.web.routes import Route
from tocsin.shared.configuration.records import Notification, Recipient
from tocsin.shared.times import parse_duration, parse_rfc3339

PER_PAGE = 50
SINCE = (("1h", "the last hour"), ("24h", "the last 24 hours"), ("7d", "the last 7 days"))


def delivery_pages() -> list[Route]:
    return [
        Route("GET", "/deliveries", list_deliveries, "viewer"),
        Route("GET", "/deliveries/{id}", show_delivery, "viewer"),
        Route("POST", "/deliveries/{id}/replay", replay_one, "operator"),
        Route("GET", "/dead-letters", list_letters, "viewer"),
        Route("POST", "/dead-letters/replay", replay_chosen, "operator"),
    ]


def since_of(request: web.Request) -> int | None:
    """`24h` ago, or a time; anything else is no filter."""
    given = request.query.get("since", "")
    if not given:
        return None
    try:
        return max(0, console(request).clock.now_ms() - parse_duration(given))
    except ValueError:
        pass
    try:
        return parse_rfc3339(given)
    except ValueError:
        return None


async def list_deliveries(request: web.Request) -> web.StreamResponse:
    services, query = console(request), request.query
    wanted = Wanted(
        recipient=query.get("recipient"),
        notification=query.get("notification"),
        activation=query.get("activation"),
        state=query.get("state") if query.get("state") in DELIVERY_STATES else None,
        since=since_of(request),
    )
    page = await services.queries.deliveries(wanted, cursor_of(request, int, str), PER_PAGE)
    return render(
        request,
        "deliveries.html",
        rows=page.rows,
        states=DELIVERY_STATES,
        since=SINCE,
        recipients=services.directory.state.of_kind(Recipient.kind),
        notifications=services.directory.state.of_kind(Notification.kind),
        next_url=next_url(request, page.next),
    )


async def show_delivery(request: web.Request) -> web.StreamResponse:
    found = await console(request).queries.delivery(request.match_info["id"])
    if found is None:
        raise not_found(f"delivery {request.match_info['id'][:64]}")
    letters = await console(request).queries.dead_letter_records([found["id"]])
    return render(
        request,
        "delivery.html",
        delivery=found,
        replayable=bool(letters) and found["state"] in ("dead-lettered", "expired"),
    )


async def replay_one(request: web.Request) -> web.StreamResponse:
    await replay(console(request), [request.match_info["id"]])
    return see_other(f"/deliveries/{request.match_info['id']}")


async def list_letters(request: web.Request) -> web.StreamResponse:
    services, query = console(request), request.query
    page = await services.queries.dead_letters(
        cursor_of(request, int, str),
        PER_PAGE,
        recipient=query.get("recipient"),
        notification=query.get("notification"),
    )
    return render(
        request,
        "dead_letters.html",
        rows=[letter_row(row) for row in page.rows],
        recipients=services.directory.state.of_kind(Recipient.kind),
        next_url=next_url(request, page.next),
    )


async def replay_chosen(request: web.Request) -> web.StreamResponse:
    data = await form_of(request)
    await replay(console(request), data.getall("delivery", [])[:1_000])
    return see_other("/dead-letters")
