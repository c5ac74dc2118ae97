"""Whatever a receiver does, an attempt ends in time with little read, and nobody else notices. Both webhook clients."""

from __future__ import annotations

import asyncio
import socket
import ssl
import time
from collections.abc import AsyncIterator, Coroutine
from contextlib import ExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

import pytest
import yarl
from aiohttp.abc import ResolveResult

import hostile
from certificates import Authority
from delivering import ScriptedServer, delivery_for, says, unsigned_recipient
from hostile import OK, Endless, Say, hang, sends
from support import settings_for
from tocsin.dispatcher.channels.base import Parcel
from tocsin.dispatcher.channels.clients import http_client
from tocsin.dispatcher.channels.http import Answer, Target
from tocsin.dispatcher.channels.http_aiohttp import AiohttpClient
from tocsin.dispatcher.channels.http_lean import LeanClient
from tocsin.dispatcher.channels.sockets import BoundedResolver, Tls
from tocsin.dispatcher.channels.vault import Vault
from tocsin.dispatcher.channels.webhook import WebhookChannel
from tocsin.dispatcher.core.egress import EgressPolicy
from tocsin.dispatcher.core.outcomes import Accepted, Outcome, Unavailable, Unknown
from tocsin.dispatcher.settings import DispatcherSettings
from tocsin.shared.clock import SystemClock
from tocsin.shared.configuration.records import Recipient
from tocsin.shared.event_loop import new_event_loop

T = TypeVar("T")
TIMEOUT = 1.0
AMPLE = 15.0
"""Seconds for what has to end by itself, on a busy machine too."""

BAD, LOST, LATE = Unavailable("bad_response"), Unknown("connection_lost"), Unavailable("timeout")
SOCKET_BUFFERS = 16 << 20
"""What an operating system may take from a sender that nobody reads from; far less than ten gigabytes."""


@pytest.fixture(params=["lean", "aiohttp"])
def client(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def run(work: Coroutine[Any, Any, T]) -> T:
    """On the kind of loop that the dispatcher has."""
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        return runner.run(work)


@asynccontextmanager
async def channel(client: str, tmp_path: Path, **given: object) -> AsyncIterator[WebhookChannel]:
    given = {"egress_allow": "127.0.0.0/8", "egress_http": True, "http_client": client, **given}
    settings = settings_for("127.0.0.1:1", tmp_path, DispatcherSettings, **given)
    made = WebhookChannel(settings.egress_policy, Vault(settings), SystemClock(), http_client(settings))
    try:
        yield made
    finally:
        await made.close()


async def attempt(channel: WebhookChannel, recipient: Recipient) -> Outcome:
    delivery = delivery_for(recipient)
    return await channel.send(Parcel(delivery, recipient, channel.render(delivery, recipient)))


def attempts(
    client: str,
    tmp_path: Path,
    url: str,
    times: int = 1,
    *,
    at_once: bool = False,
    timeout: float = AMPLE,
    **given: object,
) -> list[Outcome]:
    recipient = unsigned_recipient(url, timeout=int(timeout * 1000))

    async def scenario() -> list[Outcome]:
        async with channel(client, tmp_path, **given) as made:
            if at_once:
                return await asyncio.gather(*(attempt(made, recipient) for _ in range(times)))
            return [await attempt(made, recipient) for _ in range(times)]

    return run(scenario())


BEHAVIOURS: dict[str, tuple[Say, Outcome]] = {
    "hangs": (hang, LATE),
    "drips its head": (hostile.drip(OK + b"X: " + b"x" * 99), LATE),
    "drips its body": (hostile.drip(OK + b"Content-Length: 99\r\n\r\n" + b"x" * 60), LATE),
    "hangs in its body": (sends(OK + b"Content-Length: 99\r\n\r\nx", hang), LATE),
    "hangs before the end of a chunk": (sends(OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\nab", hang), LATE),
    "promises an answer for ever": (hostile.ENDLESS_EARLY_HINTS, BAD),
    "hangs up": (hostile.hang_up, LOST),
    "resets": (hostile.reset, LOST),
    "resets in its body": (sends(OK + b"Content-Length: 99\r\n\r\nx", hostile.reset), LOST),
    "hangs up in its head": (sends(OK[:12], hostile.hang_up), LOST),
    "hangs up in its body": (sends(OK + b"Content-Length: 99\r\n\r\nx", hostile.hang_up), LOST),
    "hangs up in a chunk": (sends(OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\nab", hostile.hang_up), LOST),
    "sends ten gigabytes": (hostile.TEN_GIGABYTES, Accepted(200)),
    "sends chunks for ever": (hostile.ENDLESS_CHUNKS, Accepted(200)),
    "sends ten thousand headers": (hostile.TEN_THOUSAND_HEADERS, BAD),
    "sends headers for ever": (hostile.ENDLESS_HEAD, BAD),
    "sends one header for ever": (hostile.ENDLESS_LINE, BAD),
    "sends a gzip bomb": (hostile.GZIPPED, Accepted(200)),
    "redirects to itself": (hostile.redirects_to_itself, Unavailable("http_307", 307)),
    "speaks no HTTP": (sends(b"220 mail.example ESMTP\r\n"), BAD),
    "sends TLS in the clear": (sends(b"\x15\x03\x01\x00\x02\x02\x46"), BAD),
    "sends a length that is none": (sends(OK + b"Content-Length: -5\r\n\r\nhello"), BAD),
    "sends a chunk that is none": (sends(OK + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n"), BAD),
    "answers without a length and hangs up": (sends(b"HTTP/1.0 204 Fine\r\n\r\n", hostile.hang_up), Accepted(204)),
    "answers by its end": (sends(b"HTTP/1.0 200 OK\r\n\r\nfine", hostile.hang_up), Accepted(200, "fine")),
    "answers early hints first": (sends(b"HTTP/1.1 103 Early\r\nA: b\r\n\r\n" + OK + b"Content-Length: 2\r\n\r\nok"),
                                  Accepted(200, "ok")),
    "gives its hints a length": (sends(b"HTTP/1.1 103 Early\r\nContent-Length: 0\r\nRetry-After: 5\r\n\r\n" + OK
                                       + b"Connection: close\r\n\r\nok", hostile.hang_up), Accepted(200, "ok")),
    "says to continue first": (sends(b"HTTP/1.1 100 Continue\r\n\r\n" + OK + b"Content-Length: 0\r\n\r\n"),
                               Accepted(200)),
}  # fmt: skip


def behaves(name: str) -> Say:
    """A fresh one where it counts."""
    say = BEHAVIOURS[name][0]
    return Endless(say.head, say.piece) if isinstance(say, Endless) else say


def _skip_what_only_lean_withstands(client: str, behaviour: str) -> None:
    if client == "aiohttp" and behaviour == "promises an answer for ever":
        pytest.skip("aiohttp reads provisional answers in a loop that lets nothing else run")


@pytest.mark.parametrize("behaviour", BEHAVIOURS)
def test_an_attempt_ends_in_time_with_a_reason_and_little_read(client: str, behaviour: str, tmp_path: Path) -> None:
    _skip_what_only_lean_withstands(client, behaviour)
    expected = BEHAVIOURS[behaviour][1]
    say = behaves(behaviour)
    with ScriptedServer(say) as server:
        started = time.monotonic()
        timeout = TIMEOUT if expected is LATE else AMPLE
        first, second = attempts(client, tmp_path, server.url, times=2, at_once=True, timeout=timeout)
        assert time.monotonic() - started < timeout + 4
    for outcome in (first, second):
        assert type(outcome) is type(expected), outcome
        assert getattr(outcome, "reason", None) == getattr(expected, "reason", None)
        assert len(outcome.excerpt.encode()) <= 1024
        if isinstance(expected, Accepted) and expected.excerpt:
            assert outcome == expected
    if isinstance(say, Endless):
        assert say.sent < 2 * SOCKET_BUFFERS


def test_the_next_request_does_not_read_what_was_left_of_the_last_answer(client: str, tmp_path: Path) -> None:
    two_answers = OK + b"Content-Length: 2\r\n\r\nok" + b"HTTP/1.1 410 Gone\r\nContent-Length: 0\r\n\r\n"
    with ScriptedServer(sends(two_answers)) as server:
        outcomes = attempts(client, tmp_path, server.url, times=3)
    assert outcomes == [Accepted(200, "ok")] * 3
    if client == "lean":
        assert server.connections == 3


def test_who_stops_waiting_takes_the_connection_with_him(client: str, tmp_path: Path) -> None:
    """A cut off attempt; its late answer is not the next one's."""

    def slow_then_quick(nth: int, request: bytes, connection: socket.socket) -> None:
        time.sleep(0.3 if nth == 1 else 0)  # what it does
        connection.sendall(f"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n{nth}".encode())

    async def scenario(server: ScriptedServer) -> Outcome:
        recipient = unsigned_recipient(server.url)
        async with channel(client, tmp_path) as made:
            first = asyncio.create_task(attempt(made, recipient))
            while not server.requests:  # noqa: ASYNC110  filled by a thread
                await asyncio.sleep(0.01)
            first.cancel()
            await asyncio.wait([first])
            return await attempt(made, recipient)

    with ScriptedServer(slow_then_quick) as server:
        assert run(scenario(server)) == Accepted(200, "2")


def test_an_idle_connection_that_the_receiver_closes_costs_no_attempt(client: str, tmp_path: Path) -> None:
    def answer_and_leave(nth: int, request: bytes, connection: socket.socket) -> None:
        connection.sendall(OK + b"Content-Length: 0\r\n\r\n")
        connection.shutdown(socket.SHUT_RDWR)  # without having said so

    async def scenario(url: str) -> list[Outcome]:
        recipient = unsigned_recipient(url)
        found = []
        async with channel(client, tmp_path) as made:
            for _ in range(5):
                found.append(await attempt(made, recipient))
                await asyncio.sleep(0.05)  # until its end has come
        return found

    with ScriptedServer(answer_and_leave) as server:
        assert run(scenario(server.url)) == [Accepted(200)] * 5


def test_a_connection_is_used_again_unless_the_receiver_says_otherwise(client: str, tmp_path: Path) -> None:
    with ScriptedServer(says("200 OK")) as kept, ScriptedServer(says("200 OK", "Connection: close")) as closed:
        assert attempts(client, tmp_path, kept.url, times=10) == [Accepted(200)] * 10
        assert attempts(client, tmp_path, closed.url, times=3) == [Accepted(200)] * 3
    assert (kept.connections, closed.connections) == (1, 3)


def test_a_receiver_that_reads_nothing_ends_in_a_timeout(client: str, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=1) as deaf:
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        url = f"http://127.0.0.1:{deaf.getsockname()[1]}/"
        body = '"' + "x" * 8_000 + '"'
        recipient = unsigned_recipient(url, timeout=1000, body=body)

        async def scenario() -> Outcome:
            async with channel(client, tmp_path) as made:
                return await attempt(made, recipient)

        assert run(scenario()) == LATE


@pytest.mark.parametrize(
    ("server", "reason"),
    [
        ("good", None),
        ("of another name", "tls_certificate"),
        ("expired", "tls_certificate"),
        ("of an unknown authority", "tls_certificate"),
        ("old", "tls"),
    ],
)
def test_tls_is_verified(client: str, server: str, reason: str | None, tmp_path: Path) -> None:
    authority = Authority.made_in(tmp_path)
    contexts: dict[str, ssl.SSLContext] = {
        "good": authority.server(),
        "of another name": authority.server("other.example"),
        "expired": authority.server(days=-1),
        "of an unknown authority": authority.server(),
        "old": _old(authority.server()),
    }
    trusted = None if server == "of an unknown authority" else authority.file
    with ScriptedServer(says("200 OK"), contexts[server]) as running:
        url = f"https://localhost:{running.port}/hook"
        first, second = attempts(client, tmp_path, url, times=2, egress_ca_file=trusted, egress_allow="127.0.0.0/8")
    if reason is None:
        assert [first, second] == [Accepted(200)] * 2
        assert running.connections == 1
    else:
        assert isinstance(first, Unavailable)
        assert first.reason == reason
        assert running.requests == []


@pytest.mark.parametrize("kind", [LeanClient, AiohttpClient])
def test_a_name_with_its_last_dot_is_the_name_in_the_certificate(
    kind: type[LeanClient] | type[AiohttpClient], tmp_path: Path
) -> None:
    authority = Authority.made_in(tmp_path)

    def look_up(host: str, family: socket.AddressFamily) -> list[ResolveResult]:
        return [ResolveResult(hostname=host, host="127.0.0.1", port=0, family=socket.AF_INET, proto=6, flags=0)]

    async def scenario(url: str) -> object:
        made = kind(EgressPolicy.of("127.0.0.0/8"), Tls(authority.file), BoundedResolver(look_up))
        answer = await made.open(Target("POST", yarl.URL(url), {}, AMPLE)).send({}, b"{}")
        await made.close()
        return answer

    with ScriptedServer(says("200 OK"), authority.server("hooks.example")) as running:
        assert run(scenario(f"https://hooks.example.:{running.port}/")) == Answer(200, b"")


def _old(context: ssl.SSLContext) -> ssl.SSLContext:
    """Knows nothing newer than TLS 1.1."""
    import warnings  # noqa: PLC0415

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    return context


def test_a_handshake_that_hangs_is_bounded_too(client: str, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=8) as silent:
        started = time.monotonic()
        (outcome,) = attempts(client, tmp_path, f"https://127.0.0.1:{silent.getsockname()[1]}/", timeout=TIMEOUT)
        assert time.monotonic() - started < TIMEOUT + 4
    assert isinstance(outcome, Unavailable)
    assert outcome.reason in ("connect_timeout", "timeout")


@pytest.mark.slow
def test_ten_sick_receivers_at_once_do_not_slow_a_healthy_one(client: str, tmp_path: Path) -> None:
    sick = ["hangs", "drips its head", "drips its body", "resets", "sends ten gigabytes", "sends chunks for ever",
            "sends ten thousand headers", "sends a gzip bomb", "redirects to itself", "hangs in its body"]  # fmt: skip

    async def scenario(urls: list[str], healthy: str) -> tuple[list[float], list[float]]:
        async with channel(client, tmp_path) as made:
            recipient = unsigned_recipient(healthy)

            async def sixty() -> list[float]:
                seconds = []
                for _ in range(60):
                    started = time.monotonic()
                    assert await attempt(made, recipient) == Accepted(200)
                    seconds.append(time.monotonic() - started)
                    await asyncio.sleep(0.02)
                return sorted(seconds)

            alone = await sixty()
            stop = asyncio.Event()

            async def keep_at(url: str) -> None:
                ill = unsigned_recipient(url, timeout=30_000)
                while not stop.is_set():
                    await attempt(made, ill)

            tasks = [asyncio.create_task(keep_at(url)) for url in urls for _ in range(4)]
            beside = await sixty()
            stop.set()
            for task in tasks:
                task.cancel()
            with suppress(asyncio.CancelledError):
                await asyncio.gather(*tasks, return_exceptions=True)
            return alone, beside

    with ExitStack() as stack:
        servers = [stack.enter_context(ScriptedServer(behaves(name))) for name in sick]
        healthy = stack.enter_context(ScriptedServer(says("200 OK")))
        alone, beside = run(scenario([server.url for server in servers], healthy.url))
    print(f"median {alone[30]:.4f} s alone, {beside[30]:.4f} s beside; longest {alone[-1]:.4f} s, {beside[-1]:.4f} s")
    # The sick servers live in this process and take its time, too.
    assert beside[30] < 0.25 + 10 * alone[30]
    assert beside[-1] < 0.9 + 10 * alone[-1]
