"""A scripted SMTP server: what it says to each command, and when."""

from __future__ import annotations

import base64
import socket
import ssl
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from types import TracebackType

Replies = Mapping[str, bytes | None]
"""By command, `GREETING` and `BODY` (after the final dot) too. Nothing at all: b"". None: hang up."""


@dataclass
class MailServer:
    """Takes mail, but for what `replies` say otherwise. With `tls` it offers STARTTLS, with `implicit` it begins so."""

    replies: Replies = field(default_factory=dict)
    tls: ssl.SSLContext | None = None
    implicit: bool = False
    login: tuple[str, str] | None = None
    delay: float = 0.0  # before each reply
    connections: int = 0
    messages: list[bytes] = field(default_factory=list)
    commands: list[str] = field(default_factory=list)

    def __enter__(self) -> MailServer:
        self._socket = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port = int(self._socket.getsockname()[1])
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with suppress(OSError), connection:
            if self.implicit:
                assert self.tls is not None
                connection = self.tls.wrap_socket(connection, server_side=True)
            _Session(self, connection).run()


class _Session:
    def __init__(self, server: MailServer, connection: socket.socket) -> None:
        self._server = server
        self._connection = connection
        self._secure = server.implicit
        self._logged_in = server.login is None

    def run(self) -> None:
        try:
            self._lines = self._connection.makefile("rb")
            self._talk()
        finally:
            self._lines.close()
            self._connection.close()

    def _talk(self) -> None:
        if not self._say("GREETING", b"220 mail.test ESMTP\r\n"):
            return
        while line := self._lines.readline():
            command = line[:4].decode("latin-1").strip().upper()
            self._server.commands.append(line.decode("latin-1").strip())
            if not self._answer(command, line):
                return

    def _say(self, command: str, usual: bytes) -> bool:
        reply = self._server.replies.get(command, usual)
        if reply is None:
            return False
        time.sleep(self._server.delay)  # what it simulates
        self._connection.sendall(reply)
        return True

    def _answer(self, command: str, line: bytes) -> bool:
        match command:
            case "EHLO":
                return self._say(command, self._extensions())
            case "STAR":
                return self._start_tls()
            case "AUTH":
                return self._say(command, self._log_in(line))
            case "MAIL" if not self._logged_in:
                return self._say(command, b"530 5.7.0 authentication required\r\n")
            case "DATA":
                return self._take_body()
            case "QUIT":
                self._say(command, b"221 bye\r\n")
                return False
        return self._say(command, b"250 ok\r\n")

    def _extensions(self) -> bytes:
        lines = ["mail.test", "8BITMIME", "SIZE 10000000"]
        if self._server.tls is not None and not self._secure:
            lines.append("STARTTLS")
        if self._server.login is not None and self._secure:
            lines.append("AUTH PLAIN LOGIN")
        return "".join(f"250{'-' if line != lines[-1] else ' '}{line}\r\n" for line in lines).encode()

    def _start_tls(self) -> bool:
        if self._server.tls is None or not self._say("STARTTLS", b"220 go ahead\r\n"):
            return False
        self._lines.close()
        self._connection = self._server.tls.wrap_socket(self._connection, server_side=True)
        self._lines = self._connection.makefile("rb")
        self._secure = True
        return True

    def _log_in(self, line: bytes) -> bytes:
        assert self._server.login is not None
        given = base64.b64decode(line.split()[2]).decode().split("\0")[1:]
        self._logged_in = tuple(given) == self._server.login
        return b"235 2.7.0 welcome\r\n" if self._logged_in else b"535 5.7.8 who are you\r\n"

    def _take_body(self) -> bool:
        if self._server.replies.get("DATA", b"354")[:3] != b"354":  # type: ignore[index]
            return self._say("DATA", b"")
        if not self._say("DATA", b"354 go on\r\n"):
            return False
        lines = []
        while (line := self._lines.readline()) not in (b".\r\n", b""):
            lines.append(line.removeprefix(b"."))
        self._server.messages.append(b"".join(lines))
        return self._say("BODY", b"250 2.0.0 kept\r\n")
