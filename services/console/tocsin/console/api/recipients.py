"""What is done with a recipient beside editing it: pause, enable, assign, try."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from aiohttp import web

from tocsin.console.api.documents import SHOWN, show, without_identity
from tocsin.console.api.idempotency import Idempotency
from tocsin.console.api.records import find
from tocsin.console.api.requests import answer, bad_field, json_body, only_fields, text_field
from tocsin.console.api.shapes import AssignDocument, Assigned, PreviewAnswer, TrialAnswer, TrialDocument
from tocsin.console.editor import existing
from tocsin.console.findings import RefusedError
from tocsin.console.state import Operation, Put, State
from tocsin.console.web.context import Console, caller, console
from tocsin.console.web.problems import ProblemError, unprocessable
from tocsin.console.web.routes import Api, Handler, Route
from tocsin.shared.configuration.records import Recipient
from tocsin.shared.schemas.event import NotificationEvent

ACTIONS = ("pause", "resume", "disable", "enable")


def recipient_routes(idempotency: Idempotency) -> list[Route]:
    one, tag = "/api/v1/recipients/{id}", "recipients"

    def once(handler: Handler) -> Handler:
        async def handle(request: web.Request) -> web.StreamResponse:
            async def work() -> web.Response:
                response = await handler(request)
                assert isinstance(response, web.Response)
                return response

            return await idempotency.once(request, caller(request), console(request).clock.now_ms(), work)

        return handle

    actions = [
        Route(
            "POST",
            f"{one}/{name}",
            once(action(name)),
            "operator",
            Api(f"{name.capitalize()} a recipient", tag, answer=SHOWN["recipient"], etag=True, refuses=(409,)),
        )
        for name in ACTIONS
    ]
    return [
        *actions,
        Route(
            "PUT",
            f"{one}/notifications",
            once(assign),
            "editor",
            Api("Make these its notifications", tag, body=AssignDocument, answer=Assigned, refuses=(409,)),
        ),
        Route(
            "POST",
            "/api/v1/recipient-preview",
            preview,
            "editor",
            Api("What would be sent", tag, body=TrialDocument, answer=PreviewAnswer, refuses=(404,)),
        ),
        Route(
            "POST",
            "/api/v1/recipient-test",
            send_test,
            "editor",
            Api("Send a test, saved or not", tag, body=TrialDocument, answer=TrialAnswer, refuses=(404,)),
        ),
    ]


def action(name: str) -> Handler:
    async def act(request: web.Request) -> web.StreamResponse:
        services = console(request)
        record = find(services, Recipient.kind, request.match_info["id"])
        changed = await act_on(services, [record.id], name, caller(request).actor)
        return answer(show(changed[0], services.directory.state), revision=changed[0].revision)

    return act


async def act_on(services: Console, record_ids: Sequence[str], name: str, actor: str) -> list[Recipient]:
    """Pause, resume, disable or enable these; the recipients as they are then."""
    choices: dict[str, dict[str, Any]] = {
        "pause": {"paused": True},
        "resume": {"paused": False},
        "disable": {"enabled": False},
        "enable": {"enabled": True, "enabled_at": services.clock.now_ms()},
    }
    fields = choices[name]

    def build(state: State) -> list[Operation]:
        found = [existing(state, Recipient.kind, record_id, None) for record_id in record_ids]
        changed = [record.model_copy(update=fields) for record in found]
        return [Put(after, before.revision) for before, after in zip(found, changed, strict=True) if before != after]

    await services.editor.write(build, actor)
    found = [find(services, Recipient.kind, record_id) for record_id in record_ids]
    return [record for record in found if isinstance(record, Recipient)]


async def assign(request: web.Request) -> web.StreamResponse:
    services, document = console(request), await json_body(request)
    only_fields(document, "notifications", "allow_none_left")
    ids = document.get("notifications")
    if not isinstance(ids, list) or not all(isinstance(one, str) for one in ids):
        raise bad_field("notifications", "must be a list of ids")
    allowed = document.get("allow_none_left", False)
    if not isinstance(allowed, bool):
        raise bad_field("allow_none_left", "must be true or false")
    record = find(services, Recipient.kind, request.match_info["id"])
    alone = await services.editor.assign(record.id, ids, caller(request).actor, allow_none_left=allowed)
    return answer({"notifications": ids, "left_without_recipient": alone})


def tried_recipient(services: Console, document: dict[str, Any], record_id: str | None) -> Recipient:
    """The recipient a document describes, saved or not. Raises RefusedError, GoneError."""
    state = services.directory.state
    plan = services.editor.plan(state, Recipient.kind, without_identity(document), record_id=record_id)
    after = plan.steps[0].after
    assert isinstance(after, Recipient)
    return after


async def sample_event(services: Console, record_id: str | None) -> NotificationEvent:
    """The last real event of the recipient's notifications, of any, or a made-up one."""
    ids = [one.id for one in services.directory.users_of(Recipient.kind, record_id)] if record_id else []
    found = await services.queries.newest_event(ids) or await services.queries.newest_event()
    return NotificationEvent.decode(found) if found else services.tryout.sample_event()


async def _tried(request: web.Request) -> tuple[Recipient, NotificationEvent]:
    services, document = console(request), await json_body(request)
    only_fields(document, "recipient", "id")
    recipient, record_id = document.get("recipient"), text_field(document, "id", required=False)
    if not isinstance(recipient, dict):
        raise bad_field("recipient", "must be an object")
    try:
        tried = tried_recipient(services, recipient, record_id)
    except RefusedError as error:
        problem = unprocessable(error.findings)
        errors = [one.model_copy(update={"pointer": f"/recipient{one.pointer}"}) for one in problem.errors]
        raise ProblemError(422, problem.detail, errors) from None
    return tried, await sample_event(services, record_id)


async def preview(request: web.Request) -> web.StreamResponse:
    return answer(asdict(console(request).tryout.preview(*await _tried(request))))


async def send_test(request: web.Request) -> web.StreamResponse:
    return answer(asdict(await console(request).tryout.send(*await _tried(request))))
