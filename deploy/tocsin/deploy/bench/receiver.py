"""The cheapest receiver there can be, as a process of its own: answers 200, counts, and says when.

`GET /` answers `{"count": …, "first": …, "last": …}`, times in epoch seconds; `DELETE /` begins anew.
"""

from __future__ import annotations

import asyncio
import json
import re
from typing import cast

import uvloop

from tocsin.shared.clock import SystemClock

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_OK = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"


class _Counts:
    count = 0
    first = 0.0
    last = 0.0


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
            self._transport.write(_answer(head))


def _answer(head: bytes) -> bytes:
    if head.startswith(b"GET"):
        body = json.dumps({"count": _Counts.count, "first": _Counts.first, "last": _Counts.last}).encode()
        return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)
    if head.startswith(b"DELETE"):
        _Counts.count = 0
        return _OK
    _Counts.last = SystemClock().now_ms() / 1000
    if not _Counts.count:
        _Counts.first = _Counts.last
    _Counts.count += 1
    return _OK


async def _serve() -> None:
    server = await asyncio.get_running_loop().create_server(_Connection, "127.0.0.1", 0, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(_serve())
