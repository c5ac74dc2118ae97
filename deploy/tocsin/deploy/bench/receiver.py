"""The cheapest receiver there can be, as a process of its own: answers 200, counts, and says when.

The path's first part says how: `/slow` answers after 50 ms, `/hang` never, `/timed` keeps when each webhook-id came.
`GET /` answers `{"count": …, "first": …, "last": …}`, times in epoch seconds; `GET /arrivals` what `/timed` has kept;
`DELETE /` begins anew.
"""

from __future__ import annotations

import asyncio
import json
import re
from typing import cast

import uvloop

from tocsin.shared.clock import SystemClock

SLOW_SECONDS = 0.05

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_ID = re.compile(rb"\r\nwebhook-id: *([^\r]+)", re.IGNORECASE)
_OK = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"


class _Counts:
    count = 0
    first = 0.0
    last = 0.0
    arrivals: dict[str, float] = {}  # noqa: RUF012  the process's own


class _Connection(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's own is no subclass
        self._data = b""

    def data_received(self, data: bytes) -> None:
        self._data += data
        while (end := self._data.find(b"\r\n\r\n")) >= 0:
            head = self._data[:end]
            length = _LENGTH.search(head)
            total = end + 4 + (int(length.group(1)) if length else 0)
            if len(self._data) < total:
                return
            self._data = self._data[total:]
            self._answer(head)

    def _answer(self, head: bytes) -> None:
        method, _, rest = head.partition(b" ")
        if method == b"GET":
            found = _Counts.arrivals if rest.startswith(b"/arrivals") else _summary()
            body = json.dumps(found).encode()
            self._transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
        elif method == b"DELETE":
            _Counts.count, _Counts.arrivals = 0, {}
            self._transport.write(_OK)
        elif not rest.startswith(b"/hang"):
            self._count(head, timed=rest.startswith(b"/timed"))
            if rest.startswith(b"/slow"):
                asyncio.get_running_loop().call_later(SLOW_SECONDS, self._transport.write, _OK)
            else:
                self._transport.write(_OK)

    def _count(self, head: bytes, *, timed: bool) -> None:
        _Counts.last = SystemClock().now_ms() / 1000
        if not _Counts.count:
            _Counts.first = _Counts.last
        _Counts.count += 1
        if timed and (found := _ID.search(head)):
            _Counts.arrivals.setdefault(found.group(1).decode(), _Counts.last)


def _summary() -> dict[str, float]:
    return {"count": _Counts.count, "first": _Counts.first, "last": _Counts.last}


async def _serve() -> None:
    server = await asyncio.get_running_loop().create_server(_Connection, "127.0.0.1", 0, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(_serve())
