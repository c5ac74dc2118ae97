"""`tocsin bench dispatcher`: a backlog of signed webhooks, audited and committed, beside a bare aiohttp loop.

The reference sends the same signed requests to the same receiver in the same run, as many in flight, and does nothing
else: no Kafka, no template, no audit, no commit.
"""

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
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import click
import uvloop

from tocsin.deploy.bench.common import Figure, broker, fresh_prefix, put_records, show
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
from tocsin.shared.telemetry import logs
from tocsin.shared.topic_admin import apply_topics
from tocsin.shared.topics import DELIVERIES, DELIVERY_AUDIT

BODY_BYTES = 600
IN_FLIGHT = 32  # for one recipient, as the dispatcher's default
TIMEOUT = 300.0
SECRET = "whsec_" + base64.b64encode(bytes(32)).decode()


@dataclass(frozen=True, slots=True)
class Case:
    """A backlog over so many recipients."""

    name: str
    recipients: int


CASES = (Case("backlog to one recipient", 1), Case("backlog over 100 recipients", 100))


@click.command()
@click.option("-n", "--deliveries", default=8_000, show_default=True, help="How large each backlog is.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
def dispatcher(deliveries: int, as_json: bool) -> None:
    """Webhooks a second: 600-byte bodies, signed, audited, committed."""
    logs.configure("bench", "error", "console")
    show(measure(deliveries), f"Dispatcher: backlogs of {deliveries:,}", as_json)


def measure(deliveries: int) -> Iterator[Figure]:
    """Starts what it needs, and stops it."""
    with broker() as (stack, folder), _receiver() as url:
        for case in CASES:
            settings = _settings(stack, folder)
            reference = uvloop.run(_bare_loop(url, deliveries))
            yield Figure(case.name, _run(settings, url, case, deliveries), reference, "deliveries/s")


def _settings(stack: Stack, folder: Path) -> DispatcherSettings:
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


def _run(settings: DispatcherSettings, url: str, case: Case, deliveries: int) -> float:
    recipients = [_recipient(settings, url, number) for number in range(case.recipients)]
    put_records(settings, recipients)
    _put_backlog(settings, recipients, deliveries)
    _ask(url, "DELETE")
    environment = {
        **os.environ,
        "KAFKA_BOOTSTRAP_SERVERS": settings.kafka.bootstrap_servers,
        "TOCSIN_STATE_DIR": str(settings.state_dir),
        "TOCSIN_TOPIC_PREFIX": settings.topic_prefix,
        "TOCSIN_EGRESS_ALLOW": settings.egress_allow,
        "TOCSIN_EGRESS_HTTP": "true",
        "TOCSIN_LOG_LEVEL": "warning",
    }
    process = subprocess.Popen(
        [sys.executable, "-c", "import sys; from tocsin.dispatcher.main import run_dispatcher as r; sys.exit(r())"],
        env=environment,
    )
    try:
        return _rate(settings, url, deliveries, lambda: process.poll() is None)
    finally:
        process.terminate()
        process.wait(30)


def _rate(settings: DispatcherSettings, url: str, deliveries: int, running: Callable[[], bool]) -> float:
    """From the first arrival to the last; counted only when every one has its terminal audit record."""
    until = time.monotonic() + TIMEOUT
    while (found := _ask(url))["count"] < deliveries:
        if time.monotonic() > until or not running():
            raise TocsinError(f"the dispatcher delivered {found['count']:.0f} of {deliveries}")
        time.sleep(0.1)
    while (report := read_ledger(settings)).open:
        if time.monotonic() > until:
            raise TocsinError(f"{report.open} deliveries were never settled")
        time.sleep(0.1)
    if not report.clean or report.ended != {"delivered": deliveries}:
        raise TocsinError(f"the ledger does not balance: {report}")
    return (deliveries - 1) / (found["last"] - found["first"])


async def _bare_loop(url: str, requests: int) -> float:
    key = signing_key(SECRET)
    body = render(_BODY, "application/json", Values.of(_event())).encode()
    left = iter(range(requests))

    async def worker(session: aiohttp.ClientSession) -> None:
        for _ in left:
            id_ = str(uuid.uuid4())
            headers = signature_headers((key,), id_, SystemClock().now_ms() // 1000, body)
            headers["Content-Type"] = "application/json"
            async with session.post(url, data=body, headers=headers) as response:
                await response.read()
                assert response.status == 200

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        started = time.perf_counter()
        await asyncio.gather(*(worker(session) for _ in range(IN_FLIGHT)))
        return requests / (time.perf_counter() - started)


def _recipient(settings: DispatcherSettings, url: str, number: int) -> Recipient:
    id_ = str(uuid.uuid4())
    ring = load_key_ring(None, settings.key_file(), create=True)
    secret = ring.encrypt(SECRET, id_, "webhook.authentication.secret")
    webhook = Webhook(url=f"{url}/{number}", authentication=SignedSecret(secret=secret), body=_BODY)
    return Recipient(id=id_, name=f"Receiver {number}", type="system", webhook=webhook)


def _put_backlog(settings: DispatcherSettings, recipients: Sequence[Recipient], deliveries: int) -> None:
    """As the router leaves it, with the `routed` records."""
    producer = kafka.producer(settings.kafka, linger_ms=50)
    event = _event()
    for at in range(deliveries):
        recipient = recipients[at % len(recipients)]
        one = event.model_copy(update={"id": str(uuid.uuid4()), "ordinal": at + 1})
        delivery = Delivery.model_construct(
            id=delivery_id(one.id, recipient.id),
            recipient=Ref(id=recipient.id, name=recipient.name),
            event=one,
            routed_at=SystemClock().now_ms(),
        )
        routed = {"kind": "routed", "delivery_id": delivery.id, "replay": 0, "time": "2026-11-23T10:00:00.000Z"}
        producer.produce(settings.topic(DELIVERY_AUDIT), key=delivery.id, value=json.dumps(routed))
        producer.produce(settings.topic(DELIVERIES), key=recipient.id, value=delivery.encode())
        producer.poll(0)
    producer.flush(60)


def _event() -> NotificationEvent:
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
    length = len(render(start + '"}', "application/json", Values.of(_event())))
    return start + "x" * (BODY_BYTES - length) + '"}'


_BODY = _body_template()


@contextmanager
def _receiver() -> Iterator[str]:
    process = subprocess.Popen(
        [sys.executable, "-m", "tocsin.deploy.bench.receiver"], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    try:
        yield f"http://127.0.0.1:{int(process.stdout.readline())}"
    finally:
        process.terminate()
        process.wait(10)
        process.stdout.close()


def _ask(url: str, method: str = "GET") -> dict[str, float]:
    request = urllib.request.Request(url, method=method)  # noqa: S310  our own receiver
    with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310
        found: dict[str, float] = json.loads(answer.read() or b"{}")
        return found
