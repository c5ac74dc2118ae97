"""What the dispatcher's benchmarks work with: deliveries, a receiver, a dispatcher, and loops that do nothing else."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import subprocess
import sys
import time
import urllib.request
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import aiohttp

from tocsin.deploy.bench.common import fresh_prefix
from tocsin.deploy.stack import Stack
from tocsin.dispatcher.core.signing import signature_headers, signing_key
from tocsin.dispatcher.core.templates import render
from tocsin.dispatcher.core.variables import Values
from tocsin.dispatcher.ledger_reader import read_ledger
from tocsin.dispatcher.settings import DispatcherSettings
from tocsin.shared import kafka
from tocsin.shared.clock import SystemClock
from tocsin.shared.configuration.records import Recipient, SignedSecret, Webhook
from tocsin.shared.errors import TocsinError
from tocsin.shared.ids import delivery_id
from tocsin.shared.schemas.base import Ref
from tocsin.shared.schemas.delivery import Delivery
from tocsin.shared.schemas.event import EventUrls, NotificationEvent, Threshold
from tocsin.shared.secrets import load_key_ring
from tocsin.shared.settings import KafkaSettings
from tocsin.shared.topic_admin import apply_topics
from tocsin.shared.topics import DELIVERIES, DELIVERY_AUDIT

BODY_BYTES = 600
TIMEOUT = 300.0
SECRET = "whsec_" + base64.b64encode(bytes(32)).decode()
RUN = "import sys; from tocsin.dispatcher.main import run_dispatcher as r; sys.exit(r())"


def fresh_settings(stack: Stack, folder: Path) -> DispatcherSettings:
    """Topics of their own, created."""
    settings = DispatcherSettings.load(
        {},
        state_dir=folder,
        topic_prefix=fresh_prefix(),
        kafka=KafkaSettings({"bootstrap.servers": stack.bootstrap_servers}),
        egress_allow="127.0.0.0/8",
        egress_http=True,
    )
    apply_topics(settings)
    return settings


def recipient_of(settings: DispatcherSettings, url: str, number: int) -> Recipient:
    id_ = str(uuid.uuid4())
    ring = load_key_ring(None, settings.key_file(), create=True)
    secret = ring.encrypt(SECRET, id_, "webhook.authentication.secret")
    webhook = Webhook(url=f"{url}/{number}", authentication=SignedSecret(secret=secret), body=BODY)
    return Recipient(id=id_, name=f"Receiver {number}", type="system", webhook=webhook)


def delivery_to(recipient: Recipient, event: NotificationEvent, ordinal: int) -> Delivery:
    one = event.model_copy(update={"id": str(uuid.uuid4()), "ordinal": ordinal})
    return Delivery.model_construct(
        id=delivery_id(one.id, recipient.id),
        recipient=Ref(id=recipient.id, name=recipient.name),
        event=one,
        routed_at=SystemClock().now_ms(),
    )


class Feeder:
    """Puts deliveries as the router would, with the `routed` records."""

    def __init__(self, settings: DispatcherSettings, linger_ms: int) -> None:
        self._producer = kafka.producer(settings.kafka, linger_ms=linger_ms)
        self._audit, self._deliveries = settings.topic(DELIVERY_AUDIT), settings.topic(DELIVERIES)
        self._event = event_of()
        self._count = 0

    def put(self, recipient: Recipient) -> str:
        """The delivery's id."""
        self._count += 1
        delivery = delivery_to(recipient, self._event, self._count)
        routed = {"kind": "routed", "delivery_id": delivery.id, "replay": 0, "time": "2026-11-23T10:00:00.000Z"}
        self._produce(self._audit, delivery.id, json.dumps(routed).encode())
        self._produce(self._deliveries, recipient.id, delivery.encode())
        self._producer.poll(0)
        return delivery.id

    def _produce(self, topic: str, key: str, value: bytes) -> None:
        while True:
            try:
                return self._producer.produce(topic, value, key)
            except BufferError:
                self._producer.poll(0.1)

    def flush(self) -> None:
        self._producer.flush(60)

    def at_rate(self, recipients: Sequence[Recipient], rate: float, seconds: float) -> dict[str, tuple[str, float]]:
        """So many a second, to each in turn: (recipient id, when it was put) by delivery id."""
        sent: dict[str, tuple[str, float]] = {}
        began = time.monotonic()
        for number in range(int(rate * seconds)):
            time.sleep(max(0.0, began + number / rate - time.monotonic()))
            recipient = recipients[number % len(recipients)]
            at = SystemClock().now_ms() / 1000
            sent[self.put(recipient)] = (recipient.id, at)
        self.flush()
        return sent


@contextmanager
def dispatcher(settings: DispatcherSettings, **environment: str) -> Iterator[subprocess.Popen[bytes]]:
    """A dispatcher as a process of its own."""
    given = {
        **os.environ,
        "KAFKA_BOOTSTRAP_SERVERS": settings.kafka.bootstrap_servers,
        "TOCSIN_STATE_DIR": str(settings.state_dir),
        "TOCSIN_TOPIC_PREFIX": settings.topic_prefix,
        "TOCSIN_EGRESS_ALLOW": settings.egress_allow,
        "TOCSIN_EGRESS_HTTP": "true",
        "TOCSIN_LOG_LEVEL": "error",
        **environment,
    }
    process = subprocess.Popen([sys.executable, "-c", RUN], env=given)
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(10)


class Receiver:
    """The receiver's process, asked."""

    def __init__(self, url: str) -> None:
        self.url = url

    def ask(self, path: str = "", method: str = "GET") -> dict[str, float]:
        request = urllib.request.Request(f"{self.url}/{path}", method=method)  # noqa: S310  our own
        with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310
            found: dict[str, float] = json.loads(answer.read() or b"{}")
            return found

    def begin(self) -> None:
        self.ask(method="DELETE")

    def wait_for(self, count: int, process: subprocess.Popen[bytes]) -> dict[str, float]:
        """Raises TocsinError when they do not come."""
        until = time.monotonic() + TIMEOUT
        while (found := self.ask())["count"] < count:
            if time.monotonic() > until or process.poll() is not None:
                raise TocsinError(f"the dispatcher delivered {found['count']:.0f} of {count}")
            time.sleep(0.1)
        return found


@contextmanager
def receiver() -> Iterator[Receiver]:
    process = subprocess.Popen(
        [sys.executable, "-m", "tocsin.deploy.bench.receiver"], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    try:
        yield Receiver(f"http://127.0.0.1:{int(process.stdout.readline())}")
    finally:
        process.terminate()
        process.wait(10)
        process.stdout.close()


def wait_until_settled(settings: DispatcherSettings, count: int) -> None:
    """Every one has exactly one terminal record. Raises TocsinError."""
    until = time.monotonic() + TIMEOUT
    while (report := read_ledger(settings)).open:
        if time.monotonic() > until:
            raise TocsinError(f"{report.open} deliveries were never settled")
        time.sleep(0.1)
    if not report.clean or report.ended != {"delivered": count}:
        raise TocsinError(f"the ledger does not balance: {report}")


async def bare_loop(url: str, requests: int, in_flight: int) -> float:
    """Signed requests a second, and nothing else."""
    key = signing_key(SECRET)
    body = render(BODY, "application/json", Values.of(event_of())).encode()
    left = iter(range(requests))

    async def worker(session: aiohttp.ClientSession) -> None:
        for _ in left:
            headers = signature_headers((key,), str(uuid.uuid4()), SystemClock().now_ms() // 1000, body)
            headers["Content-Type"] = "application/json"
            async with session.post(url, data=body, headers=headers) as response:
                await response.read()
                assert response.status == 200

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        started = time.perf_counter()
        await asyncio.gather(*(worker(session) for _ in range(in_flight)))
        return requests / (time.perf_counter() - started)


async def consume_and_post(settings: DispatcherSettings, url: str, count: int) -> None:
    """The least there can be between `deliveries` and a receiver: no template, no audit, no commit."""
    key = signing_key(SECRET)
    body = render(BODY, "application/json", Values.of(event_of())).encode()
    consumer = kafka.consumer(settings.kafka, f"bare-{uuid.uuid4()}", fetch_wait_max_ms=100)
    consumer.subscribe([settings.topic(DELIVERIES)])
    loop = asyncio.get_running_loop()
    tasks: set[asyncio.Task[None]] = set()

    async def post(session: aiohttp.ClientSession, id_: str) -> None:
        headers = signature_headers((key,), id_, SystemClock().now_ms() // 1000, body)
        async with session.post(url, data=body, headers={**headers, "Content-Type": "application/json"}) as response:
            await response.read()

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        until = loop.time() + TIMEOUT
        while count and loop.time() < until:
            message = await loop.run_in_executor(None, consumer.poll, 0.1)
            if message is not None and message.error() is None:
                count -= 1
                tasks.add(loop.create_task(post(session, json.loads(message.value() or b"{}")["id"])))
        await asyncio.gather(*tasks)
    consumer.close()


def event_of() -> NotificationEvent:
    return NotificationEvent(
        id=str(uuid.uuid4()),
        kind="activated",
        ordinal=1,
        tenant_id=str(uuid.uuid4()),
        activation_id=str(uuid.uuid4()),
        activated_at=1_764_064_800_123,
        time=1_764_064_800_123,
        notification=Ref(id=str(uuid.uuid4()), name="Finance is slow"),
        sensors=(Ref(id=str(uuid.uuid4()), name="CPU busy"),),
        threshold=Threshold(value="25", is_percent=True, text="25% of systems currently reporting"),
        revision="0123456789abcdef",
        matched=3,
        reporting=8,
        systems=tuple(f"FIN-{number:03}" for number in range(3)),
        systems_total=3,
        urls=EventUrls(
            activation="http://127.0.0.1/activations/1",
            systems_at_activation="http://127.0.0.1/api/activations/1/systems?at=activation",
            systems_now="http://127.0.0.1/api/activations/1/systems",
        ),
    )


def _body_template() -> str:
    fields = ("notificationActivationId", "notificationName", "activationThresholdText", "systemsCurrentlyAffectedURL")
    start = "{" + "".join(f'"{name}": "@{{{name}}}", ' for name in fields) + '"eventKind": "@{eventKind}", "padding": "'
    length = len(render(start + '"}', "application/json", Values.of(event_of())))
    return start + "x" * (BODY_BYTES - length) + '"}'


BODY = _body_template()
