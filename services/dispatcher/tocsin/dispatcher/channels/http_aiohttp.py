"""The webhook client on aiohttp's."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import aiohttp

from tocsin.dispatcher.channels.http import CONNECT_TIMEOUT, KEEPALIVE, MAX_RESPONSE_BYTES, Answer, Endpoint, Target
from tocsin.dispatcher.channels.sockets import DENIED, BoundedResolver, Tls, guarded_socket
from tocsin.dispatcher.core.egress import EgressPolicy
from tocsin.dispatcher.core.outcomes import Unavailable, Unknown

NEVER = 3600.0


class AiohttpClient:
    """One session for all endpoints: nothing of it is shared but the connector."""

    def __init__(self, policy: EgressPolicy, tls: Tls, resolver: BoundedResolver | None = None) -> None:
        self._policy = policy
        self._resolver = resolver
        self._tls = tls
        self._session: aiohttp.ClientSession | None = None

    def open(self, target: Target) -> Endpoint:
        return _Endpoint(self, target)

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()

    def session(self) -> aiohttp.ClientSession:
        if self._session is None:
            connector = aiohttp.TCPConnector(
                limit=0,  # the lanes bound what is in flight
                resolver=self._resolver or BoundedResolver(),
                use_dns_cache=False,  # the resolver has one
                socket_factory=guarded_socket(self._policy),
                keepalive_timeout=KEEPALIVE,
                ssl=self._tls.context(),
            )
            self._session = aiohttp.ClientSession(
                connector=connector,
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
                trust_env=False,
                read_bufsize=MAX_RESPONSE_BYTES,
            )
        return self._session


class _Endpoint:
    def __init__(self, client: AiohttpClient, target: Target) -> None:
        self._client = client
        self._target = target
        connect = min(CONNECT_TIMEOUT, target.timeout)
        self._timeout = aiohttp.ClientTimeout(total=target.timeout, connect=connect, ceil_threshold=NEVER)

    async def send(self, headers: Mapping[str, str], body: bytes) -> Answer | Unavailable | Unknown:
        try:
            async with self._client.session().request(
                self._target.method,
                self._target.url,
                data=body,
                headers={**self._target.headers, **headers},
                timeout=self._timeout,
                allow_redirects=False,
            ) as response:
                return Answer(response.status, await _read_some(response), response.headers.get("Retry-After"))
        except (aiohttp.ClientError, OSError, ValueError) as error:
            return _classify(error)

    def close(self) -> None:
        """Idle connections end by themselves."""


async def _read_some(response: aiohttp.ClientResponse) -> bytes:
    """A longer body is cut off with its connection."""
    found = bytearray()
    while len(found) < MAX_RESPONSE_BYTES:
        piece = await response.content.read(MAX_RESPONSE_BYTES - len(found))
        if not piece:
            return bytes(found)
        found += piece
    if not response.content.at_eof():
        response.close()
    return bytes(found)


def _classify(error: Exception) -> Unavailable | Unknown:  # noqa: C901  a table, one line a cause
    match error:
        case aiohttp.ConnectionTimeoutError():
            return Unavailable("connect_timeout")
        case asyncio.TimeoutError():
            return Unavailable("timeout")
        case aiohttp.ClientConnectorDNSError():
            return Unavailable("dns")
        case aiohttp.ClientConnectorCertificateError():
            return Unavailable("tls_certificate", detail=str(error.certificate_error))
        case aiohttp.ClientSSLError():
            return Unavailable("tls")
        case aiohttp.ClientConnectorError() if DENIED in str(error):
            return Unavailable("egress_denied", detail=str(error.os_error))
        case aiohttp.ClientConnectorError():
            return Unavailable("connect", detail=str(error.os_error))
        case aiohttp.ClientResponseError():
            return Unavailable("bad_response")
        case aiohttp.ServerConnectionError() | aiohttp.ClientPayloadError() | aiohttp.ClientOSError() | OSError():
            return Unknown("connection_lost")
        case aiohttp.InvalidURL() | ValueError():
            return Unavailable("misconfigured", detail=type(error).__name__)
        case _:
            return Unknown("connection_lost")
