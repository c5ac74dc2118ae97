"""What a receiver of webhooks can do wrong, or on purpose: answers for a ScriptedServer."""

from __future__ import annotations

import gzip
import socket
import struct
import time
from collections.abc import Callable
from contextlib import suppress

from delivering import says

Say = Callable[[int, bytes, socket.socket], None]
OK = b"HTTP/1.1 200 OK\r\n"


def sends(data: bytes, then: Say | None = None) -> Say:
    def say(nth: int, request: bytes, connection: socket.socket) -> None:
        with suppress(OSError):
            connection.sendall(data)
        if then is not None:
            then(nth, request, connection)

    return say


def hang(nth: int, request: bytes, connection: socket.socket) -> None:
    connection.recv(1)


def hang_up(nth: int, request: bytes, connection: socket.socket) -> None:
    connection.shutdown(socket.SHUT_RDWR)


def reset(nth: int, request: bytes, connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def drip(data: bytes, every: float = 0.05) -> Say:
    def say(nth: int, request: bytes, connection: socket.socket) -> None:
        with suppress(OSError):
            for letter in data:
                connection.send(bytes([letter]))
                time.sleep(every)  # what it does

    return say


class Endless:
    """Sends as long as it is listened to, and counts."""

    def __init__(self, head: bytes, piece: bytes) -> None:
        self.head, self.piece, self.sent = head, piece, 0

    def __call__(self, nth: int, request: bytes, connection: socket.socket) -> None:
        with suppress(OSError):
            connection.sendall(self.head)
            while True:
                self.sent += connection.send(self.piece)


def redirects_to_itself(nth: int, request: bytes, connection: socket.socket) -> None:
    host, port = connection.getsockname()
    connection.sendall(
        f"HTTP/1.1 307 Again\r\nLocation: http://{host}:{port}/hook\r\nContent-Length: 0\r\n\r\n".encode()
    )


GZIP_BOMB = gzip.compress(bytes(100_000_000), 9)
"""A hundred megabytes in a hundred kilobytes."""


TEN_GIGABYTES = Endless(OK + b"Content-Length: 10000000000\r\n\r\n", bytes(65_536))
ENDLESS_CHUNKS = Endless(OK + b"Transfer-Encoding: chunked\r\n\r\n", b"1000\r\n" + b"x" * 4096 + b"\r\n")
ENDLESS_HEAD = Endless(OK, b"X-More: " + b"y" * 8_000 + b"\r\n")
ENDLESS_LINE = Endless(OK + b"X-Long: ", b"y" * 65_536)
ENDLESS_EARLY_HINTS = Endless(b"", b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" * 100)
TEN_THOUSAND_HEADERS = sends(OK + b"".join(b"X-%d: y\r\n" % n for n in range(10_000)) + b"Content-Length: 0\r\n\r\n")
GZIPPED = says("200 OK", "Content-Encoding: gzip", body=GZIP_BOMB)
