"""The webhook client on plain asyncio: a few times less work a request than a general one.

It knows what webhooks need and nothing else: POST and PUT with a whole body, HTTP/1.1, TLS with verification,
keep-alive in a bounded pool for each target. Nothing is unpacked or followed, no cookies, no proxies, no pipelining.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping

import aiohappyeyeballs
import yarl

from tocsin.dispatcher.channels.http import CONNECT_TIMEOUT, Answer, Endpoint, Target
from tocsin.dispatcher.channels.http_connection import Connection
from tocsin.dispatcher.channels.sockets import DENIED, BoundedResolver, Tls, guarded_socket
from tocsin.dispatcher.core.egress import EgressPolicy
from tocsin.dispatcher.core.outcomes import Unavailable, Unknown

MAX_IDLE = 32  # a target: as many as may be in flight to a recipient by default
SWEEP = 1.0
HAPPY_EYEBALLS_DELAY = 0.25  # RFC 8305


class LeanClient:
    """Connections of all endpoints are swept by one timer while there are any that idle."""

    def __init__(self, policy: EgressPolicy, tls: Tls, resolver: BoundedResolver | None = None) -> None:
        self._tls = tls
        self._given = resolver
        self._resolver: BoundedResolver | None = None
        self._make_socket = guarded_socket(policy)
        self._endpoints: set[LeanEndpoint] = set()
        self._sweeper: asyncio.TimerHandle | None = None

    def open(self, target: Target) -> Endpoint:
        return LeanEndpoint(self, target)

    async def close(self) -> None:
        for endpoint in list(self._endpoints):
            endpoint.close()
        self._endpoints.clear()
        if self._sweeper is not None:
            self._sweeper.cancel()
            self._sweeper = None
        if self._resolver is not None:
            await self._resolver.close()
            self._resolver = None
        await asyncio.sleep(0)  # aborted transports close in the next round

    async def connect(self, url: yarl.URL, connection: Connection) -> None:
        """Raises OSError and ssl.SSLError; TimeoutError is the caller's."""
        if self._resolver is None:
            self._resolver = self._given or BoundedResolver()
        host, port = url.raw_host or "", url.port or 0
        try:
            found = await self._resolver.resolve(host, port, family=0)  # type: ignore[arg-type]
        except (OSError, UnicodeError) as error:
            raise NameError_(str(error)) from None
        # The address literal is taken as it is, scope and all: nothing is looked up again.
        infos = [(one["family"], 1, one["proto"], "", (one["host"], port)) for one in found]
        loop = asyncio.get_running_loop()
        sock = await aiohappyeyeballs.start_connection(
            infos, happy_eyeballs_delay=HAPPY_EYEBALLS_DELAY, interleave=1, loop=loop, socket_factory=self._make_socket
        )
        try:
            secure = url.scheme == "https"
            await loop.create_connection(
                lambda: connection,
                sock=sock,
                ssl=self._tls.context() if secure else None,
                server_hostname=host.rstrip(".") if secure else None,  # certificates have no last dot
            )
        except BaseException:
            sock.close()
            raise

    def has_idle(self, endpoint: LeanEndpoint) -> None:
        self._endpoints.add(endpoint)
        if self._sweeper is None:
            self._sweeper = asyncio.get_running_loop().call_later(SWEEP, self._sweep)

    def _sweep(self) -> None:
        loop = asyncio.get_running_loop()
        now = loop.time()
        self._endpoints = {endpoint for endpoint in self._endpoints if endpoint.sweep(now)}
        self._sweeper = loop.call_later(SWEEP, self._sweep) if self._endpoints else None


class NameError_(OSError):  # noqa: N801, N818  a reason among several, not an error of ours
    """The name has no address."""


class LeanEndpoint:
    """The connections to one target."""

    def __init__(self, client: LeanClient, target: Target) -> None:
        self._client = client
        self._target = target
        self._idle: list[Connection] = []  # the newest last
        self._head = _head(target)
        self._closed = False

    async def send(self, headers: Mapping[str, str], body: bytes) -> Answer | Unavailable | Unknown:
        lines = "".join([f"{name}: {value}\r\n" for name, value in headers.items()])
        if not _one_line_each(lines, len(headers)):
            return Unavailable("misconfigured", detail="a header's value holds CR, LF or NUL")
        data = b"%s%sContent-Length: %d\r\n\r\n%s" % (self._head, lines.encode(), len(body), body)
        timeout = self._target.timeout
        connection = self._take_idle()
        if connection is None:
            loop = asyncio.get_running_loop()
            started = loop.time()
            made = await self._connect()
            if not isinstance(made, Connection):
                return made
            connection, timeout = made, max(0.0, timeout - (loop.time() - started))
        try:
            result = await connection.exchange(data, timeout)
        except BaseException:
            connection.abort()  # cut off: what comes would be the answer to another request
            raise
        if connection.reusable:
            self._put_idle(connection)
        return result

    def close(self) -> None:
        self._closed = True
        while self._idle:
            self._idle.pop().abort()

    def sweep(self, now: float) -> bool:
        """End what has been idle for too long; whether any is left."""
        for connection in [one for one in self._idle if one.idle_until <= now]:
            self._idle.remove(connection)
            connection.abort()
        return bool(self._idle)

    def _take_idle(self) -> Connection | None:
        now = asyncio.get_running_loop().time() if self._idle else 0.0
        while self._idle:
            connection = self._idle.pop()
            if connection.reusable and connection.idle_until > now:
                return connection
            connection.abort()
        return None

    def _put_idle(self, connection: Connection) -> None:
        if self._closed or len(self._idle) >= MAX_IDLE:
            connection.abort()
            return
        self._idle.append(connection)
        if len(self._idle) == 1:
            self._client.has_idle(self)

    def _gone(self, connection: Connection) -> None:
        if connection in self._idle:
            self._idle.remove(connection)

    async def _connect(self) -> Connection | Unavailable:
        connection = Connection(asyncio.get_running_loop(), self._gone)
        limit = min(CONNECT_TIMEOUT, self._target.timeout)
        try:
            async with asyncio.timeout(limit):
                await self._client.connect(self._target.url, connection)
        except (OSError, ssl.SSLError, ValueError) as error:
            return _classify(error)
        return connection


def _one_line_each(lines: str, count: int) -> bool:
    """Checked when they were saved; here once more, because a line too many would be a second request."""
    return lines.count("\n") == count and lines.count("\r") == count and "\0" not in lines


def _head(target: Target) -> bytes:
    """The request line and the headers that never change."""
    url = target.url
    lines = [f"{target.method} {url.raw_path_qs} HTTP/1.1", f"Host: {url.host_port_subcomponent}"]
    lines += [f"{name}: {value}" for name, value in target.headers.items()]
    text = "".join(f"{line}\r\n" for line in lines)
    if not _one_line_each(text, len(lines)):
        raise ValueError("a header or the URL holds CR, LF or NUL")
    return text.encode()


def _classify(error: Exception) -> Unavailable:
    match error:
        case TimeoutError():
            return Unavailable("connect_timeout")
        case NameError_():
            return Unavailable("dns")
        case ssl.SSLCertVerificationError():
            return Unavailable("tls_certificate", detail=error.verify_message or str(error))
        case ssl.SSLError():
            return Unavailable("tls")
        case OSError() if DENIED in str(error):
            return Unavailable("egress_denied", detail=error.strerror or str(error))
        case OSError():
            return Unavailable("connect", detail=error.strerror or str(error))
        case _:
            return Unavailable("misconfigured", detail=type(error).__name__)
