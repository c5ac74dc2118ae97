"""Users and tokens: made, changed, removed. The last admin stays."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from tocsin.console.access.id_tokens import Identity, SignInRefusedError
from tocsin.console.access.keys import hint_of, new_token, token_hash
from tocsin.console.access.passwords import check_password, hash_password
from tocsin.console.access.roles import ROLES, SCOPES
from tocsin.console.state import ConflictError, Delete, Operation, Put, State
from tocsin.shared.configuration.names import MAX_NAME_LENGTH, check_name
from tocsin.shared.configuration.records import Role, Scope, Token, User
from tocsin.shared.errors import UsageError
from tocsin.shared.ids import NAMESPACE


class AccountError(UsageError):
    """An account cannot be made like this. `field` says where."""

    def __init__(self, field: str, problem: str) -> None:
        super().__init__(problem)
        self.field = field


@dataclass(frozen=True, slots=True)
class NewToken:
    """The record, and the token itself, which is shown once."""

    record: Token
    token: str


def new_user(record_id: str, name: str, role: str, password: str, now_ms: int) -> User:
    """Raises AccountError."""
    name = _name(name)
    if role not in ROLES:
        raise AccountError("role", f"{role[:64]!r} is not one of {', '.join(ROLES)}")
    for problem in check_password(password, name):
        raise AccountError("password", problem)
    return User(id=record_id, name=name, role=role, password_hash=hash_password(password), password_changed_at=now_ms)


def with_password(user: User, password: str, now_ms: int) -> User:
    """Every session of the user ends. Raises AccountError."""
    if user.issuer is not None:
        raise AccountError("password", f"{user.name!r} signs in through {user.issuer}")
    for problem in check_password(password, user.name):
        raise AccountError("password", problem)
    return user.model_copy(update={"password_hash": hash_password(password), "password_changed_at": now_ms})


def provided_user(state: State, issuer: str, who: Identity, role: Role) -> tuple[User, list[Operation]]:
    """The account of somebody whom an identity provider knows, and what has to be written so that it is as it says.

    Their name is that of the first time; where somebody else has it here, it is not theirs, and says where it is from.
    Raises SignInRefusedError when the account is disabled.
    """
    record_id = str(uuid.uuid5(NAMESPACE, f"oidc\x1f{issuer}\x1f{who.subject}"))
    known = state.by_id(record_id)
    if isinstance(known, User):
        if known.disabled:
            raise SignInRefusedError("this account is disabled")
        user = known.model_copy(update={"role": role})
        return user, [] if known.role == role else [Put(user)]
    host = urlsplit(issuer).netloc
    names = (who.name, f"{who.name} ({host})", f"{who.name[:100]} ({record_id})")
    name = next(one for one in names if len(one) <= MAX_NAME_LENGTH and state.find(User.kind, one) is None)
    made = User(id=record_id, name=name, role=role, password_hash="", issuer=issuer)
    return made, [Put(made, 0)]


def new_api_token(record_id: str, name: str, scope: str, created_by: str, expires_at: int | None) -> NewToken:
    """Raises AccountError."""
    name = _name(name)
    if scope not in SCOPES:
        raise AccountError("scope", f"{scope[:64]!r} is not one of {', '.join(SCOPES)}")
    token = new_token()
    record = Token(
        id=record_id,
        name=name,
        scope=scope,
        token_hash=token_hash(token),
        hint=hint_of(token),
        created_by=created_by,
        expires_at=expires_at,
    )
    return NewToken(record, token)


def _name(name: str) -> str:
    try:
        return check_name(name)
    except ValueError as error:
        raise AccountError("name", str(error)) from None


def create_user(state: State, user: User) -> Sequence[Operation]:
    """Raises ConflictError when the name is taken."""
    return [Put(user, 0)]


def replace_user(state: State, user: User, expected: int | None) -> Sequence[Operation]:
    """Raises ConflictError when nobody would be left to manage users."""
    _check_admins(state, {**_users(state), user.id: user})
    return [Put(user, expected)]


def delete_user(state: State, user_id: str, expected: int | None) -> Sequence[Operation]:
    """Raises ConflictError when nobody would be left to manage users."""
    _check_admins(state, {id_: user for id_, user in _users(state).items() if id_ != user_id})
    return [Delete(user_id, expected)]


def _users(state: State) -> dict[str, User]:
    return {one.id: one for one in state.of_kind(User.kind) if isinstance(one, User)}


def _check_admins(state: State, after: dict[str, User]) -> None:
    if not any(user.role == "admin" and not user.disabled for user in after.values()):
        raise ConflictError("this is the last admin who can sign in: make another one first")


__all__ = ["AccountError", "NewToken", "Role", "Scope"]
