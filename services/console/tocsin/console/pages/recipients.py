"""Recipients: the list, each one's own page, its notifications, and what is done with it."""

from __future__ import annotations

import shlex

from aiohttp import web

from tocsin.console.api.documents import show, without_identity
from tocsin.console.api.recipients import ACTIONS, act_on, sample_event
from tocsin.console.api.records import find, matching
from tocsin.console.api.requests import cursor_of
from tocsin.console.models.queries import DELIVERY_STATES, Wanted
from tocsin.console.pages import recipient_edit
from tocsin.console.pages.deliveries import since_of
from tocsin.console.pages.forms import form_of, see_other
from tocsin.console.pages.lists import next_url, page_of
from tocsin.console.pages.render import render
from tocsin.console.replaying import replay
from tocsin.console.standing import standing
from tocsin.console.state import ConflictError
from tocsin.console.tryout import Preview
from tocsin.console.web.context import caller, console
from tocsin.console.web.routes import Route
from tocsin.console.yaml_export import dump_yaml
from tocsin.shared.configuration.names import fold
from tocsin.shared.configuration.records import Recipient

PER_PAGE = 100


def recipient_pages() -> list[Route]:
    one = "/recipients/{id}"
    return [
        Route("GET", "/recipients", list_recipients, "viewer"),
        Route("GET", "/recipients/new", recipient_edit.new, "editor"),
        Route("POST", "/recipients/new", recipient_edit.submit, "editor"),
        Route("POST", "/recipients/check", recipient_edit.check, "editor"),
        Route("GET", one, show_recipient, "viewer"),
        Route("GET", f"{one}/edit", recipient_edit.edit, "editor"),
        Route("POST", f"{one}/edit", recipient_edit.submit, "editor"),
        Route("POST", f"{one}/check", recipient_edit.check, "editor"),
        Route("GET", f"{one}/assign", choose, "editor"),
        Route("POST", f"{one}/assign", assign, "editor"),
        Route("POST", f"{one}/act", act, "operator"),
        Route("POST", f"{one}/replay", replay_failed, "operator"),
        Route("POST", f"{one}/delete", delete, "editor"),
        Route("GET", f"{one}/export.yaml", export_yaml, "viewer"),
        Route("GET", f"{one}/export.sh", export_curl, "editor"),
    ]


async def list_recipients(request: web.Request) -> web.StreamResponse:
    services = console(request)
    records = matching(services.directory.state.of_kind(Recipient.kind), request.query.get("search", ""))
    page, last = page_of(request, records, lambda one: fold(one.name), PER_PAGE)
    counts: dict[str, int] = {}
    for notification in services.directory.notifications():
        for recipient_id in notification.recipient_ids:
            counts[recipient_id] = counts.get(recipient_id, 0) + 1
    states = await services.queries.recipient_states([one.id for one in page])
    return render(
        request,
        "recipients.html",
        rows=[(one, standing(one, states.get(one.id))) for one in page if isinstance(one, Recipient)],
        total=len(records),
        counts=counts,
        newest=await services.queries.last_deliveries([one.id for one in page]),
        next_url=next_url(request, last),
    )


def _recipient(request: web.Request) -> Recipient:
    record = find(console(request), Recipient.kind, request.match_info["id"])
    assert isinstance(record, Recipient)
    return record


async def show_recipient(request: web.Request) -> web.StreamResponse:
    services, recipient = console(request), _recipient(request)
    wanted = Wanted(
        recipient=recipient.id,
        notification=request.query.get("notification"),
        state=request.query.get("state") if request.query.get("state") in DELIVERY_STATES else None,
        since=since_of(request),
    )
    page = await services.queries.deliveries(wanted, cursor_of(request, int, str), 50)
    states = await services.queries.recipient_states([recipient.id])
    return render(
        request,
        "recipient.html",
        recipient=recipient,
        standing=standing(recipient, states.get(recipient.id)),
        state=states.get(recipient.id),
        preview=services.tryout.preview(recipient, await sample_event(services, recipient.id)),
        document=show(recipient, services.directory.state, services.directory.names),
        notifications=services.directory.users_of(Recipient.kind, recipient.id),
        deliveries=page.rows,
        states=DELIVERY_STATES,
        counts=await services.queries.counts_of_recipient(recipient.id),
        next_url=next_url(request, page.next),
    )


async def choose(request: web.Request) -> web.StreamResponse:
    recipient = _recipient(request)
    chosen = {one.id for one in console(request).directory.users_of(Recipient.kind, recipient.id)}
    return _assign_page(request, recipient, chosen)


def _assign_page(
    request: web.Request, recipient: Recipient, chosen: set[str], warning: str = "", status: int = 200
) -> web.Response:
    return render(
        request,
        "assign.html",
        status,
        recipient=recipient,
        notifications=console(request).directory.notifications(),
        chosen=chosen,
        warning=warning,
        is_new="new" in request.query,
    )


async def assign(request: web.Request) -> web.StreamResponse:
    services, recipient = console(request), _recipient(request)
    data = await form_of(request)
    chosen = data.getall("notification", [])
    try:
        await services.editor.assign(
            recipient.id, chosen, caller(request).actor, allow_none_left="allow_none_left" in data
        )
    except ConflictError as error:
        return _assign_page(request, recipient, set(chosen), str(error), 409)
    return see_other("/recipients" if "new" in request.query else f"/recipients/{recipient.id}")


async def act(request: web.Request) -> web.StreamResponse:
    recipient, data = _recipient(request), await form_of(request)
    if data.get("do") in ACTIONS:
        await act_on(console(request), [recipient.id], data["do"], caller(request).actor)
    return see_other(f"/recipients/{recipient.id}")


async def replay_failed(request: web.Request) -> web.StreamResponse:
    services, recipient = console(request), _recipient(request)
    ids = await services.queries.failed_since(recipient.id, since_of(request) or 0)
    await replay(services, ids)
    return see_other(f"/recipients/{recipient.id}")


async def delete(request: web.Request) -> web.StreamResponse:
    services, recipient = console(request), _recipient(request)
    await services.editor.delete(Recipient.kind, recipient.id, caller(request).actor)
    return see_other("/recipients")


async def export_yaml(request: web.Request) -> web.StreamResponse:
    """Applied again, it changes nothing: stored secrets are kept."""
    services, recipient = console(request), _recipient(request)
    document = without_identity(show(recipient, services.directory.state, services.directory.names))
    return _download(dump_yaml({"recipients": [document]}), "application/yaml", f"{_file_name(recipient)}.yaml")


async def export_curl(request: web.Request) -> web.StreamResponse:
    """The request as a command; what is secret has to be filled in."""
    services, recipient = console(request), _recipient(request)
    preview = services.tryout.preview(recipient, await sample_event(services, recipient.id))
    return _download(curl(preview), "text/x-shellscript", f"{_file_name(recipient)}.sh")


def curl(preview: Preview) -> str:
    """For a shell, quoted."""
    parts = ["curl", "-X", preview.method, shlex.quote(preview.target)]
    for line in preview.headers:
        value = f"FILL-IN-{line.name.upper()}" if line.masked else line.value
        parts += ["\\\n  -H", shlex.quote(f"{line.name}: {value}")]
    return " ".join([*parts, "\\\n  --data-binary", shlex.quote(preview.body)]) + "\n"


def _file_name(recipient: Recipient) -> str:
    return "".join(letter if letter.isascii() and letter.isalnum() else "-" for letter in recipient.name.lower())


def _download(text: str, content_type: str, name: str) -> web.Response:
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    return web.Response(text=text, content_type=content_type, charset="utf-8", headers=headers)
