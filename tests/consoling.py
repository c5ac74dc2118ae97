"""What tests of the console share: a console on a thread of this process, and a client that signs in."""

from __future__ import annotations

import asyncio
import http.client
import json
import multiprocessing.connection
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import urlencode

from support import settings_for, with_topics
from tocsin.console.access.keys import hint_of, token_hash
from tocsin.console.accounts import new_user
from tocsin.console.main import Running, start_console
from tocsin.console.settings import ConsoleSettings
from tocsin.console.state import Put
from tocsin.console.store import Store
from tocsin.shared.configuration.records import Token
from tocsin.shared.ids import new_id
from tocsin.shared.secrets import load_key_ring

PASSWORD = "correct horse battery"
NOW = 1_764_064_800_000
TOKENS = {role: f"tocsin_test-{role}" for role in ("viewer", "operator", "editor", "admin", "ingest")}


def console_settings(stack: Any, state_dir: Path, **given: Any) -> ConsoleSettings:
    """Topics of their own, created; loopback allowed; any free port."""
    given.setdefault("retry_tiers", (200, 500))
    given.setdefault("egress_allow", "127.0.0.0/8")
    given.setdefault("egress_http", True)
    given.setdefault("partitions_deliveries", 2)
    given.setdefault("partitions_default", 2)
    given.setdefault("partitions_readings", 1)
    given.setdefault("console_port", 0)
    settings = with_topics(settings_for(stack.bootstrap_servers, state_dir, ConsoleSettings, **given))
    load_key_ring(None, settings.key_file(), create=True)
    return settings


def with_accounts(settings: ConsoleSettings) -> None:
    """An account and a token for each role: `admin`, `viewer` and so on, with PASSWORD and TOKENS."""
    users = [new_user(new_id(NOW), role, role, PASSWORD, NOW) for role in ("viewer", "operator", "editor", "admin")]
    tokens = [
        Token(id=new_id(NOW), name=f"{role}-token", scope=role, token_hash=token_hash(text), hint=hint_of(text))  # type: ignore[arg-type]
        for role, text in TOKENS.items()
    ]
    Store(settings, "test").write(lambda state: [Put(one, 0) for one in (*users, *tokens)])


@dataclass
class Answer:
    """One answer, read whole."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def text(self) -> str:
        return self.body.decode()


class RunningConsole:
    """A console on a thread of this process."""

    def __init__(self, settings: ConsoleSettings) -> None:
        self.settings = settings
        self._started = threading.Event()
        self._failure: BaseException | None = None
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        try:
            self._loop.run_until_complete(self._serve())
        except BaseException as error:  # noqa: BLE001  raised again where it is waited for
            self._failure = error
        finally:
            self._started.set()
            self._loop.close()

    async def _serve(self) -> None:
        running: Running = await start_console(self.settings)
        self.port = running.port
        self.console = running.console
        self._started.set()
        await self._stop.wait()
        await running.close()

    def __enter__(self) -> RunningConsole:
        self._thread.start()
        assert self._started.wait(60)
        if self._failure is not None:
            raise self._failure
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(30)
        assert not self._thread.is_alive()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def client(self, role: str | None = None) -> Client:
        """With the role's token, or with nothing."""
        return Client(self.port, {"Authorization": f"Bearer {TOKENS[role]}"} if role else {})

    def browser(self, name: str = "admin") -> Client:
        """Signed in by the form, as a browser without scripts would."""
        client = Client(self.port, {})
        answer = client.form("/sign-in", name=name, password=PASSWORD)
        assert answer.status == 303, answer.text
        return client


@dataclass
class Client:
    """HTTP in the plainest way: cookies kept, redirects not followed."""

    port: int
    headers: dict[str, str] = field(default_factory=dict)
    cookie: str = ""

    def __call__(self, method: str, path: str, body: Any = None, **headers: str) -> Answer:
        given = {**self.headers, **{name.replace("_", "-"): value for name, value in headers.items()}}
        if self.cookie:
            given["Cookie"] = self.cookie
        data = body
        if body is not None and not isinstance(body, (bytes, str)):
            data = json.dumps(body)
            given.setdefault("Content-Type", "application/json")
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request(method, path, data, given)
            response = connection.getresponse()
            answer = Answer(response.status, dict(response.headers.items()), response.read())
            cookies = response.headers.get_all("Set-Cookie") or []
        finally:
            connection.close()
        if cookies:
            answer.headers["Set-Cookie"] = "\n".join(cookies)
            self._keep(cookies)
        return answer

    def _keep(self, cookies: list[str]) -> None:
        """As a browser: one that is set to nothing is gone."""
        kept = dict(one.split("=", 1) for one in self.cookie.split("; ") if one)
        kept |= dict(one.partition(";")[0].split("=", 1) for one in cookies)
        self.cookie = "; ".join(f"{name}={value}" for name, value in kept.items() if value.strip('"'))

    def get(self, path: str, **headers: str) -> Answer:
        return self("GET", path, **headers)

    def form(self, path: str, **fields: str) -> Answer:
        return self("POST", path, urlencode(fields), Content_Type="application/x-www-form-urlencoded")

    def csrf(self) -> str:
        """Of this session, as every page has it."""
        page = self.get("/").text
        return page.partition('name="csrf" content="')[2].partition('"')[0]


def sleeps(pipe: multiprocessing.connection.Connection, *ignored: Any) -> None:
    """A worker of dry runs that never answers. Here, where a new process finds it by its name."""
    pipe.send(None)
    pipe.recv()
    time.sleep(600)


def dies(pipe: multiprocessing.connection.Connection, *ignored: Any) -> None:
    """A worker that ends as one does that the system ends."""
    pipe.send(None)
    pipe.recv()


__all__ = ["Client", "RunningConsole", "console_settings", "dies", "sleeps", "with_accounts"]
