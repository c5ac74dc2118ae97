"""Signing in through an identity provider: OpenID Connect's authorization code flow, with PKCE, state and nonce.

1. The browser is sent to the provider. A sealed cookie remembers, for ten minutes, what was sent along: the state, the
   nonce, the verifier of the challenge, and where to go afterwards.
2. It comes back with a code and the state, which must be the cookie's and works once.
3. The code is exchanged, from here, with the verifier and the client's secret, for an ID token.
4. The token's signature is checked with the provider's keys (never with a secret, never none), then what it says
   (id_tokens.py).

What the provider is, is read from its discovery document, which must name the very issuer that is set.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode, urlsplit

import aiohttp

from tocsin.console.access.id_tokens import (
    Expected,
    Identity,
    SignInRefusedError,
    check_claims,
    groups_in,
    name_in,
    parse_roles,
)
from tocsin.console.settings import ConsoleSettings
from tocsin.shared.clock import Clock
from tocsin.shared.configuration.records import Role
from tocsin.shared.errors import SettingsError, TocsinError
from tocsin.shared.telemetry.logs import logger

if TYPE_CHECKING:
    from joserfc.jwk import KeySet

log = logger(__name__)

CALLBACK = "/sign-in/oidc/callback"
ALGORITHMS = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512"]
"""By a key that only the provider has. Not HS256: its key would be what is public here."""

ANSWER_WITHIN_MS = 10 * 60_000
TIMEOUT = aiohttp.ClientTimeout(total=10, connect=5)
LONGEST_ANSWER = 1 << 20
DISCOVERED_FOR_MS = 3_600_000
KEYS_FOR_MS = 600_000
KEYS_AGAIN_MS = 10_000
"""A token with a key that is not known may be signed with a new one; strangers must not make us ask at will."""

_LOOPBACK = ("127.0.0.1", "::1", "localhost")


class ProviderError(TocsinError):
    """The identity provider does not answer as it should. Its own words are in the log."""


@dataclass(frozen=True, slots=True)
class OidcPolicy:
    """The provider, and what it is to us."""

    issuer: str
    client_id: str
    client_secret: str | None = field(repr=False)
    redirect_uri: str
    scopes: str
    name_claim: str
    roles_claim: str
    roles: Mapping[str, Role]
    label: str

    @classmethod
    def of(cls, settings: ConsoleSettings) -> OidcPolicy | None:
        """None when no issuer is set. Raises SettingsError."""
        if not settings.oidc_issuer:
            return None
        _check_url(settings.oidc_issuer, "TOCSIN_OIDC_ISSUER")
        if not settings.oidc_client_id:
            raise SettingsError("TOCSIN_OIDC_CLIENT_ID: who are we to the provider?")
        try:
            roles = parse_roles(settings.oidc_roles)
        except ValueError as error:
            raise SettingsError(f"TOCSIN_OIDC_ROLES: {error}") from None
        if not roles:
            raise SettingsError("TOCSIN_OIDC_ROLES: say who may what, such as admin=tocsin-admins,viewer=*")
        return cls(
            issuer=settings.oidc_issuer,
            client_id=settings.oidc_client_id,
            client_secret=_secret(settings),
            redirect_uri=settings.console_url.rstrip("/") + CALLBACK,
            scopes=settings.oidc_scopes,
            name_claim=settings.oidc_name_claim,
            roles_claim=settings.oidc_roles_claim,
            roles=roles,
            label=settings.oidc_label,
        )


def _secret(settings: ConsoleSettings) -> str | None:
    if settings.oidc_client_secret_file is None:
        return settings.oidc_client_secret.get_secret_value() if settings.oidc_client_secret else None
    try:
        return settings.oidc_client_secret_file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"TOCSIN_OIDC_CLIENT_SECRET_FILE: {error}") from None


def _check_url(url: str, what: str) -> None:
    parts = urlsplit(url)
    if parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in _LOOPBACK):
        raise SettingsError(f"{what}: {url[:200]!r} is not https")


@dataclass(frozen=True, slots=True)
class Attempt:
    """One sign-in under way, as the cookie holds it."""

    state: str
    nonce: str
    verifier: str
    path: str
    until: int

    @classmethod
    def begin(cls, path: str, now_ms: int) -> Attempt:
        state, nonce, verifier = (secrets.token_urlsafe(32) for _ in range(3))
        return cls(state, nonce, verifier, path, now_ms + ANSWER_WITHIN_MS)

    @property
    def challenge(self) -> str:
        digest = hashlib.sha256(self.verifier.encode()).digest()
        return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


@dataclass
class Oidc:
    """Of one event loop."""

    policy: OidcPolicy
    clock: Clock
    _metadata: tuple[int, dict[str, Any]] | None = None
    _keys: tuple[int, KeySet] | None = None
    _used: dict[str, int] = field(default_factory=dict)  # states → when they would have ended

    async def authorization_url(self, attempt: Attempt) -> str:
        """Where the browser goes. Raises ProviderError."""
        query = {
            "response_type": "code",
            "client_id": self.policy.client_id,
            "redirect_uri": self.policy.redirect_uri,
            "scope": self.policy.scopes,
            "state": attempt.state,
            "nonce": attempt.nonce,
            "code_challenge": attempt.challenge,
            "code_challenge_method": "S256",
        }
        endpoint = (await self._discovered())["authorization_endpoint"]
        return f"{endpoint}{'&' if urlsplit(endpoint).query else '?'}{urlencode(query)}"

    def take(self, attempt: Attempt | None, state: str) -> Attempt:
        """The attempt that this state belongs to; it cannot be taken again. Raises SignInRefusedError."""
        now = self.clock.now_ms()
        if attempt is None or not hmac.compare_digest(attempt.state.encode(), state.encode()):
            raise SignInRefusedError("this sign-in was not begun here: try again")
        if attempt.until <= now or attempt.state in self._used:
            raise SignInRefusedError("this sign-in is over: try again")
        self._used = {one: until for one, until in self._used.items() if until > now}
        self._used[attempt.state] = attempt.until
        return attempt

    async def identity(self, attempt: Attempt, code: str) -> Identity:
        """Who it is. Raises ProviderError, SignInRefusedError."""
        claims = await self._verified(await self._exchanged(attempt, code))
        now = self.clock.now_ms() // 1000
        expected = Expected(self.policy.issuer, self.policy.client_id, attempt.nonce, now)
        subject = check_claims(claims, expected)
        name = name_in(claims, self.policy.name_claim, subject)
        return Identity(subject, name, groups_in(claims, self.policy.roles_claim))

    async def _discovered(self) -> dict[str, Any]:
        now = self.clock.now_ms()
        if self._metadata is None or self._metadata[0] <= now - DISCOVERED_FOR_MS:
            url = f"{self.policy.issuer.rstrip('/')}/.well-known/openid-configuration"
            found = await _asked("GET", url)
            if found.get("issuer") != self.policy.issuer:
                raise ProviderError("its discovery document names another issuer than TOCSIN_OIDC_ISSUER")
            for name in ("authorization_endpoint", "token_endpoint", "jwks_uri"):
                try:
                    _check_url(str(found.get(name)), name)
                except SettingsError as error:
                    raise ProviderError(f"its discovery document: {error}") from None
            self._metadata = now, found
        return self._metadata[1]

    async def _exchanged(self, attempt: Attempt, code: str) -> str:
        """The ID token."""
        metadata, policy = await self._discovered(), self.policy
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": policy.redirect_uri,
            "code_verifier": attempt.verifier,
            "client_id": policy.client_id,
        }
        headers = {}
        if policy.client_secret is not None:
            ways = metadata.get("token_endpoint_auth_methods_supported") or ["client_secret_basic"]
            if "client_secret_basic" in ways or "client_secret_post" not in ways:
                # Source: RFC 6749 section 2.3.1: both are form-encoded first.
                pair = f"{quote(policy.client_id, safe='')}:{quote(policy.client_secret, safe='')}"
                headers["Authorization"] = f"Basic {base64.b64encode(pair.encode()).decode()}"
            else:
                form["client_secret"] = policy.client_secret
        found = (await _asked("POST", metadata["token_endpoint"], form, headers)).get("id_token")
        if not isinstance(found, str):
            raise ProviderError("it gave no ID token: is `openid` in TOCSIN_OIDC_SCOPES?")
        return found

    async def _verified(self, token: str) -> dict[str, Any]:
        """What it says, once its signature is known to be the provider's."""
        from joserfc import jwt  # noqa: PLC0415  most consoles have no provider
        from joserfc.errors import InvalidKeyIdError, JoseError  # noqa: PLC0415

        try:
            try:
                return dict(jwt.decode(token, await self._key_set(KEYS_FOR_MS), algorithms=ALGORITHMS).claims)
            except InvalidKeyIdError:
                return dict(jwt.decode(token, await self._key_set(KEYS_AGAIN_MS), algorithms=ALGORITHMS).claims)
        except (JoseError, ValueError, TypeError) as error:
            log.warning("an ID token is refused", why=type(error).__name__)
            raise SignInRefusedError("the token's signature is not the provider's") from None

    async def _key_set(self, lasts_ms: int) -> KeySet:
        from joserfc.errors import JoseError  # noqa: PLC0415
        from joserfc.jwk import KeySet  # noqa: PLC0415

        now = self.clock.now_ms()
        if self._keys is None or self._keys[0] <= now - lasts_ms:
            found: Any = await _asked("GET", (await self._discovered())["jwks_uri"])
            try:
                self._keys = now, KeySet.import_key_set(found)
            except (JoseError, ValueError, TypeError, KeyError) as error:
                log.warning("the identity provider's keys cannot be read", why=type(error).__name__)
                raise ProviderError("its keys cannot be read") from None
        return self._keys[1]


async def _asked(
    method: str, url: str, form: Mapping[str, str] | None = None, headers: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """One JSON object. Raises ProviderError, which says nothing of what was sent."""
    given = {"Accept": "application/json", **(headers or {})}
    try:
        async with (
            aiohttp.ClientSession(timeout=TIMEOUT, cookie_jar=aiohttp.DummyCookieJar()) as session,
            session.request(method, url, data=form, headers=given, allow_redirects=False) as answer,
        ):
            body = await answer.content.read(LONGEST_ANSWER)
            status = answer.status
    except (aiohttp.ClientError, TimeoutError, ValueError) as error:
        log.warning("the identity provider cannot be asked", url=url, why=type(error).__name__)
        raise ProviderError("it cannot be reached") from None
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        found = None
    if status != 200 or not isinstance(found, dict):
        why = found.get("error") if isinstance(found, dict) else None
        log.warning("the identity provider refuses", url=url, status=status, why=str(why)[:100])
        raise ProviderError(f"it answered {status}")
    return found
