"""Sockets to public addresses only, and names looked up on threads of their own.

The check stands where the socket is made: there it sees what was really resolved, literals, mapped addresses and
rebinding included.
"""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from aiohttp.abc import AbstractResolver, ResolveResult

from tocsin.dispatcher.core.egress import EgressPolicy

RESOLVE_TIMEOUT = 5.0
RESOLVER_THREADS = 8
DENIED = "egress denied"
"""In the text of the error, because the client joins the errors of several addresses into one text."""


class EgressDeniedError(OSError):
    """No socket may be made to this address."""


def guarded_socket(policy: EgressPolicy) -> Callable[[Any], socket.socket]:
    """For `TCPConnector(socket_factory=…)`."""

    def make(info: Any) -> socket.socket:
        family, kind, protocol, _, address = info
        if refusal := policy.refusal(str(address[0])):
            raise EgressDeniedError(errno.EACCES, f"{DENIED}: {refusal}")
        return socket.socket(family, kind, protocol)

    return make


class BoundedResolver(AbstractResolver):
    """getaddrinfo on a small pool of its own: slow DNS would starve whatever else uses the loop's."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(RESOLVER_THREADS, thread_name_prefix="resolver")

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        loop = asyncio.get_running_loop()
        look_up = loop.run_in_executor(self._pool, _look_up, host, port, family)
        try:
            return await asyncio.wait_for(look_up, RESOLVE_TIMEOUT)
        except TimeoutError:
            raise OSError(f"looking up the name took more than {RESOLVE_TIMEOUT:.0f} s") from None

    async def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)


def _look_up(host: str, port: int, family: socket.AddressFamily) -> list[ResolveResult]:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, family=family, flags=socket.AI_ADDRCONFIG)
    return [
        ResolveResult(
            hostname=host,
            host=str(address[0]),
            port=int(address[1]),
            family=kind,
            proto=protocol,
            flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
        )
        for kind, _, protocol, _, address in found
    ]
