"""A small OpenID provider that is real where it counts: its own RSA key, codes that work once, PKCE, client secret.

A test may make it lie: `claims` go over what it would say, `header` and `key` over how it signs.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import threading
import time
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any
from urllib.parse import parse_qs, urlsplit

from aiohttp import web
from joserfc import jwt
from joserfc.jwk import RSAKey

from tocsin.deploy.stack.ports import free_port

CLIENT, SECRET = "tocsin console", "s3cret/+"


def key_of(name: str) -> RSAKey:
    return RSAKey.generate_key(2048, {"kid": name, "use": "sig", "alg": "RS256"}, private=True)


@dataclass
class IdentityProvider:
    """On a thread of its own."""

    port: int = field(default_factory=free_port)
    key: Any = field(default_factory=lambda: key_of("first"))  # what it signs with
    published: list[Any] = field(default_factory=list)
    user: dict[str, Any] = field(default_factory=dict)
    claims: dict[str, Any] = field(default_factory=dict)
    header: dict[str, Any] = field(default_factory=dict)
    discovery: dict[str, Any] = field(default_factory=dict)
    token: str | None = None  # instead of the one it would give
    codes: dict[str, dict[str, str]] = field(default_factory=dict)
    exchanged: list[dict[str, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.published.append(self.key)
        self.reset()

    def reset(self) -> None:
        """Honest again."""
        self.user = {"sub": "u-1", "preferred_username": "Grace", "groups": ["ops", "everyone"]}
        self.claims, self.header, self.discovery, self.token = {}, {}, {}, None
        self.key = self.published[-1]

    @property
    def issuer(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def authorize(self, location: str) -> dict[str, str]:
        """What the person does there: they sign in, and are sent back. The query of the way back."""
        asked = {name: values[0] for name, values in parse_qs(urlsplit(location).query).items()}
        assert asked["response_type"] == "code"
        assert asked["client_id"] == CLIENT
        assert asked["code_challenge_method"] == "S256"
        code = f"code-{len(self.codes) + len(self.exchanged)}"
        self.codes[code] = asked
        return {"code": code, "state": asked["state"]}

    def _token_of(self, asked: dict[str, str]) -> str:
        now = int(time.time())
        honest = {"iss": self.issuer, "aud": CLIENT, "iat": now, "exp": now + 300, "nonce": asked["nonce"]}
        claims = {**honest, **self.user, **self.claims}
        header = {"alg": "RS256", "kid": self.key.kid, **self.header}
        if header["alg"] == "none":
            return f"{_part(header)}.{_part(claims)}."
        if header["alg"] == "HS256":  # signed with what everybody can read
            signed = f"{_part(header)}.{_part(claims)}"
            digest = hmac.digest(self.key.as_pem(private=False), signed.encode(), "sha256")
            return f"{signed}.{_encoded(digest)}"
        return jwt.encode(header, claims, self.key)

    async def _exchange(self, request: web.Request) -> web.Response:
        form = {name: str(value) for name, value in (await request.post()).items()}
        given = base64.b64decode(request.headers["Authorization"].removeprefix("Basic ")).decode()
        asked = self.codes.pop(form["code"], None)
        digest = hashlib.sha256(form["code_verifier"].encode()).digest()
        challenge = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
        if given != "tocsin%20console:s3cret%2F%2B":
            return web.json_response({"error": "invalid_client"}, status=401)
        if asked is None or asked["code_challenge"] != challenge or asked["redirect_uri"] != form["redirect_uri"]:
            return web.json_response({"error": "invalid_grant"}, status=400)
        self.exchanged.append(form)
        token = self.token or self._token_of(asked)
        return web.json_response({"access_token": "a", "token_type": "Bearer", "id_token": token})

    async def _discover(self, request: web.Request) -> web.Response:
        paths = {"authorization_endpoint": "/authorize", "token_endpoint": "/token", "jwks_uri": "/keys"}
        found = {"issuer": self.issuer, **{name: self.issuer + path for name, path in paths.items()}, **self.discovery}
        return web.json_response(found)

    async def _keys(self, request: web.Request) -> web.Response:
        return web.json_response({"keys": [key.as_dict(private=False) for key in self.published]})

    def __enter__(self) -> IdentityProvider:
        self._loop = asyncio.new_event_loop()
        started = threading.Event()

        def run() -> None:
            self._loop.run_until_complete(self._serve())
            started.set()
            self._loop.run_forever()
            self._loop.run_until_complete(self._runner.cleanup())
            self._loop.close()

        self._thread = threading.Thread(target=run, daemon=True)
        self._thread.start()
        assert started.wait(10)
        return self

    async def _serve(self) -> None:
        app = web.Application()
        app.add_routes(
            [
                web.get("/.well-known/openid-configuration", self._discover),
                web.get("/keys", self._keys),
                web.post("/token", self._exchange),
            ]
        )
        self._runner = web.AppRunner(app)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self.port).start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)


def _part(value: dict[str, Any]) -> str:
    return _encoded(json.dumps(value).encode())


def _encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
