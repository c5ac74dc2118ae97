"""Hostile URLs and DNS answers: no socket is ever made to an address that is not allowed. Both webhook clients.

Canaries listen on this machine's own addresses; for all others, every address the clients asked about must have been
refused.
"""

from __future__ import annotations

import asyncio
import itertools
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path

import pytest
from aiohttp.abc import ResolveResult

from delivering import ScriptedServer, delivery_for, says, unsigned_recipient
from support import settings_for
from tocsin.dispatcher.channels.base import Parcel
from tocsin.dispatcher.channels.http import HttpClient
from tocsin.dispatcher.channels.http_aiohttp import AiohttpClient
from tocsin.dispatcher.channels.http_lean import LeanClient
from tocsin.dispatcher.channels.sockets import BoundedResolver, Tls
from tocsin.dispatcher.channels.vault import Vault
from tocsin.dispatcher.channels.webhook import WebhookChannel
from tocsin.dispatcher.core.egress import EgressPolicy, parse_networks
from tocsin.dispatcher.core.outcomes import Accepted, Outcome, Unavailable
from tocsin.dispatcher.settings import DispatcherSettings
from tocsin.shared.clock import SystemClock
from tocsin.shared.configuration.records import Recipient

URLS = [
    "http://127.0.0.1:{port}/",
    "http://127.0.0.1.:{port}/",
    "http://127.1:{port}/",
    "http://127.0.1:{port}/",
    "http://127.255.255.254:{port}/",
    "http://0x7f.0.0.1:{port}/",
    "http://0x7f.1:{port}/",
    "http://0x7f000001:{port}/",
    "http://0X7F.0X0.0X0.0X1:{port}/",
    "http://2130706433:{port}/",
    "http://017700000001:{port}/",
    "http://0177.0.0.1:{port}/",
    "http://0177.0.0.0x1:{port}/",
    "http://00000177.1:{port}/",
    "http://4294967295:{port}/",
    "http://6425673729:{port}/",
    "http://0:{port}/",
    "http://0.0.0.0:{port}/",
    "http://0.0:{port}/",
    "http://localhost:{port}/",
    "http://LocalHost.:{port}/",
    "http://localhost.localdomain:{port}/",
    "http://foo.localhost:{port}/",
    "http://①②⑦.⓪.⓪.①:{port}/",
    "http://127.0.0.１:{port}/",
    "http://127。0。0。1:{port}/",
    "http://ⓛⓞⓒⓐⓛⓗⓞⓢⓣ:{port}/",
    "http://local\u00adhost:{port}/",
    "http://localhost%00.example.com:{port}/",
    "http://127.0.0.1%2f.example.com:{port}/",
    "http://[::1]:{port}/",
    "http://[::]:{port}/",
    "http://[0:0:0:0:0:0:0:1]:{port}/",
    "http://[::1%25lo]:{port}/",
    "http://[::1%lo]:{port}/",
    "http://[::ffff:127.0.0.1]:{port}/",
    "http://[::ffff:7f00:1]:{port}/",
    "http://[0:0:0:0:0:ffff:7f00:0001]:{port}/",
    "http://[::127.0.0.1]:{port}/",
    "http://[::ffff:0:127.0.0.1]:{port}/",
    "http://[64:ff9b::7f00:1]:{port}/",
    "http://[64:ff9b::127.0.0.1]:{port}/",
    "http://[64:ff9b:1::7f00:1]:{port}/",
    "http://[2002:7f00:1::]:{port}/",
    "http://[2001:0:7f00:1::1]:{port}/",
    "http://[fe80::1%25eth0]:{port}/",
    "http://[fec0::1]:{port}/",
    "http://[fd00:ec2::254]:{port}/",
    "http://[ff02::1]:{port}/",
    "http://[4000::1]:{port}/",
    "http://[v1.127.0.0.1]:{port}/",
    "http://10.0.0.1:{port}/",
    "http://172.31.255.255:{port}/",
    "http://192.168.0.1:{port}/",
    "http://169.254.169.254:{port}/latest/meta-data/",
    "http://168.63.129.16:{port}/",
    "http://100.100.100.200:{port}/",
    "http://192.0.0.192:{port}/",
    "http://198.18.0.1:{port}/",
    "http://192.88.99.1:{port}/",
    "http://224.0.0.1:{port}/",
    "http://255.255.255.255:{port}/",
    "http://user:pass@127.0.0.1:{port}/",
    "http://example.com@127.0.0.1:{port}/",
    "http://127.0.0.1:{port}@example.com/",
    "http://example.com:80@127.0.0.1:{port}/",
    "http://127.0.0.1:{port}#@example.com/",
    "http://127.0.0.1:{port}?@example.com/",
    "http://example.com\\@127.0.0.1:{port}/",
    "http://127.0.0.1:{port}\\.example.com/",
    "http:\\\\127.0.0.1:{port}/",
    "http:/127.0.0.1:{port}/",
    "http:127.0.0.1:{port}/",
    "http:///127.0.0.1:{port}/",
    "//127.0.0.1:{port}/",
    "127.0.0.1:{port}/",
    " http://127.0.0.1:{port}/",
    "http://127.0.0.1:{port}\t/",
    "http://127.0.0.1 :{port}/",
    "http://127.0.0.1:0{port}/",
    "http://127.0.0.1:{port}/\r\nHost: example.com",
    "http://exa\r\nmple.com:{port}/",
    "gopher://127.0.0.1:{port}/_x",
    "ftp://127.0.0.1:{port}/",
    "file:///etc/passwd",
    "unix:///var/run/docker.sock",
    "data:text/plain,x",
    "javascript://127.0.0.1:{port}/%0a",
    "ws://127.0.0.1:{port}/",
    "http+unix://127.0.0.1:{port}/",
    "",
    "http://",
    "http://:{port}/",
    "http://[",
    "http://[::1",
    "http://\u202e127.0.0.1:{port}/",
]

ANSWERS = [
    ["127.0.0.1"], ["127.0.0.53"], ["0.0.0.0"], ["10.0.0.1"], ["172.16.0.1"], ["192.168.1.1"], ["169.254.169.254"],
    ["168.63.129.16"], ["100.64.0.1"], ["192.0.0.192"], ["192.0.2.1"], ["198.18.0.1"], ["198.51.100.1"],
    ["203.0.113.1"], ["192.88.99.1"], ["224.0.0.1"], ["240.0.0.1"], ["255.255.255.255"],
    ["::1"], ["::"], ["::ffff:127.0.0.1"], ["::ffff:169.254.169.254"], ["::127.0.0.1"], ["64:ff9b::a9fe:a9fe"],
    ["64:ff9b:1::1"], ["2002:7f00:1::1"], ["2002:a9fe:a9fe::"], ["2001::1"], ["2001:db8::1"], ["3fff::1"],
    ["fc00::1"], ["fd00:ec2::254"], ["fe80::1"], ["fec0::1"], ["ff02::1"], ["4000::1"], ["5f00::1"], ["100::1"],
    ["::1", "127.0.0.1"], ["127.0.0.1", "10.0.0.1", "::1", "fe80::1", "169.254.169.254"],
    [f"10.0.{n // 256}.{n % 256}" for n in range(300)],
]  # fmt: skip


@dataclass(frozen=True)
class Watching(EgressPolicy):
    """The real policy; remembers what it let through."""

    passed: list[str] = field(default_factory=list)

    def refusal(self, address: str) -> str | None:
        found = EgressPolicy.refusal(self, address)
        if found is None:
            self.passed.append(address)
        return found


class Canaries:
    """Listen on every loopback address, on one port; nobody may connect."""

    def __init__(self) -> None:
        first = socket.create_server(("127.0.0.1", 0))
        self.port = first.getsockname()[1]
        self._listening = [first]
        for address in ("127.0.0.53", "127.255.255.254"):
            self._listening.append(socket.create_server((address, self.port)))
        with suppress(OSError):  # no IPv6 here
            self._listening.append(socket.create_server(("::1", self.port), family=socket.AF_INET6))

    def disturbed(self) -> bool:
        for listening in self._listening:
            listening.setblocking(False)
            with suppress(BlockingIOError):
                listening.accept()[0].close()
                return True
        return False

    def close(self) -> None:
        for listening in self._listening:
            listening.close()


@pytest.fixture
def canaries() -> Iterator[Canaries]:
    made = Canaries()
    yield made
    made.close()


Make = Callable[[EgressPolicy, BoundedResolver | None], HttpClient]


@pytest.fixture(params=["lean", "aiohttp"])
def make(request: pytest.FixtureRequest) -> Make:
    kind = AiohttpClient if request.param == "aiohttp" else LeanClient
    return lambda policy, resolver: kind(policy, Tls(), resolver)


def send(
    tmp_path: Path, make: Make, policy: EgressPolicy, urls: Sequence[str], resolver: BoundedResolver | None = None
) -> list[Outcome]:
    settings = settings_for("127.0.0.1:1", tmp_path, DispatcherSettings)

    async def scenario() -> list[Outcome]:
        channel = WebhookChannel(policy, Vault(settings), SystemClock(), make(policy, resolver))

        async def one(recipient: Recipient) -> Outcome:
            delivery = delivery_for(recipient)
            return await channel.send(Parcel(delivery, recipient, channel.render(delivery, recipient)))

        outcomes = [await one(unsigned_recipient(url, timeout=20_000)) for url in urls]
        await channel.close()
        return outcomes

    return asyncio.run(scenario())


def answering(*answers: Sequence[str]) -> BoundedResolver:
    """A resolver that answers so in turn, the last for ever, whatever the name."""
    turns = itertools.chain(answers, itertools.repeat(answers[-1]))
    lock = threading.Lock()

    def look_up(host: str, family: socket.AddressFamily) -> list[ResolveResult]:
        with lock:
            addresses = next(turns)
        return [
            ResolveResult(
                hostname=host,
                host=address,
                port=0,
                family=socket.AF_INET if ip_address(address).version == 4 else socket.AF_INET6,
                proto=socket.IPPROTO_TCP,
                flags=socket.AI_NUMERICHOST,
            )
            for address in addresses
        ]

    return BoundedResolver(look_up)


def test_the_corpus_is_large_enough() -> None:
    assert len(set(URLS)) == len(URLS) > 60
    assert len(ANSWERS) > 30


def test_no_hostile_url_reaches_anyone(make: Make, canaries: Canaries, tmp_path: Path) -> None:
    policy = Watching(http=True)
    nowhere = BoundedResolver(_local_names)
    outcomes = send(tmp_path, make, policy, [url.format(port=canaries.port) for url in URLS], nowhere)
    for url, outcome in zip(URLS, outcomes, strict=True):
        assert isinstance(outcome, Unavailable), url
        assert outcome.reason in ("egress_denied", "dns", "misconfigured", "connect"), (url, outcome)
        assert "pass" not in outcome.detail.replace("password", ""), url
    assert policy.passed == []
    assert not canaries.disturbed()


def _local_names(host: str, family: socket.AddressFamily) -> list[ResolveResult]:
    """What this machine knows by itself; other names do not leave it."""
    if host.rstrip(".").lower() == "example.com" or host.endswith(".example.com"):
        raise socket.gaierror(socket.EAI_NONAME, "not looked up here")
    found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM, family=family)
    return [
        ResolveResult(hostname=host, host=str(info[4][0]), port=0, family=info[0], proto=info[2], flags=0)
        for info in found
    ]


def test_no_hostile_dns_answer_reaches_anyone(make: Make, canaries: Canaries, tmp_path: Path) -> None:
    for addresses in ANSWERS:
        policy = Watching(http=True)
        url = f"http://innocent.example:{canaries.port}/"
        (outcome,) = send(tmp_path, make, policy, [url], answering(addresses))
        assert isinstance(outcome, Unavailable), addresses
        assert outcome.reason == "egress_denied", (addresses, outcome)
        assert policy.passed == []
    assert not canaries.disturbed()


def test_of_a_mixed_answer_only_the_allowed_address_is_used(make: Make, canaries: Canaries, tmp_path: Path) -> None:
    with ScriptedServer(says("200 OK")) as allowed:
        policy = Watching(allow=parse_networks("127.0.0.1/32"), http=True)
        url = f"http://innocent.example:{allowed.port}/"
        mixed = ["10.0.0.1", "127.0.0.53", "127.0.0.1", "169.254.169.254"]
        assert send(tmp_path, make, policy, [url], answering(mixed)) == [Accepted(200)]
    assert set(policy.passed) == {"127.0.0.1"}


def test_a_name_that_is_bound_anew_is_checked_anew(make: Make, canaries: Canaries, tmp_path: Path) -> None:
    """The first answer is allowed, the second is not: by then the connection is used up and a new one is needed."""
    with ScriptedServer(says("200 OK", "Connection: close")) as allowed:
        policy = Watching(allow=parse_networks("127.0.0.1/32"), http=True)
        url = f"http://innocent.example:{allowed.port}/"
        resolver = answering(["127.0.0.1"], ["127.0.0.53"])
        first = send(tmp_path, make, policy, [url], resolver)
        second = send(tmp_path, make, policy, [url], answering(["127.0.0.53"]))
    assert first == [Accepted(200)]
    assert isinstance(second[0], Unavailable)
    assert second[0].reason == "egress_denied"
    assert not canaries.disturbed()


@pytest.mark.parametrize("status", ["301 Moved", "302 Found", "303 See", "307 Again", "308 For ever", "300 Choose"])
def test_a_redirect_inside_is_not_followed(make: Make, canaries: Canaries, tmp_path: Path, status: str) -> None:
    with ScriptedServer(says(status, f"Location: http://127.0.0.53:{canaries.port}/")) as allowed:
        policy = Watching(allow=parse_networks("127.0.0.1/32"), http=True)
        (outcome,) = send(tmp_path, make, policy, [allowed.url])
    assert isinstance(outcome, Unavailable)
    assert outcome.reason == f"http_{status[:3]}"
    assert not canaries.disturbed()


@pytest.mark.slow
def test_slow_names_are_bounded_and_hold_up_nobody_else(make: Make, tmp_path: Path) -> None:
    """Forty deliveries to ten names that hang, one to a name that answers."""
    over = threading.Event()
    asked: list[str] = []

    def look_up(host: str, family: socket.AddressFamily) -> list[ResolveResult]:
        asked.append(host)
        if host.startswith("slow"):
            over.wait(30)
            raise socket.gaierror(socket.EAI_AGAIN, "late")
        return _local_names("127.0.0.1", family)

    settings = settings_for("127.0.0.1:1", tmp_path, DispatcherSettings)
    policy = EgressPolicy.of("127.0.0.1/32", http=True)

    async def scenario(port: int) -> tuple[Outcome, float, list[Outcome]]:
        channel = WebhookChannel(policy, Vault(settings), SystemClock(), make(policy, BoundedResolver(look_up)))

        async def one(url: str) -> Outcome:
            recipient = unsigned_recipient(url, timeout=6000)
            delivery = delivery_for(recipient)
            return await channel.send(Parcel(delivery, recipient, channel.render(delivery, recipient)))

        slow = [asyncio.create_task(one(f"http://slow{n % 10}.example:{port}/")) for n in range(40)]
        await asyncio.sleep(0.05)
        started = time.monotonic()
        quick = await one(f"http://quick.example:{port}/")
        seconds = time.monotonic() - started
        late = await asyncio.gather(*slow)
        over.set()
        await channel.close()
        return quick, seconds, late

    with ScriptedServer(says("200 OK")) as server:
        quick, seconds, late = asyncio.run(scenario(server.port))
    assert quick == Accepted(200)
    assert seconds < 4.5
    assert {one.reason for one in late if isinstance(one, Unavailable)} <= {"connect_timeout", "timeout", "dns"}
    assert len(late) == 40
    assert sorted(asked) == sorted({f"slow{n}.example" for n in range(10)} | {"quick.example"}), "one thread a name"
