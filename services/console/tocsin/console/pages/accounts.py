"""Tokens and users. A token is shown once."""

from __future__ import annotations

import asyncio

from aiohttp import web

from tocsin.console.access.roles import ROLE_TEXTS, ROLES, SCOPES
from tocsin.console.accounts import (
    AccountError,
    create_user,
    delete_user,
    new_api_token,
    new_user,
    replace_user,
    with_password,
)
from tocsin.console.api.records import find
from tocsin.console.pages.forms import Form, form_of, see_other, text
from tocsin.console.pages.render import render
from tocsin.console.state import ConflictError, Delete
from tocsin.console.web.context import caller, console
from tocsin.console.web.routes import Route
from tocsin.shared.configuration.records import Token, User
from tocsin.shared.times import parse_duration


def account_pages() -> list[Route]:
    return [
        Route("GET", "/tokens", tokens, "admin"),
        Route("POST", "/tokens", create_token, "admin"),
        Route("POST", "/tokens/{id}/delete", delete_token, "admin"),
        Route("GET", "/users", users, "admin"),
        Route("POST", "/users", create, "admin"),
        Route("POST", "/users/{id}", change, "admin"),
        Route("POST", "/users/{id}/delete", delete, "admin"),
    ]


def _tokens_page(
    request: web.Request, status: int = 200, problems: dict[str, list[str]] | None = None, made: str = ""
) -> web.Response:
    records = console(request).directory.state.of_kind(Token.kind)
    return render(
        request,
        "tokens.html",
        status,
        rows=records,
        scopes=SCOPES,
        texts=ROLE_TEXTS,
        problems=problems or {},
        made=made,
    )


async def tokens(request: web.Request) -> web.StreamResponse:
    return _tokens_page(request)


async def create_token(request: web.Request) -> web.StreamResponse:
    services, form, who = console(request), await form_of(request), caller(request)
    try:
        made = new_api_token(
            services.editor.new_id(),
            text(form, "name"),
            form.get("scope", ""),
            who.actor,
            _expiry(form, services.clock.now_ms()),
        )
        await services.editor.put(made.record, who.actor, 0)
    except AccountError as error:
        return _tokens_page(request, 422, {f"/{error.field}": [str(error)]})
    except ConflictError as error:
        return _tokens_page(request, 409, {"/name": [str(error)]})
    return _tokens_page(request, made=made.token)


def _expiry(form: Form, now: int) -> int | None:
    lasts = text(form, "lasts")
    if not lasts:
        return None
    try:
        return now + parse_duration(lasts)
    except ValueError as error:
        raise AccountError("lasts", str(error)) from None


async def delete_token(request: web.Request) -> web.StreamResponse:
    services = console(request)
    record = find(services, Token.kind, request.match_info["id"])
    await services.editor.write(lambda state: [Delete(record.id)], caller(request).actor)
    return see_other("/tokens")


def _users_page(request: web.Request, status: int = 200, problems: dict[str, list[str]] | None = None) -> web.Response:
    records = console(request).directory.state.of_kind(User.kind)
    return render(request, "users.html", status, rows=records, roles=ROLES, texts=ROLE_TEXTS, problems=problems or {})


async def users(request: web.Request) -> web.StreamResponse:
    return _users_page(request)


async def create(request: web.Request) -> web.StreamResponse:
    services, form, who = console(request), await form_of(request), caller(request)
    made, now = services.editor.new_id(), services.clock.now_ms()
    try:
        user = await asyncio.to_thread(
            new_user, made, text(form, "name"), form.get("role", ""), form.get("password", ""), now
        )
        await services.editor.write(lambda state: create_user(state, user), who.actor)
    except AccountError as error:
        return _users_page(request, 422, {f"/{error.field}": [str(error)]})
    except ConflictError as error:
        return _users_page(request, 409, {"/name": [str(error)]})
    return see_other("/users")


async def change(request: web.Request) -> web.StreamResponse:
    services, form = console(request), await form_of(request)
    user = find(services, User.kind, request.match_info["id"])
    assert isinstance(user, User)
    changed = user
    if form.get("role") in ROLES:
        changed = changed.model_copy(update={"role": form["role"]})
    if form.get("do") in ("disable", "enable"):
        changed = changed.model_copy(update={"disabled": form["do"] == "disable"})
    try:
        if form.get("password"):
            changed = await asyncio.to_thread(with_password, changed, form["password"], services.clock.now_ms())
        await services.editor.write(lambda state: replace_user(state, changed, None), caller(request).actor)
    except (AccountError, ConflictError) as error:
        return _users_page(request, 409, {"": [str(error)]})
    return see_other("/users")


async def delete(request: web.Request) -> web.StreamResponse:
    services = console(request)
    user = find(services, User.kind, request.match_info["id"])
    try:
        await services.editor.write(lambda state: delete_user(state, user.id, None), caller(request).actor)
    except ConflictError as error:
        return _users_page(request, 409, {"": [str(error)]})
    return see_other("/users")
