"""One HTTP/1.1 connection: a request is written, an answer is read within bounds, then the next."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import cast

import httptools

from tocsin.dispatcher.channels.http import KEEPALIVE, MAX_RESPONSE_BYTES, Answer
from tocsin.dispatcher.core.outcomes import Unavailable, Unknown

MAX_HINTS = 10
Result = Answer | Unavailable | Unknown
_LATE = Unavailable("timeout")


class Connection(asyncio.Protocol):
    """Serves one request at a time. `on_gone` is called once, when the connection has ended."""

    def __init__(self, loop: asyncio.AbstractEventLoop, on_gone: Callable[[Connection], None]) -> None:
        self._loop = loop
        self._on_gone = on_gone
        self._transport: asyncio.Transport | None = None
        self._waiting: asyncio.Future[Result] | None = None
        self._deadline = 0.0
        self._timer: asyncio.TimerHandle | None = None  # lasts over requests: one for each would cost more than signing
        self._parser = httptools.HttpResponseParser(self)
        self.idle_until = 0.0  # loop time; while it is idle
        self.reusable = True
        self._reset()

    def _reset(self) -> None:
        self._head_bytes = 0
        self._headers_bytes = 0
        self._hints = 0
        self._head_done = False
        self._framed = False  # its end is known without the connection's end
        self._retry_after: str | None = None
        self._keep_alive = KEEPALIVE
        self._body = bytearray()

    def exchange(self, data: bytes, timeout: float) -> asyncio.Future[Result]:
        """Write a whole request. The result comes within `timeout` seconds; who stops waiting for it calls `abort`."""
        assert self._transport is not None
        assert self._waiting is None
        self._waiting = waiting = self._loop.create_future()
        self._deadline = self._loop.time() + timeout
        if self._timer is None or self._timer.when() > self._deadline:
            self._set_timer()
        self._transport.write(data)
        return waiting

    def _set_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_at(self._deadline, self._look)

    def _look(self) -> None:
        self._timer = None
        if self._waiting is None:
            return
        if self._loop.time() < self._deadline:
            self._set_timer()  # it was set for an earlier request
        else:
            self._finish(_LATE, False)

    def abort(self) -> None:
        self.reusable = False
        if self._transport is not None:
            self._transport.abort()

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        if self._waiting is None:
            self.abort()  # nobody asked
            return
        if not self._head_done:
            self._head_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self._finish(Unavailable("bad_response"), False)
            return
        if self._waiting is not None and not self._head_done and self._head_bytes > MAX_RESPONSE_BYTES:
            self._finish(Unavailable("bad_response"), False)

    def eof_received(self) -> bool:
        if self._waiting is not None and self._head_done and not self._framed:
            self._finish(self._answer(), False)
        self.reusable = False
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self.reusable = False
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._finish(Unknown("connection_lost"), False)
        self._on_gone(self)

    # httptools

    def on_message_begin(self) -> None:
        if self._waiting is None:
            self.abort()  # an answer nobody asked for; the next request must not get it

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers_bytes += len(name) + len(value) + 4
        if self._headers_bytes > MAX_RESPONSE_BYTES:
            raise ValueError("too many headers")  # the parser stops, and data_received sees its error
        match name.lower():
            case b"content-length" | b"transfer-encoding":
                self._framed = True
            case b"retry-after":
                self._retry_after = value.decode("latin-1")
            case b"keep-alive":
                self._keep_alive = _keep_alive(value)

    def on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        if status >= 200:
            self._head_done = True
            self._framed = self._framed or status in (204, 304)

    def on_body(self, body: bytes) -> None:
        if self._waiting is None:
            return
        left = MAX_RESPONSE_BYTES - len(self._body)
        self._body += body[:left]
        if len(body) > left:
            self._finish(self._answer(), False)

    def on_message_complete(self) -> None:
        status = self._parser.get_status_code()
        if status == 101:
            self._finish(Unavailable("bad_response"), False)
        elif status < 200:
            self._hints += 1  # 100 Continue, 103 Early Hints: the answer is still to come
            self._framed, self._retry_after = False, None
            if self._hints > MAX_HINTS:
                raise ValueError("too many provisional answers")
        else:
            self._finish(self._answer(), self._parser.should_keep_alive() and self._framed)

    def _answer(self) -> Answer:
        return Answer(self._parser.get_status_code(), bytes(self._body), self._retry_after)

    def _finish(self, result: Result, keep: bool) -> None:
        waiting, self._waiting = self._waiting, None
        if waiting is None:
            return
        if keep and self.reusable:
            self.idle_until = self._loop.time() + self._keep_alive
            self._reset()
        else:
            self.abort()
        if not waiting.done():
            waiting.set_result(result)


def _keep_alive(value: bytes) -> float:
    """Of `timeout=5, max=100`: a second less than the server says, and never more than our own."""
    for part in value.split(b","):
        name, _, number = part.strip().partition(b"=")
        if name.lower() == b"timeout" and number.isdigit():
            return min(KEEPALIVE, max(0.0, int(number[:6]) - 1))
    return KEEPALIVE
