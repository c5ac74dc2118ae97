"""What an identity provider says of somebody: what of it is believed, and which role it comes to. Pure.

Source: OpenID Connect Core 1.0, sections 3.1.3.7 (checks of an ID token) and 5.1 (claims).
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tocsin.console.access.roles import ROLES
from tocsin.shared.configuration.names import check_name
from tocsin.shared.configuration.records import Role
from tocsin.shared.errors import UsageError

LEEWAY_SECONDS = 60
"""Between two clocks, as everywhere in a deployment."""

LONGEST_SUBJECT = 255


class SignInRefusedError(UsageError):
    """Nobody is signed in by this."""


@dataclass(frozen=True, slots=True)
class Expected:
    """What the token has to have been made for."""

    issuer: str
    client_id: str
    nonce: str
    now: int  # seconds


@dataclass(frozen=True, slots=True)
class Identity:
    """Somebody, as the provider knows them."""

    subject: str
    name: str
    groups: tuple[str, ...]


def check_claims(claims: Mapping[str, Any], expected: Expected) -> str:
    """The subject. Raises SignInRefusedError naming what is wrong; the signature has been checked before."""
    if claims.get("iss") != expected.issuer:
        raise SignInRefusedError("the token is from another issuer")
    audience = claims.get("aud")
    audience = [audience] if isinstance(audience, str) else audience
    if not isinstance(audience, list) or expected.client_id not in audience:
        raise SignInRefusedError("the token is for another application")
    party = claims.get("azp")
    if (party is not None or len(audience) > 1) and party != expected.client_id:
        raise SignInRefusedError("the token was given to another application")
    if _seconds(claims, "exp") <= expected.now - LEEWAY_SECONDS:
        raise SignInRefusedError("the token has expired")
    begins = max(_seconds(claims, "iat"), _seconds(claims, "nbf") if "nbf" in claims else 0)
    if begins > expected.now + LEEWAY_SECONDS:
        raise SignInRefusedError("the token is not valid yet: look at the clocks")
    nonce = claims.get("nonce")
    if not isinstance(nonce, str) or not hmac.compare_digest(nonce.encode(), expected.nonce.encode()):
        raise SignInRefusedError("the token answers another sign-in")
    subject = claims.get("sub")
    if not isinstance(subject, str) or not 0 < len(subject) <= LONGEST_SUBJECT:
        raise SignInRefusedError("the token does not say whom it is about")
    return subject


def _seconds(claims: Mapping[str, Any], name: str) -> float:
    value = claims.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise SignInRefusedError(f"the token has no {name}")
    return value


def name_in(claims: Mapping[str, Any], claim: str, subject: str) -> str:
    """How they are called here: by the claim, by their email address, or by their subject."""
    for given in (claims.get(claim), claims.get("email"), subject):
        if isinstance(given, str):
            try:
                return check_name(given)
            except ValueError:
                continue
    return f"user {subject.encode().hex()[:16]}"


def groups_in(claims: Mapping[str, Any], claim: str) -> tuple[str, ...]:
    """Of a claim of this name, or, part by part, of one in another (`realm_access.roles`)."""
    found: Any = claims.get(claim)
    if found is None:
        found = claims
        for part in claim.split("."):
            found = found.get(part) if isinstance(found, Mapping) else None
    if isinstance(found, str):
        return (found,)
    return tuple(one for one in found if isinstance(one, str)) if isinstance(found, list) else ()


def parse_roles(text: str) -> dict[str, Role]:
    """`admin=tocsin-admins, viewer=*`: by group; `*` is everybody. Raises ValueError."""
    found: dict[str, Role] = {}
    for part in filter(None, (one.strip() for one in text.split(","))):
        role, equals, group = (one.strip() for one in part.partition("="))
        named = next((one for one in ROLES if one == role), None)
        if not equals or not group or named is None:
            raise ValueError(f"{part!r} is not ROLE=GROUP with one of {', '.join(ROLES)}")
        if group not in found or ROLES.index(named) > ROLES.index(found[group]):
            found[group] = named
    return found


def role_of(groups: Sequence[str], roles: Mapping[str, Role]) -> Role | None:
    """The highest that any of the groups gives; None: no way in."""
    given = [roles[group] for group in (*groups, "*") if group in roles]
    return max(given, key=ROLES.index, default=None)
