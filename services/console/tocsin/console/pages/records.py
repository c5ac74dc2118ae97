"""Sensors, groups, schedules, notifications, silences: lists and editors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from aiohttp import web

from tocsin.console.access.roles import Need
from tocsin.console.api.documents import show, without_identity
from tocsin.console.api.dry_runs import tried
from tocsin.console.api.records import find, matching
from tocsin.console.editor import StaleError
from tocsin.console.findings import Findings, RefusedError
from tocsin.console.matching import matcher_of, systems_in, systems_now
from tocsin.console.models.systems import UNHEARD
from tocsin.console.pages.charts import Chart, Timeline, chart_of, chart_of_trial, timeline_of
from tocsin.console.pages.forms import by_pointer, form_of, see_other
from tocsin.console.pages.lists import next_url, page_of
from tocsin.console.pages.plain import read_rest, rest_of
from tocsin.console.pages.record_form import (
    EVENTS,
    SPECS,
    FormSpec,
    preset_slots,
    read_document,
    sensor_rows,
    slot_rows,
    threshold_parts,
    threshold_words,
)
from tocsin.console.pages.render import render
from tocsin.console.trial.dry_run_job import Outcome
from tocsin.console.web.context import Console, caller, console
from tocsin.console.web.routes import Route
from tocsin.shared.configuration.names import fold
from tocsin.shared.configuration.records import (
    DEFAULT_REPORTING_WITHIN_MS,
    Group,
    Notification,
    Record,
    Sensor,
)
from tocsin.shared.configuration.schedules import PRESETS
from tocsin.shared.errors import BrokerError
from tocsin.shared.times import parse_duration

PER_PAGE = 100
TRIED = (Sensor.kind, Notification.kind)
"""Kinds whose editor can try what it says on recent readings."""


def record_pages() -> list[Route]:
    return [route for kind in SPECS for route in _routes(kind)]


def _routes(kind: str) -> list[Route]:
    pages, path = _Pages(SPECS[kind]), f"/{kind}s"
    needs: Need = "operator" if kind == "silence" else "editor"
    one = f"{path}/{{id}}"
    return [
        Route("GET", path, pages.list, "viewer"),
        Route("GET", f"{path}/new", pages.new, needs),
        Route("POST", f"{path}/new", pages.submit, needs),
        Route("GET", one, pages.edit, "viewer"),
        Route("POST", one, pages.submit, needs),
        Route("POST", f"{one}/delete", pages.delete, needs),
    ]


@dataclass(frozen=True, slots=True)
class Trial:
    """What the rule would have done; `problem`: it could not be tried."""

    found: Outcome | None = None
    chart: Chart | None = None
    timeline: Timeline | None = None
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Draft:
    """A form as it stands."""

    stored: Record | None
    document: Mapping[str, Any]
    more: str
    problems: Mapping[str, list[str]]
    trial: Trial | None = None


class _Pages:
    """Of one kind."""

    def __init__(self, spec: FormSpec) -> None:
        self._spec = spec
        self._kind = spec.kind

    async def list(self, request: web.Request) -> web.StreamResponse:
        services = console(request)
        records = matching(services.directory.state.of_kind(self._kind), request.query.get("search", ""))
        page, last = page_of(request, records, lambda one: fold(one.name), PER_PAGE)
        state, names = services.directory.state, services.directory.names
        rows = [(one, show(one, state, names)) for one in page]
        return render(
            request,
            f"{self._kind}s.html",
            rows=rows,
            total=len(records),
            spec=self._spec,
            next_url=next_url(request, last),
            **await _beside_list(services, self._kind),
        )

    async def new(self, request: web.Request) -> web.StreamResponse:
        given = {name: value for name, value in request.query.items() if name in self._spec.names}
        if self._kind == "notification":
            given = {**given, "notify": ["activated", "resolved"]}  # type: ignore[dict-item]
        return await self._page(request, Draft(None, given, "", {}))

    async def edit(self, request: web.Request) -> web.StreamResponse:
        services = console(request)
        stored = find(services, self._kind, request.match_info["id"])
        document = without_identity(show(stored, services.directory.state, services.directory.names))
        if self._kind == "notification":
            document.setdefault("notify", ["activated", "resolved"])
        return await self._page(request, Draft(stored, document, rest_of(document, self._spec.names), {}))

    async def submit(self, request: web.Request) -> web.StreamResponse:
        services, data = console(request), await form_of(request)
        record_id = request.match_info.get("id")
        stored = find(services, self._kind, record_id) if record_id else None
        findings = Findings()
        more = data.get("more", "")
        document = read_document(self._spec, data, lambda name: data.getall(name, []))
        document = {**read_rest(more, findings), **document}
        draft = Draft(stored, document, more, by_pointer(findings.all))
        if (preset := preset_slots(data.get("preset", ""))) is not None:
            return await self._page(request, replace(draft, document={**document, "slots": preset}))
        if data.get("do") == "again":
            return await self._page(request, draft)
        if findings.all:
            return await self._page(request, draft, 422)
        if data.get("do") == "try" and self._kind in TRIED:
            return await self._try(request, draft)
        return await self._save(request, draft, data.get("revision", ""))

    async def _try(self, request: web.Request, draft: Draft) -> web.StreamResponse:
        """As it stands, not saved."""
        services, stored = console(request), draft.stored
        try:
            after, found = await tried(services, self._kind, dict(draft.document), stored.id if stored else None)
        except RefusedError as error:
            problems = by_pointer(error.findings)
            return await self._page(request, replace(draft, problems=problems), 422)
        except BrokerError as error:
            return await self._page(request, replace(draft, trial=Trial(problem=str(error))), 503)
        if isinstance(after, Sensor):
            trial = Trial(found, chart=chart_of_trial(found, after))
        else:
            trial = Trial(found, timeline=timeline_of(found))
        return await self._page(request, replace(draft, trial=trial))

    async def _save(self, request: web.Request, draft: Draft, revision: str) -> web.StreamResponse:
        stored = draft.stored
        try:
            await console(request).editor.save(
                self._kind,
                draft.document,
                caller(request).actor,
                record_id=stored.id if stored else None,
                expected=int(revision) if stored and revision.isdecimal() else None,
            )
        except RefusedError as error:
            problems = by_pointer(error.findings)
            return await self._page(request, Draft(stored, draft.document, draft.more, problems), 422)
        except StaleError as error:
            return await self._page(request, Draft(stored, draft.document, draft.more, {"": [str(error)]}), 409)
        return see_other(f"/{self._kind}s")

    async def delete(self, request: web.Request) -> web.StreamResponse:
        services = console(request)
        record = find(services, self._kind, request.match_info["id"])
        await services.editor.delete(self._kind, record.id, caller(request).actor)
        return see_other(f"/{self._kind}s")

    async def _page(self, request: web.Request, draft: Draft, status: int = 200) -> web.Response:
        services = console(request)
        threshold, unit = threshold_parts(draft.document.get("threshold"))
        return render(
            request,
            "record_form.html",
            status,
            spec=self._spec,
            draft=draft,
            document=draft.document,
            problems=draft.problems,
            choices=_choices(services),
            sensor_rows=sensor_rows(draft.document.get("sensors")),
            slot_rows=slot_rows(draft.document.get("slots")),
            threshold=threshold,
            unit=unit,
            used_by=services.directory.users_of(self._kind, draft.stored.id) if draft.stored else [],
            beside=await _beside_form(services, self._kind, draft),
            tried=self._kind in TRIED,
            presets=tuple(PRESETS),
        )


def _choices(services: Console) -> dict[str, Sequence[str]]:
    state = services.directory.state
    found: dict[str, Sequence[str]] = {
        kind: [record.name for record in state.of_kind(kind)] for kind in ("sensor", "group", "recipient")
    }
    schedules = [record.name for record in state.of_kind("schedule")]
    return {
        **found,
        "schedule": [*PRESETS, *schedules],
        "events": EVENTS,
        "metrics": sorted(services.systems.metrics)[:500],
    }


async def _beside_list(services: Console, kind: str) -> dict[str, Any]:
    """What a list says beyond the records."""
    match kind:
        case "sensor":
            return {"triggered": await services.queries.triggered_counts()}
        case "notification":
            return {"active": await services.queries.active_by_notification()}
        case _:
            return {}


async def _beside_form(services: Console, kind: str, draft: Draft) -> dict[str, Any]:
    """What an editor shows of the present."""
    match draft.stored:
        case Sensor() as sensor:
            return {"chart": chart_of(services.systems, sensor, services.clock.now_ms())}
        case Group() as group:
            names = await systems_in(services, matcher_of(services, group.id))
            return {"systems": names[:50], "total": len(names)}
        case Notification() as notification:
            matched, total = await systems_now(services, notification.id, 50)
            return {"systems": matched, "total": total, **await _reporting(services, draft.document)}
        case None if kind == Notification.kind:
            return await _reporting(services, draft.document)
        case _:
            return {}


async def _reporting(services: Console, document: Mapping[str, Any]) -> dict[str, Any]:
    """How many systems of the group report, and what the threshold comes to with so many, as the form stands."""
    group = next(
        (one for one in services.directory.state.of_kind(Group.kind) if one.name == document.get("group")), None
    )
    members = await systems_in(services, matcher_of(services, group.id if group else None))
    try:
        within = parse_duration(str(document["reporting_within"]))
    except (KeyError, ValueError):
        within = DEFAULT_REPORTING_WITHIN_MS
    since = services.clock.now_ms() - within
    reporting = sum(services.systems.by_name.get(name, UNHEARD).heard > since for name in members)
    spoken = threshold_words(document.get("threshold"), reporting)
    return {"members": len(members), "reporting": reporting, "sentence": spoken}
