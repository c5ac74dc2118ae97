"""Answers in any pieces: the lean client's connection makes the same of them, and never raises."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterator
from contextlib import contextmanager

from hypothesis import example, given
from hypothesis import strategies as st

from tocsin.dispatcher.channels.http import MAX_RESPONSE_BYTES, Answer
from tocsin.dispatcher.channels.http_connection import Connection, Result
from tocsin.dispatcher.core.outcomes import Unavailable, Unknown


class FakeTransport(asyncio.Transport):
    """Keeps what is written; remembers that it was ended."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.ended = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written += bytes(data)

    def abort(self) -> None:
        self.ended = True


@contextmanager
def exchange() -> Iterator[tuple[Connection, FakeTransport, asyncio.Future[Result]]]:
    loop = asyncio.new_event_loop()
    try:
        connection, transport = Connection(loop, lambda gone: None), FakeTransport()
        connection.connection_made(transport)
        yield connection, transport, connection.exchange(b"request", 60.0)
    finally:
        loop.close()


def outcome(pieces: list[bytes], ends: bool) -> tuple[Result | None, bool]:
    """What came of it, None while it waits; and whether the connection may be used again."""
    with exchange() as (connection, transport, waiting):
        for piece in pieces:
            if not transport.ended:
                connection.data_received(piece)
        if ends and not transport.ended:
            connection.eof_received()
        if ends:
            connection.connection_lost(None)
        assert connection.reusable is False or not transport.ended
        return (waiting.result() if waiting.done() else None), connection.reusable


def split(data: bytes, at: list[int]) -> list[bytes]:
    places = sorted({place % (len(data) + 1) for place in at} | {0, len(data)})
    return [data[start:end] for start, end in itertools.pairwise(places)] or [data]


tokens = st.sampled_from(
    [
        b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 103 Early\r\n\r\n", b"HTTP/1.1 503 No\r\n", b"HTTP/1.0 200 OK\r\n",
        b"Content-Length: 2\r\n", b"Content-Length: 0\r\n", b"Transfer-Encoding: chunked\r\n", b"Connection: close\r\n",
        b"Retry-After: 7\r\n", b"Keep-Alive: timeout=1\r\n", b"\r\n", b"ok", b"2\r\nok\r\n", b"0\r\n\r\n", b"\n", b"\0",
        b"x", b"HTTP/1.1 101 Switching\r\n\r\n", b"HTTP/1.1 204 None\r\n\r\n",
    ]
)  # fmt: skip
answers = st.lists(tokens, max_size=8).map(b"".join)


@given(answers | st.binary(max_size=60), st.lists(st.integers(0, 200), max_size=6), st.booleans())
@example(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", [20, 40], False)
@example(b"HTTP/1.1 200 OK\r\n\r\nok", [19], True)
def test_how_an_answer_is_cut_into_pieces_does_not_matter(data: bytes, at: list[int], ends: bool) -> None:
    whole, whole_reusable = outcome([data] if data else [], ends)
    pieces, pieces_reusable = outcome(split(data, at) if data else [], ends)
    assert pieces == whole
    # What follows a whole answer makes the connection unusable, however it comes.
    assert pieces_reusable == whole_reusable
    assert whole is None or isinstance(whole, (Answer, Unavailable, Unknown))
    if ends:
        assert whole is not None


@given(st.integers(0, 3 * MAX_RESPONSE_BYTES), st.integers(1, 20_000))
def test_a_body_is_read_up_to_its_bound_and_no_further(length: int, piece: int) -> None:
    data = f"HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n".encode() + b"b" * length
    result, reusable = outcome([data[at : at + piece] for at in range(0, len(data), piece)], ends=False)
    assert result == Answer(200, b"b" * min(length, MAX_RESPONSE_BYTES))
    assert reusable == (length <= MAX_RESPONSE_BYTES)
