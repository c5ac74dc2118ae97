"""Sockets to public addresses only, names looked up on threads of their own, and certificates verified.

The check stands where the socket is made: there it sees what was really resolved, literals, mapped addresses and
rebinding included.
"""

from __future__ import annotations

import asyncio
import errno
import socket
import ssl
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from aiohttp.abc import AbstractResolver, ResolveResult

from tocsin.dispatcher.core.egress import EgressPolicy

RESOLVE_TIMEOUT = 5.0
RESOLVER_THREADS = 32
"""A name that hangs holds one, however many wait for it."""

REMEMBERED = 10.0
"""Seconds an answer is used again; every address is checked anew each time."""

MAX_REMEMBERED = 2_000
MAX_ADDRESSES = 16  # of one name, tried one after the other
DENIED = "egress denied"
"""In the text of the error, because the client joins the errors of several addresses into one text."""

LookUp = Callable[[str, socket.AddressFamily], list[ResolveResult]]


class EgressDeniedError(OSError):
    """No socket may be made to this address."""


def guarded_socket(policy: EgressPolicy) -> Callable[[Any], socket.socket]:
    """For whatever connects: makes the socket of one address, or raises EgressDeniedError."""

    def make(info: Any) -> socket.socket:
        family, kind, protocol, _, address = info
        if refusal := policy.refusal(str(address[0])):
            raise EgressDeniedError(errno.EACCES, f"{DENIED}: {refusal}")
        made = socket.socket(family, kind, protocol)
        made.setblocking(False)
        return made

    return make


class Tls:
    """The context of all connections, made at the first one: loading the system's certificates takes a while."""

    def __init__(self, ca_file: Path | None = None) -> None:
        """`ca_file` holds certificates to trust besides the system's."""
        self._ca_file = ca_file
        self._context: ssl.SSLContext | None = None

    def context(self) -> ssl.SSLContext:
        if self._context is None:
            context = ssl.create_default_context()
            context.set_alpn_protocols(["http/1.1"])
            if self._ca_file is not None:
                context.load_verify_locations(self._ca_file)
            self._context = context
        return self._context


class BoundedResolver(AbstractResolver):
    """getaddrinfo on a pool of its own: slow DNS would starve whatever else uses the loop's.

    Who asks for a name that is being looked up waits for the same answer, so that one slow name never takes a second
    thread; everyone waits for RESOLVE_TIMEOUT at the most.
    """

    def __init__(self, look_up: LookUp | None = None) -> None:
        self._look_up = look_up or _look_up
        self._pool = ThreadPoolExecutor(RESOLVER_THREADS, thread_name_prefix="resolver")
        self._pending: dict[tuple[str, int], asyncio.Future[list[ResolveResult]]] = {}
        self._known: dict[tuple[str, int], tuple[float, list[ResolveResult]]] = {}

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        found = await self._addresses(host, family)
        return [ResolveResult(**{**one, "port": port}) for one in found[:MAX_ADDRESSES]]

    async def _addresses(self, host: str, family: socket.AddressFamily) -> list[ResolveResult]:
        loop = asyncio.get_running_loop()
        key = (host, int(family))
        known = self._known.get(key)
        if known is not None and loop.time() < known[0]:
            return known[1]
        pending = self._pending.get(key)
        if pending is None:
            pending = loop.run_in_executor(self._pool, self._look_up, host, family)
            self._pending[key] = pending
            pending.add_done_callback(lambda done: self._keep(key, done, loop.time()))
        try:
            # Shielded: others may be waiting for it, and the thread goes on anyway.
            return await asyncio.wait_for(asyncio.shield(pending), RESOLVE_TIMEOUT)
        except TimeoutError:
            raise OSError(f"looking up the name took more than {RESOLVE_TIMEOUT:.0f} s") from None

    def _keep(self, key: tuple[str, int], done: asyncio.Future[list[ResolveResult]], now: float) -> None:
        self._pending.pop(key, None)
        if done.cancelled() or done.exception() is not None:
            return
        if len(self._known) >= MAX_REMEMBERED:
            self._known.clear()
        self._known[key] = (now + REMEMBERED, done.result())

    async def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)


def _look_up(host: str, family: socket.AddressFamily) -> list[ResolveResult]:
    found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM, family=family, flags=socket.AI_ADDRCONFIG)
    return [
        ResolveResult(
            hostname=host,
            host=str(address[0]),
            port=0,
            family=kind,
            proto=protocol,
            flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
        )
        for kind, _, protocol, _, address in found
    ]
