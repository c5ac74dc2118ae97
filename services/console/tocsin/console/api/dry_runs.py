"""A rule tried on recent readings before it is saved."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from tocsin.console.api.documents import without_identity
from tocsin.console.api.requests import answer, bad_field, json_body, only_fields, text_field
from tocsin.console.api.shapes import NotificationDryRun, NotificationTrialDocument, SensorDryRun, SensorTrialDocument
from tocsin.console.findings import RefusedError
from tocsin.console.trial.dry_run_job import Outcome, configuration_for
from tocsin.console.web.context import Console, console
from tocsin.console.web.problems import ProblemError, unprocessable
from tocsin.console.web.routes import Api, Handler, Route
from tocsin.shared.configuration.records import Notification, Record, Sensor
from tocsin.shared.configuration.snapshot import Configuration
from tocsin.shared.times import format_rfc3339, parse_duration, parse_rfc3339

DAY_MS = 86_400_000
"""As long as readings are kept, unless the topic says otherwise."""


def dry_run_routes() -> list[Route]:
    return [
        Route(
            "POST",
            f"/api/v1/{kind}s/dry-run",
            _handler(kind),
            "editor",
            Api(f"Try a {kind} on recent readings, saved or not", f"{kind}s", body=body, answer=shape, refuses=(404,)),
        )
        for kind, body, shape in (
            (Sensor.kind, SensorTrialDocument, SensorDryRun),
            (Notification.kind, NotificationTrialDocument, NotificationDryRun),
        )
    ]


async def tried(
    services: Console, kind: str, document: dict[str, Any], record_id: str | None = None, since: int | None = None
) -> tuple[Record, Outcome]:
    """The rule as it would be, and what it would have done. Raises RefusedError, GoneError, BrokerError."""
    state, now = services.directory.state, services.clock.now_ms()
    if kind == Notification.kind:
        document = {"recipients": [], **document}  # who is told does not change what fires
    plan = services.editor.plan(state, kind, without_identity(document), record_id=record_id)
    after = plan.steps[0].after
    assert after is not None, "what is no deletion leads to a record"
    configuration = configuration_for(after, Configuration.of(state.change, state.records))
    return after, await services.dry_runs.run(configuration, now - DAY_MS if since is None else since, now)


def _handler(kind: str) -> Handler:
    async def handle(request: web.Request) -> web.StreamResponse:
        services, body = console(request), await json_body(request)
        only_fields(body, kind, "id", "since")
        document, record_id = body.get(kind), text_field(body, "id", required=False)
        if not isinstance(document, dict):
            raise bad_field(kind, "must be an object")
        since = since_of(text_field(body, "since", required=False) or "24h", services.clock.now_ms())
        try:
            _, found = await tried(services, kind, document, record_id, since)
        except RefusedError as error:
            problem = unprocessable(error.findings)
            errors = [one.model_copy(update={"pointer": f"/{kind}{one.pointer}"}) for one in problem.errors]
            raise ProblemError(422, problem.detail, errors) from None
        return answer(shown(kind, found))

    return handle


def since_of(text: str, now: int) -> int:
    """Epoch ms. Raises ProblemError 422."""
    try:
        since = now - parse_duration(text)
    except ValueError:
        try:
            since = parse_rfc3339(text)
        except ValueError:
            raise bad_field("since", "is neither a duration such as 2h nor a time") from None
    if not now - DAY_MS <= since <= now:
        raise bad_field("since", "must be a time of the last 24 hours")
    return since


def shown(kind: str, found: Outcome) -> dict[str, Any]:
    """Times as text, lengths in seconds."""
    head = {
        "since": format_rfc3339(found.since),
        "until": format_rfc3339(found.until),
        "readings": found.readings,
        "refused": found.refused,
        "cut": list(found.cut),
        "sensors": [
            {
                "name": one.name,
                "triggered": one.triggered,
                "still_triggered": one.still,
                "triggered_seconds": one.total / 1000,
                "longest_seconds": one.longest / 1000,
                "series": one.series,
                "noisiest": dict(one.noisiest),
            }
            for one in found.sensors
        ],
    }
    return {**head, **(_changes(found) if kind == Sensor.kind else _activations(found))}


def _changes(found: Outcome) -> dict[str, Any]:
    return {
        "change_count": found.change_count,
        "changes": [
            {
                "time": format_rfc3339(one.time),
                "system": one.system,
                "instance": one.instance,
                "state": one.state,
                "level": one.level,
                "value": one.value,
            }
            for one in found.changes
        ],
    }


def _activations(found: Outcome) -> dict[str, Any]:
    return {
        "activation_count": found.activation_count,
        "active_seconds": found.active_for / 1000,
        "activations": [
            {
                "activated_at": format_rfc3339(one.start),
                "ended_at": None if one.ended is None else format_rfc3339(one.ended),
                "matched": one.matched,
                "reporting": one.reporting,
                "systems": list(one.systems),
            }
            for one in found.activations
        ],
    }
