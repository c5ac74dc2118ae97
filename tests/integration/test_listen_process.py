"""`tocsin listen` as a process: its URL first, then what comes; it can misbehave, and leaves cleanly."""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tocsin.dispatcher.core.signing import signature_headers, signing_key

SECRET = "canary secret"
BODY = b'{"eventId": "1"}'


class Listening:
    """The process and the lines it prints."""

    def __init__(self, *arguments: str, **environment: str) -> None:
        program = "import sys; from tocsin.console.cli import main; main()"
        self.process = subprocess.Popen(
            [sys.executable, "-c", program, "listen", "--port", "0", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, **environment},
        )
        self._lines: queue.Queue[str] = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()
        first = self.line()
        self.url = json.loads(first)["url"] if first.startswith("{") else first.split()[2]

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._lines.put(line.rstrip("\n"))

    def line(self) -> str:
        return self._lines.get(timeout=30)

    def record(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.line())
        return found

    def send(self, webhook_id: str = "msg_1", secret: str = SECRET, method: str = "POST") -> tuple[int, dict[str, str]]:
        headers = signature_headers((signing_key(secret),), webhook_id, int(time.time()), BODY)
        request = urllib.request.Request(f"{self.url}hook", BODY, headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return answer.status, dict(answer.headers)
        except urllib.error.HTTPError as error:
            with error:
                return error.code, dict(error.headers)

    def leave(self) -> int:
        try:
            return self.process.wait(30)
        finally:
            self.close()

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(10)
        for pipe in (self.process.stdout, self.process.stderr):
            assert pipe is not None
            pipe.close()


@pytest.fixture
def listen() -> Iterator[Callable[..., Listening]]:
    started: list[Listening] = []

    def start(*arguments: str, **environment: str) -> Listening:
        started.append(Listening(*arguments, **environment))
        return started[-1]

    yield start
    for one in started:
        one.close()


def test_it_verifies_and_leaves_after_so_many(listen: Callable[..., Listening]) -> None:
    listening = listen("--json", "--secret", SECRET, "--once", "2")
    assert listening.url.startswith("http://127.0.0.1:")
    assert listening.send(secret="another")[0] == 200
    assert listening.send(method="PUT")[0] == 200
    assert listening.send()[0] == 200, "a repeat: it does not count"
    assert listening.send("msg_2")[0] == 200
    shown = [listening.record() for _ in range(4)]
    assert [(one["id"], one["verified"], one["repeat"], one["method"]) for one in shown] == [
        ("msg_1", False, False, "POST"),
        ("msg_1", True, False, "PUT"),
        ("msg_1", True, True, "POST"),
        ("msg_2", True, False, "POST"),
    ]
    assert listening.leave() == 0


def test_plain_lines_say_what_came(listen: Callable[..., Listening], tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text(SECRET + "\n")
    listening = listen("--secret-file", str(file))
    listening.send()
    head = listening.line()
    assert "POST /hook  msg_1  verified  16 bytes  answered 200" in head
    assert [listening.line() for _ in range(3)] == ["    {", '      "eventId": "1"', "    }"]


def test_the_secret_may_come_from_the_environment(listen: Callable[..., Listening]) -> None:
    listening = listen("--json", TOCSIN_LISTEN_SECRET=SECRET)
    listening.send()
    assert listening.record()["verified"] is True


def test_without_a_secret_it_says_so(listen: Callable[..., Listening]) -> None:
    listening = listen("--json")
    listening.send()
    assert listening.record()["why_not"] == "no secret given"


def test_it_misbehaves_as_told(listen: Callable[..., Listening]) -> None:
    failing = listen("--json", "--status", "503", "--retry-after", "5", "--delay", "0.3")
    before = time.monotonic()
    status, headers = failing.send()
    assert (status, headers["Retry-After"]) == (503, "5")
    assert time.monotonic() - before >= 0.3
    sometimes = listen("--json", "--fail-rate", "0.5")
    statuses = {sometimes.send(f"msg_{number}")[0] for number in range(40)}
    assert statuses == {200, 500}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_cleanly(listen: Callable[..., Listening], number: signal.Signals) -> None:
    listening = listen()
    listening.process.send_signal(number)
    assert listening.process.wait(30) == 0
    assert listening.process.stderr is not None
    assert listening.process.stderr.read() == ""


def test_a_port_in_use_is_said_in_one_line(listen: Callable[..., Listening]) -> None:
    port = listen("--json").url.rsplit(":", 1)[1].rstrip("/")
    program = "from tocsin.console.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", program, "listen", "--port", port],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr == f"Error: cannot listen on 127.0.0.1 port {port}: Address already in use\n"
