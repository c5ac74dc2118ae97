"""A proxy between clients and a broker that advertises the proxy's port: slow, cut in an answer, half open.

It knows of Kafka's protocol that a frame begins with its length, and a request with its kind, version and number, and
an answer with the number of its request.
"""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from types import TracebackType

from tocsin.deploy.stack.ports import HOST

PRODUCE, FETCH, METADATA, HEARTBEAT, END_TRANSACTION, COMMIT_OFFSETS = 0, 1, 3, 12, 26, 28
"""Kinds of requests; the last is TxnOffsetCommit. Source: https://kafka.apache.org/protocol#protocol_api_keys"""

_RESET = struct.pack("ii", 1, 0)


@dataclass(eq=False)
class _Connection:
    client: socket.socket
    broker: socket.socket
    asked: dict[bytes, int] = field(default_factory=dict)  # number of a request → its kind
    abandoned: bool = False  # half open: the client is told nothing


class BrokerProxy:
    """Lets everything through until it is told otherwise."""

    def __init__(self, broker_port: int) -> None:
        self.delay_to_broker = self.delay_to_client = 0.0  # seconds a frame
        self.answered: Counter[int] = Counter()  # by kind
        self._broker_port = broker_port
        self._to_cut: Counter[int] = Counter()
        self._connections: list[_Connection] = []
        self._abandoned: list[_Connection] = []  # kept: a socket that is forgotten is closed
        self._lock = threading.Lock()
        self._socket = socket.create_server((HOST, 0), backlog=64)
        self.port = int(self._socket.getsockname()[1])
        threading.Thread(target=self._accept, daemon=True).start()

    def cut_in_answer(self, kind: int, times: int) -> None:
        """The next answers of this kind end in their middle, and their connections with them."""
        with self._lock:
            self._to_cut[kind] += times

    def left_to_cut(self) -> int:
        with self._lock:
            return self._to_cut.total()

    def abandon(self) -> int:
        """Leave all connections half open: the broker's side is gone, the client's stays and is silent. How many."""
        with self._lock:
            abandoned, self._connections = self._connections, []
            self._abandoned += abandoned
        for connection in abandoned:
            connection.abandoned = True
            with suppress(OSError):
                connection.broker.shutdown(socket.SHUT_RDWR)
        return len(abandoned)

    def __enter__(self) -> BrokerProxy:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.close()
        with self._lock:
            connections, self._connections = [*self._connections, *self._abandoned], []
        for connection in connections:
            _end(connection)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._socket.accept()
            except OSError:
                return
            try:
                broker = socket.create_connection((HOST, self._broker_port), 5)
            except OSError:
                client.close()  # the broker is down: nobody answers here either
                continue
            broker.settimeout(None)
            connection = _Connection(client, broker)
            with self._lock:
                self._connections.append(connection)
            for pump in (self._pump_requests, self._pump_answers):
                threading.Thread(target=pump, args=(connection,), daemon=True).start()

    def _pump_requests(self, connection: _Connection) -> None:
        with suppress(OSError):
            while frame := _read_frame(connection.client):
                connection.asked[frame[8:12]] = int.from_bytes(frame[4:6])
                time.sleep(self.delay_to_broker)  # what it simulates
                connection.broker.sendall(frame)
        if not connection.abandoned:
            _end(connection)

    def _pump_answers(self, connection: _Connection) -> None:
        with suppress(OSError):
            while frame := _read_frame(connection.broker):
                kind = connection.asked.pop(frame[4:8], -1)
                time.sleep(self.delay_to_client)  # what it simulates
                if connection.abandoned:
                    return
                if self._is_to_be_cut(kind):
                    connection.client.sendall(frame[: len(frame) // 2])
                    connection.client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
                    break
                connection.client.sendall(frame)
                self.answered[kind] += 1
        if not connection.abandoned:
            _end(connection)

    def _is_to_be_cut(self, kind: int) -> bool:
        with self._lock:
            if not self._to_cut[kind]:
                return False
            self._to_cut[kind] -= 1
            return True


def _read_frame(connection: socket.socket) -> bytes:
    """With its length in front; nothing at the end."""
    length = _read(connection, 4)
    return length + _read(connection, int.from_bytes(length)) if length else b""


def _read(connection: socket.socket, size: int) -> bytes:
    found = b""
    while len(found) < size:
        piece = connection.recv(size - len(found))
        if not piece:
            return b""
        found += piece
    return found


def _end(connection: _Connection) -> None:
    for one in (connection.client, connection.broker):
        with suppress(OSError):
            one.shutdown(socket.SHUT_RDWR)
        one.close()
