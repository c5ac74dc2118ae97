"""Add Recipient, changing one, and trying it before it is saved. Every button works without a script."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from aiohttp import web

from tocsin.console.api.documents import show, without_identity
from tocsin.console.api.recipients import sample_event, tried_recipient
from tocsin.console.api.records import find
from tocsin.console.api.requests import answer
from tocsin.console.editor import StaleError
from tocsin.console.findings import Finding, Findings, RefusedError
from tocsin.console.pages.forms import by_pointer, form_of, see_other
from tocsin.console.pages.plain import read_rest, rest_of
from tocsin.console.pages.recipient_form import (
    AUTHENTICATIONS,
    TYPES,
    USUAL_MAIL,
    RecipientForm,
    acted,
    form_of_record,
    read_form,
    with_template,
)
from tocsin.console.pages.render import fragment, render
from tocsin.console.tryout import Preview, Result
from tocsin.console.web.context import Console, caller, console
from tocsin.dispatcher.core.ready_templates import ready_templates
from tocsin.dispatcher.core.variables import VARIABLES
from tocsin.shared.configuration.records import Recipient

UNNAMED = "(no name yet)"


@dataclass(frozen=True, slots=True)
class Draft:
    """A form as it stands, and what is to be said about it."""

    form: RecipientForm
    stored: Recipient | None
    more: str  # fields without inputs, as YAML
    problems: Mapping[str, list[str]]
    preview: Preview | None
    result: Result | None = None


async def new(request: web.Request) -> web.StreamResponse:
    form = RecipientForm()
    if template := request.query.get("template"):
        form = with_template(form, template)
    return _page(request, await _drafted(console(request), form, None, _more(form), complain=False))


async def edit(request: web.Request) -> web.StreamResponse:
    stored = _stored(request)
    assert stored is not None
    services = console(request)
    form = form_of_record(stored, without_identity(show(stored, services.directory.state, services.directory.names)))
    return _page(request, await _drafted(services, form, stored, _more(form)))


async def submit(request: web.Request) -> web.StreamResponse:
    """Add Recipient, or one of the helping buttons."""
    services, stored = console(request), _stored(request)
    data = await form_of(request)
    action, more = data.get("do", "save"), data.get("more", "")
    form = acted(read_form(data, stored), action)
    if action == "template":
        form = with_template(form, data.get("template", ""))
        more = _more(form)
    draft = await _drafted(services, form, stored, more, complain=action in ("save", "test"))
    if action == "test" and not draft.problems:
        draft = replace(draft, result=await _test(services, draft))
    if action != "save":
        return _page(request, draft)
    if draft.problems:
        return _page(request, draft, 422)
    return await _save(request, draft, data.get("revision", ""))


async def _save(request: web.Request, draft: Draft, revision: str) -> web.StreamResponse:
    services, stored = console(request), draft.stored
    document, _ = _document(draft.form, draft.more)
    try:
        saved = await services.editor.save(
            Recipient.kind,
            document,
            caller(request).actor,
            record_id=stored.id if stored else None,
            expected=int(revision) if stored and revision.isdecimal() else None,
        )
    except RefusedError as error:
        return _page(request, replace(draft, problems=by_pointer(error.findings)), 422)
    except StaleError as error:
        return _page(request, replace(draft, problems={"": [str(error)]}), 409)
    path = f"/recipients/{saved.id}"
    return see_other(path if stored else f"{path}/assign?new=1")


async def check(request: web.Request) -> web.StreamResponse:
    """For the script: what is wrong so far, and the preview; with `do=test`, the test."""
    services, stored = console(request), _stored(request)
    data = await form_of(request)
    form = read_form(data, stored)
    draft = await _drafted(services, form, stored, data.get("more", ""))
    if data.get("do") == "test" and not draft.problems:
        draft = replace(draft, result=await _test(services, draft))
    return answer(
        {
            "problems": draft.problems,
            "preview": fragment(request, "recipient_preview.html", draft=draft),
            "result": fragment(request, "recipient_result.html", draft=draft) if data.get("do") == "test" else "",
        }
    )


def _stored(request: web.Request) -> Recipient | None:
    record_id = request.match_info.get("id")
    if record_id is None:
        return None
    record = find(console(request), Recipient.kind, record_id)
    assert isinstance(record, Recipient)
    return record


def _more(form: RecipientForm) -> str:
    document = {**form.rest}
    if form.webhook_rest or form.scheme_rest:
        document["webhook"] = {**form.webhook_rest}
        if form.scheme_rest:
            document["webhook"]["authentication"] = {**form.scheme_rest}
    return rest_of(document, ())


def _document(form: RecipientForm, more: str) -> tuple[dict[str, Any], list[Finding]]:
    """What would be saved, and what is wrong with the YAML beside the inputs."""
    findings = Findings()
    rest = read_rest(more, findings)
    webhook = rest.pop("webhook", None)
    webhook = webhook if isinstance(webhook, dict) else {}
    scheme = webhook.pop("authentication", None)
    form = replace(form, rest=rest, webhook_rest=webhook, scheme_rest=scheme if isinstance(scheme, dict) else {})
    return form.document(), findings.all


async def _drafted(
    services: Console, form: RecipientForm, stored: Recipient | None, more: str, *, complain: bool = True
) -> Draft:
    document, found = _document(form, more)
    stored_id = stored.id if stored else None
    try:
        recipient = tried_recipient(services, document, stored_id)
    except RefusedError as error:
        problems = by_pointer([*found, *error.findings])
        preview = await _lenient_preview(services, document, stored_id)
        return Draft(form, stored, more, problems if complain else {}, preview)
    preview = services.tryout.preview(recipient, await sample_event(services, stored_id))
    return Draft(form, stored, more, by_pointer(found) if complain else {}, preview)


async def _lenient_preview(services: Console, document: dict[str, Any], stored_id: str | None) -> Preview | None:
    """Of a form that is not finished: with stand-ins for what is missing. None while that is not enough."""
    patched = dict(document)
    if not patched.get("name") or stored_id is None:
        patched["name"] = f"{UNNAMED} {services.editor.new_id()}"
    if patched["type"] == "user":
        patched |= {"first_name": patched.get("first_name") or "-", "last_name": patched.get("last_name") or "-"}
    if "webhook" in patched:
        webhook = dict(patched["webhook"])
        webhook["url"] = webhook["url"] or "https://example.com/"
        webhook["headers"] = [one for one in webhook["headers"] if one["name"] and one["value"]]
        authentication = dict(webhook.get("authentication", {}))
        for name in ("username", "password", "secret"):
            if name in authentication and not authentication[name]:
                authentication[name] = "-"
        if authentication:
            webhook["authentication"] = authentication
        patched["webhook"] = webhook
    elif not patched.get("email"):
        patched["email"] = "nobody@example.com"
    try:
        recipient = tried_recipient(services, patched, stored_id)
    except RefusedError:
        return None
    preview = services.tryout.preview(recipient, await sample_event(services, stored_id))
    target = document["webhook"]["url"] if "webhook" in document else document.get("email", "")
    return replace(preview, target=target)


async def _test(services: Console, draft: Draft) -> Result:
    document, _ = _document(draft.form, draft.more)
    stored_id = draft.stored.id if draft.stored else None
    recipient = tried_recipient(services, document, stored_id)
    return await services.tryout.send(recipient, await sample_event(services, stored_id))


def _page(request: web.Request, draft: Draft, status: int = 200) -> web.Response:
    return render(
        request,
        "recipient_form.html",
        status,
        draft=draft,
        form=draft.form,
        problems=draft.problems,
        types=TYPES,
        authentications=AUTHENTICATIONS,
        templates=list(ready_templates().values()),
        variables=VARIABLES,
        usual_mail=USUAL_MAIL,
    )
