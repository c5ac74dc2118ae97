"""`tocsin bench console`: how soon lists answer in a large deployment, and what its console takes.

1. A month of a deployment is written to its topics (console_world).
2. A real console starts: how long until it has read them, beside reading them and doing nothing; its memory, its file.
3. Each list is asked for again and again, signed in by a token: its first page, one far in, with filters and searches.
   Beside it, an aiohttp handler that answers with the same bytes.
4. Once more while pages are open that watch, and deliveries come in.
"""

from __future__ import annotations

import http.client
import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import median, quantiles

import click
import psutil
from rich.console import Console
from rich.table import Table

from tocsin.deploy.bench.common import Figure, broker, fresh_prefix, show
from tocsin.deploy.bench.console_lists import lists_of
from tocsin.deploy.bench.console_records import TOKEN, World
from tocsin.deploy.bench.console_world import TOPICS, fill, more_deliveries
from tocsin.deploy.bench.detector import environment
from tocsin.deploy.fleet import Fleet, Member
from tocsin.deploy.processes import Supervisor
from tocsin.deploy.stack.ports import HOST, free_port
from tocsin.dispatcher.reading import ends_of, read_until
from tocsin.shared.clock import SystemClock
from tocsin.shared.errors import TocsinError
from tocsin.shared.secrets import load_key_ring
from tocsin.shared.settings import CommonSettings, KafkaSettings
from tocsin.shared.topic_admin import apply_topics

BAR_MS = 200.0
TIMES = 25
WATCHING = 50
LIVE_RATE, LIVE_SECONDS = 200, 10.0
"""Deliveries a second, three records each, and for how long."""

LONGEST_SECONDS = 600.0
HEADERS = {"Authorization": f"Bearer {TOKEN}"}


@dataclass(frozen=True, slots=True)
class Answers:
    """How long one list took, ms, beside the same bytes from a handler that does nothing."""

    case: str
    times: Sequence[float]
    reference: Sequence[float]
    size: int

    @property
    def p50(self) -> float:
        return median(self.times)

    @property
    def p95(self) -> float:
        return p95(self.times)


def p95(times: Sequence[float]) -> float:
    return quantiles(times, n=20, method="inclusive")[-1]


@click.command(name="console")
@click.option("--systems", default=100_000, show_default=True, type=click.IntRange(100))
@click.option("--recipients", default=1_000, show_default=True, type=click.IntRange(20))
@click.option("--deliveries", default=1_000_000, show_default=True, type=click.IntRange(1_000))
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
def command(systems: int, recipients: int, deliveries: int, as_json: bool) -> None:
    """Lists of pages and API in a large deployment, the console's start with it, and its memory."""
    world = World(systems, recipients, deliveries, SystemClock().now_ms())
    title = f"Console: {systems:,} systems, {recipients:,} recipients, {deliveries:,} deliveries"
    figures: list[Figure] = []
    answers: list[Answers] = []
    for one in measure(world):
        if as_json:
            click.echo(json.dumps(as_object(one)))
        (figures if isinstance(one, Figure) else answers).append(one)  # type: ignore[arg-type]
    if not as_json:
        show(figures, title, as_json=False)
        Console().print(_table(answers))


def as_object(one: Figure | Answers) -> dict[str, object]:
    if isinstance(one, Figure):
        return {"case": one.case, "rate": round(one.rate, 3), "reference": round(one.reference, 3), "unit": one.unit}
    times = {"p50_ms": round(one.p50, 1), "p95_ms": round(one.p95, 1), "bar_ms": BAR_MS}
    return {"case": one.case, **times, "reference_p95_ms": round(p95(one.reference), 1), "bytes": one.size}


def _table(answers: Sequence[Answers]) -> Table:
    table = Table("list", title=f"ms; the bar is {BAR_MS:.0f} at p95")
    for heading in ("p50", "p95", "same bytes, p95", "KB"):
        table.add_column(heading, justify="right")
    for one in answers:
        style = "bold red" if one.p95 > BAR_MS else None
        cells = (f"{one.p50:.1f}", f"{one.p95:.1f}", f"{p95(one.reference):.1f}", f"{one.size / 1000:.0f}")
        table.add_row(one.case, *cells, style=style)
    return table


def measure(world: World) -> Iterator[Figure | Answers]:
    """Starts what it needs, and stops it."""
    with broker() as (stack, folder), Supervisor() as supervisor:
        settings = CommonSettings.load(
            {},
            state_dir=folder,
            topic_prefix=fresh_prefix(),
            kafka=KafkaSettings({"bootstrap.servers": stack.bootstrap_servers}),
        )
        apply_topics(settings)
        load_key_ring(None, settings.key_file(), create=True)
        began = time.perf_counter()
        records = fill(settings, world)
        click.echo(f"{records:,} records in {time.perf_counter() - began:.0f} s", err=True)
        plain = _read_alone(settings)
        console_port = free_port()
        fleet = Fleet(supervisor, folder, {**environment(settings), "TMPDIR": str(folder)})
        member = fleet.start("console", environment={"TOCSIN_CONSOLE_PORT": str(console_port)})
        took, most = _until_read(member)
        yield Figure("start: all topics read, beside reading them alone", took, plain, "s")
        yield Figure("memory at its highest meanwhile, beside now", most, megabytes(member), "MB")
        yield Figure("file of the read models", _file(folder), 0.0, "MB")
        with closing(Client(console_port, HEADERS)) as client, same_bytes() as other:
            for case, path in lists_of(client, world):
                yield ask(case, path, client, other)
            yield from _live(settings, world, member, client)
        yield Figure("memory at the end", megabytes(member), 0.0, "MB")


def _read_alone(settings: CommonSettings) -> float:
    """Seconds."""
    places = [(settings.topic(name), number) for name in TOPICS for number in range(4)]
    began = time.perf_counter()
    for _ in read_until(settings, dict.fromkeys(places), ends_of(settings, places)):
        pass
    return time.perf_counter() - began


def _until_read(member: Member) -> tuple[float, float]:
    """Seconds from the start, and the most memory seen meanwhile."""
    began, most = time.perf_counter(), 0.0
    while (why := member.readiness()) is not None:
        if time.perf_counter() - began > LONGEST_SECONDS or not member.child.running:
            raise TocsinError(f"the console is not ready: {why}\n{member.child.log_tail(20)}")
        most = max(most, megabytes(member))
        time.sleep(0.1)
    return time.perf_counter() - began, max(most, megabytes(member))


def megabytes(member: Member) -> float:
    return float(psutil.Process(member.child.pid).memory_info().rss) / 1e6


def _file(folder: Path) -> float:
    return sum(file.stat().st_size for file in folder.glob("tocsin-console-*/*")) / 1e6


class Client:
    """One connection that is kept, as a browser's is."""

    def __init__(self, port: int, headers: dict[str, str]) -> None:
        self.port = port
        self._headers = headers
        self._connection = http.client.HTTPConnection(HOST, port, timeout=60)

    def get(self, path: str) -> bytes:
        """Raises TocsinError for anything but 200."""
        self._connection.request("GET", path, headers=self._headers)
        answer = self._connection.getresponse()
        body = answer.read()
        if answer.status != 200:
            raise TocsinError(f"{path} answered {answer.status}: {body[:200]!r}")
        return body

    def close(self) -> None:
        self._connection.close()

    def put(self, path: str, body: bytes) -> None:
        self._connection.request("PUT", path, body)
        self._connection.getresponse().read()

    def times(self, path: str) -> list[float]:
        """Of TIMES requests, ms."""
        found = []
        for _ in range(TIMES):
            began = time.perf_counter()
            self.get(path)
            found.append((time.perf_counter() - began) * 1000)
        return found


def ask(case: str, path: str, client: Client, other: Client) -> Answers:
    """The first answer is looked at and not counted."""
    body = client.get(path)
    other.put("/", body)
    return Answers(case, client.times(path), other.times("/"), len(body))


@contextmanager
def same_bytes() -> Iterator[Client]:
    """A server that answers with what it was given last."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tocsin.deploy.bench.same_bytes"], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    try:
        with closing(Client(int(process.stdout.readline()), {})) as client:
            yield client
    finally:
        process.terminate()
        process.wait(10)
        process.stdout.close()


def _live(settings: CommonSettings, world: World, member: Member, client: Client) -> Iterator[Figure | Answers]:
    """Lists, while WATCHING pages are told of what changes."""
    path = "/deliveries"
    quiet = client.times(path)
    heard = [Watcher(client.port) for _ in range(WATCHING)]
    feeding = threading.Thread(target=more_deliveries, args=(settings, world, LIVE_RATE, LIVE_SECONDS))
    before, began = cpu_of(member), time.perf_counter()
    feeding.start()
    times: list[float] = []
    while feeding.is_alive():
        times += client.times(path)
        feeding.join(0.2)
    share = (cpu_of(member) - before) / (time.perf_counter() - began)
    notices = [one.close() for one in heard]
    size = len(client.get(path))
    name = f"page: deliveries, while {WATCHING} pages watch and {LIVE_RATE}/s come in"
    yield Answers(name, times, quiet, size)
    yield Figure(f"notices to each of {WATCHING} pages that watch for {LIVE_SECONDS:.0f} s",
                 median(count for count, _ in notices), 0.0, "notices")  # fmt: skip
    yield Figure("the largest of them", max(most for _, most in notices) / 1000, 0.0, "KB")
    yield Figure("of a core that the console took meanwhile, lists included", share, 0.0, "cores")


def cpu_of(member: Member) -> float:
    times = psutil.Process(member.child.pid).cpu_times()
    return float(times.user + times.system)


class Watcher:
    """A stream of `/live`, read on a thread."""

    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection(HOST, port, timeout=60)
        self._connection.request("GET", "/live?topics=deliveries", headers=HEADERS)
        self._answer = self._connection.getresponse()
        self._found: list[int] = []
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        with suppress(OSError, http.client.HTTPException):  # cut off by `close`
            for line in self._answer:
                if line.startswith(b"data:"):
                    self._found.append(len(line))

    def close(self) -> tuple[int, int]:
        """How many notices there were, and the size of the largest."""
        if self._connection.sock is not None:
            self._connection.sock.shutdown(socket.SHUT_RDWR)
        self._thread.join(10)
        self._answer.close()
        self._connection.close()
        return len(self._found), max(self._found, default=0)
