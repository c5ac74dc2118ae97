"""Overview, activations, systems, the audit: what is and what was."""

from __future__ import annotations

import asyncio
from bisect import bisect_right

from aiohttp import web

from tocsin.console.api.requests import cursor_of
from tocsin.console.dismissing import dismiss_activation as dismiss_by_hand
from tocsin.console.matching import notifications_matched, systems_now, triggered_by_system
from tocsin.console.models.queries import ACTIVATION_STATES, DAY_MS, Wanted
from tocsin.console.models.systems import UNHEARD
from tocsin.console.pages.charts import spark
from tocsin.console.pages.forms import form_of, see_other, text
from tocsin.console.pages.lists import next_url
from tocsin.console.pages.render import render
from tocsin.console.standing import standing
from tocsin.console.web.context import API_DOCUMENT, caller, console
from tocsin.console.web.problems import not_found
from tocsin.console.web.routes import Route
from tocsin.shared.configuration.records import DEFAULT_REPORTING_WITHIN_MS, Notification, Recipient

SHOWN_SYSTEMS = 200
PER_PAGE = 100
MAX_COMMENT = 2_000


def watching_pages() -> list[Route]:
    return [
        Route("GET", "/", overview, "viewer"),
        Route("GET", "/activations", list_activations, "viewer"),
        Route("GET", "/activations/{id}", show_activation, "viewer"),
        Route("POST", "/activations/{id}/dismiss", dismiss_activation, "operator"),
        Route("GET", "/systems", list_systems, "viewer"),
        Route("GET", "/system", show_system, "viewer"),
        Route("GET", "/audit", list_changes, "operator"),
        Route("GET", "/api", api_page, "viewer"),
    ]


async def overview(request: web.Request) -> web.StreamResponse:
    services = console(request)
    now = services.clock.now_ms()
    active = await services.queries.activations(None, 20, state="active")
    recent = await services.queries.activations(None, 8)
    failing = await services.queries.deliveries(Wanted(state="retrying"), None, 8)
    states = await services.queries.recipient_states()
    recipients = [one for one in services.directory.state.of_kind(Recipient.kind) if isinstance(one, Recipient)]
    stands = [(one, standing(one, states.get(one.id))) for one in recipients]
    return render(
        request,
        "overview.html",
        counts=await services.queries.overview(now),
        active=active.rows,
        recent=[row for row in recent.rows if row["state"] != "active"],
        failing=failing.rows,
        troubled=[(one, how) for one, how in stands if how.tone != "good"][:8],
        reporting=services.systems.reporting(now, DEFAULT_REPORTING_WITHIN_MS),
        known=len(services.systems.by_name),
        progress=services.feed.progress,
        empty=not recipients and not services.directory.notifications(),
        unreadable=services.directory.state.unreadable,
        day_ms=DAY_MS,
        lag=services.lag.current,
    )


async def list_activations(request: web.Request) -> web.StreamResponse:
    services, query = console(request), request.query
    state = query.get("state") if query.get("state") in ACTIVATION_STATES else None
    page = await services.queries.activations(
        cursor_of(request, int, str), 50, notification=query.get("notification"), state=state
    )
    return render(
        request,
        "activations.html",
        rows=page.rows,
        states=ACTIVATION_STATES,
        state=state,
        notifications=services.directory.state.of_kind(Notification.kind),
        next_url=next_url(request, page.next),
    )


async def show_activation(request: web.Request) -> web.StreamResponse:
    services = console(request)
    found = await services.queries.activation(request.match_info["id"])
    if found is None:
        raise not_found(f"activation {request.match_info['id'][:64]}")
    deliveries = await services.queries.deliveries(Wanted(activation=found["id"]), None, 100)
    affected: list[str] = []
    total = 0
    if found["state"] == "active":
        affected, total = await systems_now(services, found["notification"]["id"], SHOWN_SYSTEMS)
    return render(
        request,
        "activation.html",
        activation=found,
        deliveries=deliveries.rows,
        systems_then=(await services.queries.systems_at_activation(found))[:SHOWN_SYSTEMS],
        systems_now=affected,
        affected=total,
    )


async def dismiss_activation(request: web.Request) -> web.StreamResponse:
    services, data = console(request), await form_of(request)
    activation_id = request.match_info["id"]
    comment = text(data, "comment")[:MAX_COMMENT]
    await dismiss_by_hand(services, activation_id, caller(request).actor, comment)
    return see_other(f"/activations/{activation_id}")


async def list_systems(request: web.Request) -> web.StreamResponse:
    services = console(request)
    names = await asyncio.to_thread(services.systems.names, request.query.get("search", ""))
    if request.query.get("show") == "triggered":
        problems = await services.queries.systems_with_problems()
        names = [name for name in names if name in problems]
    after = cursor_of(request, str)
    first = bisect_right(names, after[0]) if after else 0
    page = names[first : first + PER_PAGE]
    triggered = await triggered_by_system(services, page)
    views = services.systems.by_name
    return render(
        request,
        "systems.html",
        rows=[(name, views.get(name, UNHEARD), len(triggered.get(name, ()))) for name in page],
        total=len(names),
        next_url=next_url(request, [page[-1]] if first + PER_PAGE < len(names) else None),
    )


async def show_system(request: web.Request) -> web.StreamResponse:
    """By query, not by path: a system may be called anything, slashes too."""
    services, name = console(request), request.query.get("name", "")
    view = services.systems.by_name.get(name)
    states = await services.queries.states_of_system(name)
    matched = await notifications_matched(services, name)
    if view is None and not states and not matched:
        raise not_found(f"system {name[:64]!r} that has been heard lately")
    series = sorted(view.series.items(), key=lambda one: (one[0][0], one[0][1] or "")) if view else []
    points = [latest.history.points() if latest.history else [] for _, latest in series]
    rows = [(*name, latest, spark(its)) for (name, latest), its in zip(series, points, strict=True)]
    return render(request, "system.html", name=name, view=view, rows=rows[:500], states=states, matched=matched)


async def list_changes(request: web.Request) -> web.StreamResponse:
    services, query = console(request), request.query
    page = await services.queries.changes(
        cursor_of(request, int, str),
        50,
        record=query.get("record"),
        kind=query.get("kind"),
        actor=query.get("actor", ""),
    )
    return render(request, "audit.html", rows=page.rows, next_url=next_url(request, page.next))


async def api_page(request: web.Request) -> web.StreamResponse:
    """The OpenAPI document, to read."""
    return render(request, "api.html", document=request.app[API_DOCUMENT])
