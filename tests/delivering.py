"""What tests of the router and the dispatcher share: records to deliver, a dispatcher on a thread or as a process."""

from __future__ import annotations

import base64
import os
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

from support import eventually, newest_change, quick_producer, read_all, settings_for, with_topics
from tocsin.dispatcher.core.audit import Origin, routed
from tocsin.dispatcher.main import build_dispatcher
from tocsin.dispatcher.settings import DispatcherSettings
from tocsin.shared.clock import SystemClock
from tocsin.shared.configuration.follower import ConfigurationFollower
from tocsin.shared.configuration.records import (
    AuthenticationOff,
    Notification,
    Recipient,
    SensorUse,
    SignedSecret,
    ThresholdSpec,
    Webhook,
)
from tocsin.shared.ids import delivery_id
from tocsin.shared.lifecycle import nowhere
from tocsin.shared.schemas.audit import TERMINAL, AuditRecord
from tocsin.shared.schemas.base import Ref
from tocsin.shared.schemas.delivery import Delivery
from tocsin.shared.schemas.event import EventUrls, NotificationEvent, Threshold
from tocsin.shared.schemas.recipient_state import RecipientState
from tocsin.shared.secrets import load_key_ring
from tocsin.shared.settings import CommonSettings
from tocsin.shared.topics import DELIVERIES, DELIVERY_AUDIT, DELIVERY_PARKED, RECIPIENT_STATE

SECRET = "whsec_" + base64.b64encode(b"a receiver's own secret, 32 byte").decode()
QUICK_TIERS = (200, 500)
NOW = 1_764_064_800_123


def dispatcher_settings(stack: Any, state_dir: Path, **given: Any) -> DispatcherSettings:
    """Topics of their own, created; loopback allowed; retries after 200 and 500 ms."""
    given.setdefault("retry_tiers", QUICK_TIERS)
    given.setdefault("egress_allow", "127.0.0.0/8")
    given.setdefault("egress_http", True)
    given.setdefault("partitions_deliveries", 2)
    given.setdefault("partitions_default", 2)
    given.setdefault("partitions_readings", 1)
    return with_topics(settings_for(stack.bootstrap_servers, state_dir, DispatcherSettings, **given))


def webhook_recipient(settings: CommonSettings, url: str, name: str = "Hook", **webhook: Any) -> Recipient:
    """A system that gets signed webhooks."""
    id_ = str(uuid.uuid4())
    if "authentication" not in webhook:
        webhook["authentication"] = signed_with(settings, id_, SECRET)
    return Recipient(id=id_, name=name, type="system", webhook=Webhook(url=url, **webhook))


def signed_with(settings: CommonSettings, recipient_id: str, secret: str, **given: Any) -> SignedSecret:
    """Encrypted for that recipient, with the keys of these settings."""
    ring = load_key_ring(None, settings.key_file(), create=True)
    return SignedSecret(secret=ring.encrypt(secret, recipient_id, "webhook.authentication.secret"), **given)


def unsigned_recipient(url: str, name: str = "Hook", **webhook: Any) -> Recipient:
    hook = Webhook(url=url, authentication=AuthenticationOff(), **webhook)
    return Recipient(id=str(uuid.uuid4()), name=name, type="system", webhook=hook)


def notification_for(*recipients: Recipient, **given: Any) -> Notification:
    return Notification(
        id=str(uuid.uuid4()),
        name=given.pop("name", "Finance is slow"),
        sensors=(SensorUse(sensor_id="s1"),),
        threshold=ThresholdSpec(value=3, is_percent=False),  # type: ignore[arg-type]
        recipient_ids=tuple(recipient.id for recipient in recipients),
        **given,
    )


def event_of(notification_id: str = "n1", ordinal: int = 1, **given: Any) -> NotificationEvent:
    return NotificationEvent(
        **{
            "id": str(uuid.uuid4()),
            "kind": "activated",
            "ordinal": ordinal,
            "tenant_id": "00000000-0000-4000-8000-000000000001",
            "activation_id": "00000000-0000-4000-8000-000000000002",
            "activated_at": NOW,
            "time": NOW,
            "notification": Ref(id=notification_id, name='Finance is "slow"'),
            "description": "Too many machines\nare busy",
            "sensors": (Ref(id="s1", name="CPU busy"),),
            "group": Ref(id="g1", name="Finance"),
            "threshold": Threshold(value="3", is_percent=False, text="3 systems currently reporting"),
            "revision": "r1",
            "matched": 3,
            "reporting": 8,
            "systems": ("FIN-1", "FIN-2"),
            "systems_total": 3,
            "urls": EventUrls(activation="http://c/a", systems_at_activation="http://c/s", systems_now="http://c/n"),
            **given,
        }
    )


def delivery_for(recipient: Recipient, **given: Any) -> Delivery:
    event = given.pop("event", None) or event_of()
    return Delivery(
        id=delivery_id(event.id, recipient.id),
        recipient=Ref(id=recipient.id, name=recipient.name),
        event=event,
        routed_at=given.pop("routed_at", None) or SystemClock().now_ms(),
        **given,
    )


def put_deliveries(settings: CommonSettings, deliveries: Iterable[Delivery]) -> list[str]:
    """As the router would, `routed` records included; the ids."""
    producer = quick_producer(settings)
    ids = []
    for fresh in deliveries:
        # The router knows every recipient it names: a dispatcher that has not heard of it yet waits.
        delivery = fresh.model_copy(update={"configuration_change": newest_change()})
        record = routed(delivery, Origin(None, "test"))
        producer.produce(settings.topic(DELIVERY_AUDIT), key=delivery.id.encode(), value=record.encode())
        producer.produce(settings.topic(DELIVERIES), key=delivery.recipient.id.encode(), value=delivery.encode())
        producer.poll(0)
        ids.append(delivery.id)
    assert producer.flush(30) == 0
    return ids


def audits(settings: CommonSettings, *kinds: str) -> list[AuditRecord]:
    found = [AuditRecord.decode(message.value()) for message in read_all(settings, DELIVERY_AUDIT)]
    return [record for record in found if not kinds or record.kind in kinds]


def terminals(settings: CommonSettings) -> Counter[tuple[str, int]]:
    """How many terminal records each (delivery, replay) has."""
    return Counter((record.delivery_id, record.replay) for record in audits(settings, *TERMINAL))


def wait_for_terminals(settings: CommonSettings, count: int, within: float = 30.0) -> list[AuditRecord]:
    return eventually(
        lambda: found if len(found := audits(settings, *TERMINAL)) >= count else None, within=within, every=0.2
    )


def parked(settings: CommonSettings) -> int:
    """How many deliveries wait in `delivery-parked`."""
    newest = {record.key(): record.value() for record in read_all(settings, DELIVERY_PARKED)}
    return sum(value is not None for value in newest.values())


def standing(settings: CommonSettings, recipient: Recipient) -> RecipientState:
    rows = {record.key(): record.value() for record in read_all(settings, RECIPIENT_STATE)}
    value = rows.get(recipient.id.encode())
    return RecipientState() if value is None else RecipientState.decode(value)


@dataclass
class RunningDispatcher:
    """A dispatcher on a thread of this process."""

    settings: DispatcherSettings
    at: Callable[[str], None] = nowhere
    extra: dict[str, Any] = field(default_factory=dict)

    def __enter__(self) -> RunningDispatcher:
        self.stopping = threading.Event()
        self.follower = ConfigurationFollower(self.settings)
        self.follower.start()
        self.dispatcher = build_dispatcher(self.settings, self.follower, at=self.at, **self.extra)
        self.dispatcher.settler.start(self.stopping.is_set)
        self.dispatcher.sender.start()
        self.dispatcher.parked.start(self.dispatcher.sender)
        self.dispatcher.intake.join()
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()
        return self

    def _run(self) -> None:
        while not self.stopping.is_set():
            self.dispatcher.intake.step()
        self.dispatcher.intake.drain(self.settings.grace(self.follower.current.recipients.values()) / 1000)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stopping.set()
        self.thread.join(60)
        self.dispatcher.parked.close()
        self.dispatcher.sender.close()
        self.dispatcher.settler.close(5)
        self.follower.close()
        assert not self.thread.is_alive()


class ServiceProcess:
    """A service as a process of its own; `crash_at` kills it at a named point, the nth time it gets there.

    `by` may be another signal than that of `kill -9`.
    """

    def __init__(
        self,
        service: str,
        settings: CommonSettings,
        log: Path,
        *,
        crash_at: str = "",
        nth: int = 1,
        environment: Mapping[str, str] | None = None,
        by: signal.Signals = signal.SIGKILL,
    ) -> None:
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("TOCSIN_")},
            "KAFKA_BOOTSTRAP_SERVERS": settings.kafka.bootstrap_servers,
            "TOCSIN_STATE_DIR": str(settings.state_dir),
            "TOCSIN_TOPIC_PREFIX": settings.topic_prefix,
            "TOCSIN_RETRY_TIERS": ",".join(f"{tier}ms" for tier in settings.retry_tiers),
            "TOCSIN_EGRESS_ALLOW": "127.0.0.0/8",
            "TOCSIN_EGRESS_HTTP": "true",
            "TOCSIN_LOG_FORMAT": "json",
            **(environment or {}),
        }
        self.log = log
        self._out = log.open("ab")
        self._said_before = log.stat().st_size
        self.process = subprocess.Popen(
            [sys.executable, "-c", _RUN, service, crash_at, str(nth), str(by.value)],
            env=environment,
            stderr=self._out,
            cwd=Path(__file__).parent,
        )

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(10)

    def stop(self, within: float = 40.0) -> int:
        """Once it has said something: what is stopped before it listens to signals just dies."""
        eventually(lambda: self.log.stat().st_size > self._said_before or self.process.poll() is not None)
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(within)

    def __enter__(self) -> ServiceProcess:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process.poll() is None:
            with suppress(subprocess.TimeoutExpired):
                self.stop(15)
        if self.process.poll() is None:
            self.kill()
        self._out.close()


_RUN = """
import os, sys
from tocsin.dispatcher.core.audit import Origin, routed
from tocsin.dispatcher.main import run_dispatcher, run_router
service, point, nth, by = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
seen = 0
def at(name):
    global seen
    seen += name == point
    if name == point and seen == nth:
        os.kill(os.getpid(), by)
sys.exit({"router": run_router, "dispatcher": run_dispatcher}[service](at))
"""


class ScriptedServer:
    """A raw TCP server: hands each request, as bytes, to `answer`, which writes what it likes to the socket."""

    def __init__(self, answer: Callable[[int, bytes, socket.socket], None], tls: ssl.SSLContext | None = None) -> None:
        self.requests: list[bytes] = []
        self.times: list[float] = []
        self.connections = 0
        self._answer = answer
        self._tls = tls
        self._socket = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port = self._socket.getsockname()[1]
        self.url = f"{'http' if tls is None else 'https'}://127.0.0.1:{self.port}/hook"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with suppress(OSError), connection:  # an SSLError is one, too
            if self._tls is not None:
                connection = self._tls.wrap_socket(connection, server_side=True)
            with connection:
                while request := _read_request(connection):
                    self.requests.append(request)
                    self.times.append(time.monotonic())
                    self._answer(len(self.requests), request, connection)

    def bodies(self) -> list[bytes]:
        return [request.partition(b"\r\n\r\n")[2] for request in self.requests]

    def __enter__(self) -> ScriptedServer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.close()


def _read_request(connection: socket.socket) -> bytes:
    data = b""
    while b"\r\n\r\n" not in data:
        piece = connection.recv(65536)
        if not piece:
            return b""
        data += piece
    head = data.partition(b"\r\n\r\n")[0].lower()
    length = next((int(line[15:]) for line in head.split(b"\r\n") if line.startswith(b"content-length:")), 0)
    while len(data) < len(head) + 4 + length:
        data += connection.recv(65536)
    return data


def says(status: str, *headers: str, body: bytes = b"") -> Callable[[int, bytes, socket.socket], None]:
    """The same answer each time."""
    head = "\r\n".join([f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers, "", ""]).encode()
    return lambda nth, request, connection: connection.sendall(head + body)


def says_in_turn(*answers: Callable[[int, bytes, socket.socket], None]) -> Callable[[int, bytes, socket.socket], None]:
    """The last one for ever."""
    return lambda nth, request, connection: answers[min(nth, len(answers)) - 1](nth, request, connection)
