"""Names of records in the shell: from the console's API at once, or not at all."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from click.shell_completion import BashComplete, ZshComplete

from tocsin.console.cli import root
from tocsin.console.cli.completion import VARIABLE

TWICE_QUOTED = r"Ticket\\ desk"
"""For bash, and for the `read` of click's script before it."""
NAMES = ("Ticket desk", "Tickets", "Night shift (ops)")


class Api:
    """Answers as the console's lists do: whatever has the text searched for in its name."""

    def __init__(self, status: int = 200, body: bytes | None = None, delay: float = 0.0) -> None:
        self.asked: list[tuple[str, str | None]] = []
        api = self
        stopping = self._stopping = threading.Event()

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                api.asked.append((self.path, self.headers["Authorization"]))
                stopping.wait(delay)
                wanted = parse_qs(urlsplit(self.path).query).get("search", [""])[0].casefold()
                items = [{"name": name} for name in NAMES if wanted in name.casefold()]
                self.send_response(status)
                self.end_headers()
                self.wfile.write(json.dumps({"items": items}).encode() if body is None else body)

            def log_message(self, format: str, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def close(self) -> None:
        self._stopping.set()
        self._server.shutdown()
        self._server.server_close()


@contextmanager
def api(monkeypatch: pytest.MonkeyPatch, **given: object) -> Iterator[Api]:
    made = Api(**given)  # type: ignore[arg-type]
    monkeypatch.setenv("TOCSIN_CONSOLE_URL", made.url)
    monkeypatch.setenv("TOCSIN_TOKEN", "tocsin_viewer")
    yield made
    made.close()


def completed(monkeypatch: pytest.MonkeyPatch, line: str, shell: type = BashComplete) -> list[str]:
    """What the shell gets for a line, whose last word is being typed."""
    words = line.split(" ")
    kind = "bash" if shell is BashComplete else "zsh"
    monkeypatch.setenv(VARIABLE, f"{kind}_complete")
    monkeypatch.setenv("COMP_WORDS", line)
    monkeypatch.setenv("COMP_CWORD", str(len(words) - 1))
    found = shell(root, {}, "tocsin", VARIABLE)
    arguments, incomplete = found.get_completion_args()
    return [one.value for one in found.get_completions(arguments, incomplete) if one.type == "plain"]


@pytest.mark.parametrize(
    "line",
    [
        "tocsin recipients pause tick",
        "tocsin recipients show tick",
        "tocsin get recipients tick",
        "tocsin dead-letters list --recipient tick",
    ],
)
def test_names_that_begin_so_are_completed_ready_to_stand_in_the_line(
    monkeypatch: pytest.MonkeyPatch, line: str
) -> None:
    with api(monkeypatch) as console:
        assert completed(monkeypatch, line) == [TWICE_QUOTED, "Tickets"]
        assert console.asked == [("/api/v1/recipients?search=tick&limit=100", "Bearer tocsin_viewer")]


def test_other_shells_quote_by_themselves(monkeypatch: pytest.MonkeyPatch) -> None:
    with api(monkeypatch):
        assert completed(monkeypatch, "tocsin sensors show n", ZshComplete) == ["Night shift (ops)"]


def test_who_has_been_named_is_not_offered_again(monkeypatch: pytest.MonkeyPatch) -> None:
    with api(monkeypatch):
        assert completed(monkeypatch, "tocsin recipients pause Tickets t") == [TWICE_QUOTED]


@pytest.mark.parametrize(
    "given", [{"status": 401}, {"status": 503}, {"body": b"<html>"}, {"body": b"[]"}, {"body": b'{"items": [{}]}'}]
)
def test_whatever_goes_wrong_nothing_is_said(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], given: dict[str, object]
) -> None:
    with api(monkeypatch, **given):
        assert completed(monkeypatch, "tocsin recipients pause t") == []
    assert completed(monkeypatch, "tocsin recipients pause t") == []  # nobody listens there any more
    assert capfd.readouterr() == ("", "")


def test_a_console_that_takes_its_time_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    completed(monkeypatch, "tocsin recipients pause t")  # what has to be imported is
    with api(monkeypatch, delay=30.0):
        started = time.monotonic()
        assert completed(monkeypatch, "tocsin recipients pause t") == []
        assert time.monotonic() - started < 3


def test_without_a_token_nobody_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    with api(monkeypatch) as console:
        monkeypatch.delenv("TOCSIN_TOKEN")
        assert completed(monkeypatch, "tocsin recipients pause t") == []
        assert console.asked == []


def test_a_real_bash_completes_a_name_with_a_space(monkeypatch: pytest.MonkeyPatch) -> None:
    script = r"""
    eval "$(tocsin completion bash)"
    COMP_WORDS=(tocsin recipients pause 'Ticket\ d')
    COMP_CWORD=3
    _tocsin_completion tocsin
    printf '%s\n' "${COMPREPLY[@]}"
    """
    with api(monkeypatch):
        environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
        done = subprocess.run(
            ["bash", "-c", script], capture_output=True, text=True, env=environment, timeout=60, check=True
        )
    assert (done.stdout, done.stderr) == ("Ticket\\ desk\n", "")
