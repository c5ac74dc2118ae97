"""Tokens and users: for admins. A token and a password are never shown again."""

from __future__ import annotations

from typing import Any, Literal

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field

from tocsin.console.accounts import (
    AccountError,
    create_user,
    delete_user,
    new_api_token,
    new_user,
    replace_user,
    with_password,
)
from tocsin.console.api.documents import page_model
from tocsin.console.api.idempotency import Idempotency
from tocsin.console.api.records import find
from tocsin.console.api.requests import (
    CURSOR,
    LIMIT,
    answer,
    bad_field,
    cursor_of,
    encode_cursor,
    expected_revision,
    json_body,
    limit_of,
    only_fields,
    paged,
    text_field,
)
from tocsin.console.state import Delete
from tocsin.console.web.context import caller, console
from tocsin.console.web.routes import Api, Route
from tocsin.shared.configuration.names import fold
from tocsin.shared.configuration.records import Record, Role, Scope, Token, User
from tocsin.shared.times import format_rfc3339, parse_rfc3339

_CLOSED = ConfigDict(extra="forbid")


class NewTokenDocument(BaseModel):
    """A token to be."""

    model_config = _CLOSED
    name: str = Field(min_length=1, max_length=200)
    scope: Scope
    expires_at: str | None = Field(default=None, json_schema_extra={"format": "date-time"})


class ShownToken(BaseModel):
    """A token, without itself."""

    id: str
    name: str
    scope: Scope
    hint: str
    created_by: str
    expires_at: str | None = None
    revision: int
    updated_at: str


class CreatedToken(ShownToken):
    """The only answer that holds the token itself."""

    token: str


class NewUserDocument(BaseModel):
    """A user to be."""

    model_config = _CLOSED
    name: str = Field(min_length=1, max_length=200)
    role: Role
    password: str = Field(min_length=10, max_length=1024)


class ChangedUserDocument(BaseModel):
    """What changes of a user."""

    model_config = _CLOSED
    role: Role | None = None
    password: str | None = Field(default=None, min_length=10, max_length=1024)
    disabled: bool | None = None


class ShownUser(BaseModel):
    """A user, without the password."""

    id: str
    name: str
    role: Role
    disabled: bool
    issuer: str | None = None  # of the identity provider that the account is from
    revision: int
    updated_at: str


class Me(BaseModel):
    """Who is asking."""

    kind: Literal["user", "token"]
    name: str
    scope: Scope


def shown(record: Record) -> dict[str, Any]:
    head: dict[str, Any] = {"id": record.id, "name": record.name}
    tail = {"revision": record.revision, "updated_at": format_rfc3339(record.updated_at)}
    match record:
        case Token():
            expires = None if record.expires_at is None else format_rfc3339(record.expires_at)
            rest = {"scope": record.scope, "hint": record.hint, "created_by": record.created_by}
            return {**head, **rest, "expires_at": expires, **tail}
        case User():
            return {**head, "role": record.role, "disabled": record.disabled, "issuer": record.issuer, **tail}
        case _:
            raise TypeError(record.kind)


def account_routes(idempotency: Idempotency) -> list[Route]:
    tokens, users = _Tokens(idempotency), _Users(idempotency)
    token, user = "/api/v1/tokens", "/api/v1/users"
    return [
        Route("GET", "/api/v1/me", me, "viewer", Api("Who is asking", "me", answer=Me)),
        Route(
            "GET",
            token,
            tokens.list,
            "admin",
            Api("List tokens", "tokens", answer=page_model("Token", ShownToken), query=(LIMIT, CURSOR)),
        ),
        Route(
            "POST",
            token,
            tokens.create,
            "admin",
            Api("Create a token", "tokens", body=NewTokenDocument, answer=CreatedToken, status=201, refuses=(409,)),
        ),
        Route("DELETE", f"{token}/{{id}}", tokens.delete, "admin", Api("Revoke a token", "tokens", status=204)),
        Route(
            "GET",
            user,
            users.list,
            "admin",
            Api("List users", "users", answer=page_model("User", ShownUser), query=(LIMIT, CURSOR)),
        ),
        Route(
            "POST",
            user,
            users.create,
            "admin",
            Api(
                "Create a user", "users", body=NewUserDocument, answer=ShownUser, status=201, etag=True, refuses=(409,)
            ),
        ),
        Route(
            "PATCH",
            f"{user}/{{id}}",
            users.change,
            "admin",
            Api(
                "Change a user",
                "users",
                body=ChangedUserDocument,
                answer=ShownUser,
                etag=True,
                if_match=True,
                refuses=(409,),
            ),
        ),
        Route(
            "DELETE",
            f"{user}/{{id}}",
            users.delete,
            "admin",
            Api("Delete a user", "users", status=204, if_match=True, refuses=(409,)),
        ),
    ]


async def me(request: web.Request) -> web.StreamResponse:
    who = caller(request)
    return answer({"kind": who.kind, "name": who.name, "scope": who.scope})


class _Listed:
    """What tokens and users have in common."""

    kind: str

    def __init__(self, idempotency: Idempotency) -> None:
        self._idempotency = idempotency

    async def list(self, request: web.Request) -> web.StreamResponse:
        records = console(request).directory.state.of_kind(self.kind)
        after = cursor_of(request, str)
        page, last = paged(records, lambda one: fold(one.name), after[0] if after else None, limit_of(request))
        return answer(
            {"items": [shown(one) for one in page], "next": encode_cursor([last]) if last is not None else None}
        )


class _Tokens(_Listed):
    kind = Token.kind

    async def create(self, request: web.Request) -> web.StreamResponse:
        # An idempotent answer would have to keep the token: a repeat finds the name taken instead.
        services, who = console(request), caller(request)
        document = await json_body(request)
        only_fields(document, "name", "scope", "expires_at")
        name, scope = text_field(document, "name", longest=200), text_field(document, "scope", longest=64)
        made = _as_problem(
            lambda: new_api_token(services.editor.new_id(), name or "", scope or "", who.actor, _expiry(document))
        )
        record = await services.editor.put(made.record, who.actor, 0)
        return answer({**shown(record), "token": made.token}, status=201, Location=f"/api/v1/tokens/{record.id}")

    async def delete(self, request: web.Request) -> web.StreamResponse:
        services, who = console(request), caller(request)
        record = find(services, self.kind, request.match_info["id"])
        await services.editor.write(lambda state: [Delete(record.id)], who.actor)
        return web.Response(status=204)


class _Users(_Listed):
    kind = User.kind

    async def create(self, request: web.Request) -> web.StreamResponse:
        services, who = console(request), caller(request)
        document = await json_body(request)
        only_fields(document, "name", "role", "password")
        name, role = text_field(document, "name", longest=200), text_field(document, "role", longest=64)
        password = text_field(document, "password", longest=1024)
        now = services.clock.now_ms()
        user = _as_problem(lambda: new_user(services.editor.new_id(), name or "", role or "", password or "", now))
        await services.editor.write(lambda state: create_user(state, user), who.actor)
        made = find(services, self.kind, user.id)
        return answer(shown(made), 201, made.revision, Location=f"/api/v1/users/{made.id}")

    async def change(self, request: web.Request) -> web.StreamResponse:
        services, who = console(request), caller(request)
        document = await json_body(request)
        only_fields(document, "role", "password", "disabled")
        user = find(services, self.kind, request.match_info["id"])
        assert isinstance(user, User)
        expected = expected_revision(request)
        changed = user.model_copy(update=_changes(document))
        if document.get("password") is not None:
            password, now = text_field(document, "password", longest=1024), services.clock.now_ms()
            changed = _as_problem(lambda: with_password(changed, password or "", now))
        await services.editor.write(lambda state: replace_user(state, changed, expected), who.actor)
        made = find(services, self.kind, user.id)
        return answer(shown(made), revision=made.revision)

    async def delete(self, request: web.Request) -> web.StreamResponse:
        services, who = console(request), caller(request)
        user = find(services, self.kind, request.match_info["id"])
        expected = expected_revision(request)
        await services.editor.write(lambda state: delete_user(state, user.id, expected), who.actor)
        return web.Response(status=204)


def _changes(document: dict[str, Any]) -> dict[str, Any]:
    changes: dict[str, Any] = {}
    if document.get("role") is not None:
        role = text_field(document, "role", longest=64)
        if role not in ("viewer", "operator", "editor", "admin"):
            raise bad_field("role", "must be viewer, operator, editor or admin")
        changes["role"] = role
    if document.get("disabled") is not None:
        if not isinstance(document["disabled"], bool):
            raise bad_field("disabled", "must be true or false")
        changes["disabled"] = document["disabled"]
    return changes


def _expiry(document: dict[str, Any]) -> int | None:
    text = text_field(document, "expires_at", required=False, longest=64)
    if text is None:
        return None
    try:
        return parse_rfc3339(text)
    except ValueError as error:
        raise bad_field("expires_at", str(error)) from None


def _as_problem(make: Any) -> Any:
    """What it makes; an AccountError becomes a problem that points to the field."""
    try:
        return make()
    except AccountError as error:
        raise bad_field(error.field, str(error)) from None
