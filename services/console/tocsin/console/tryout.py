"""A recipient tried out before it is saved: what would be sent, and what the receiver says to it.

Rendered, signed and sent by the dispatcher's own code, under its own rules of where requests may go.
"""

from __future__ import annotations

import asyncio
import uuid
from dataclasses import dataclass

from tocsin.console.directory import Directory
from tocsin.dispatcher.channels.base import Channel, Parcel
from tocsin.dispatcher.channels.clients import http_client
from tocsin.dispatcher.channels.email import EmailChannel
from tocsin.dispatcher.channels.vault import Vault
from tocsin.dispatcher.channels.webhook import USER_AGENT, WebhookChannel
from tocsin.dispatcher.core.egress import EgressPolicy
from tocsin.dispatcher.core.outcomes import Accepted, Outcome, Unavailable
from tocsin.dispatcher.core.templates import TemplateError
from tocsin.dispatcher.settings import DispatcherSettings
from tocsin.evaluator.core.notification import event_urls
from tocsin.shared.clock import Clock
from tocsin.shared.configuration.records import BasicAuthentication, Recipient, SignedSecret, Webhook
from tocsin.shared.schemas.base import Ref
from tocsin.shared.schemas.delivery import Delivery
from tocsin.shared.schemas.event import NotificationEvent, Threshold

MASK = "••••••••"
AT_ONCE = 4
"""Tests in flight: a console is no load generator."""

HINTS = {
    "connect_timeout": "nothing answers at that address and port: a firewall, or the wrong port",
    "timeout": "it took longer than the timeout to answer; receivers should answer first and work later",
    "dns": "that name does not resolve here; is it spelt right, and is it known to this machine's DNS?",
    "tls_certificate": "its certificate is not trusted here: self-signed, expired, or for another name",
    "tls": "it does not speak TLS as expected; is it plain http?",
    "egress_denied": "this address may not be reached from here; an administrator can open it: TOCSIN_EGRESS_ALLOW",
    "connect": "the connection was refused: is the receiver running, and is the port right?",
    "connection_lost": "it hung up in the middle: a proxy or a crash; look into its log",
    "bad_response": "what came back is no HTTP answer",
    "gone": "it says that this hook is gone: make a new one there",
    "http_401": "it wants other credentials: check the authentication and the headers",
    "http_403": "it knows who we are and refuses: check the rights of that account or token",
    "http_404": "there is nothing at that path: check the URL",
    "http_405": "it wants another request method: POST or PUT",
    "http_413": "the body is too large for it: link to lists instead of writing them out",
    "http_415": "it wants another content type: set a Content-Type header",
    "http_422": "it understood the body but not its fields: compare it with the receiver's documentation",
    "http_400": "it did not understand the body: compare it with the receiver's documentation",
    "http_429": "it wants fewer requests: set a rate",
}


@dataclass(frozen=True, slots=True)
class Line:
    """One header of a preview. A masked value is one that is secret or made when it is sent."""

    name: str
    value: str
    masked: bool = False


@dataclass(frozen=True, slots=True)
class Preview:
    """What would be sent; `problem` when it cannot be rendered."""

    channel: str
    target: str
    method: str
    headers: tuple[Line, ...]
    subject: str | None
    body: str
    size: int
    problem: str | None = None
    html: str | None = None  # of an email, beside its text


@dataclass(frozen=True, slots=True)
class Result:
    """What came of a test."""

    ok: bool
    reason: str
    status: int | None
    latency_ms: float
    answer: str
    hint: str
    event_id: str


class Tryout:
    """Of one event loop."""

    def __init__(self, settings: DispatcherSettings, policy: EgressPolicy, directory: Directory, clock: Clock) -> None:
        self._policy = policy
        self._settings = settings
        self._directory = directory
        self._clock = clock
        self._free = asyncio.Semaphore(AT_ONCE)

    def preview(self, recipient: Recipient, event: NotificationEvent) -> Preview:
        """Never raises for what the recipient says."""
        delivery = self._delivery(recipient, event)
        channel = self._channel(recipient)
        subject, body, html, problem = None, "", None, None
        try:
            rendered = channel.render(delivery, recipient)
            subject, body, html = rendered.subject, rendered.text, rendered.html
        except TemplateError as error:
            problem = str(error)
        webhook = recipient.webhook
        headers = () if webhook is None else tuple(header_lines(webhook))
        target = webhook.url if webhook else recipient.email or ""
        method = webhook.method if webhook else "EMAIL"
        return Preview(recipient.channel, target, method, headers, subject, body, len(body.encode()), problem, html)

    async def send(self, recipient: Recipient, event: NotificationEvent) -> Result:
        """One attempt, as the dispatcher would make it; nothing is retried and nothing is recorded."""
        delivery = self._delivery(recipient, event)
        channel = self._channel(recipient)  # its own: a channel remembers recipients, and this one may never be saved
        started = self._clock.monotonic()
        try:
            rendered = channel.render(delivery, recipient)
        except TemplateError as error:
            return Result(False, "template_error", None, 0.0, "", str(error), event.id)
        async with self._free:
            try:
                outcome = await channel.send(Parcel(delivery, recipient, rendered))
            finally:
                await channel.close()
        return _result(outcome, (self._clock.monotonic() - started) * 1000, event.id)

    def _channel(self, recipient: Recipient) -> Channel:
        if recipient.channel == "webhook":
            return WebhookChannel(
                self._policy, Vault(self._settings), self._clock, http_client(self._settings, self._policy)
            )
        return EmailChannel(self._settings)

    def _delivery(self, recipient: Recipient, event: NotificationEvent) -> Delivery:
        # An id of its own each time: a receiver that drops repeats would otherwise drop the second test.
        ref = Ref(id=recipient.id, name=recipient.name)
        return Delivery(id=str(uuid.uuid4()), recipient=ref, event=event, routed_at=self._clock.now_ms())

    def sample_event(self) -> NotificationEvent:
        """What a preview shows when nothing has happened yet."""
        settings = self._directory.state.settings
        activation, base = str(uuid.uuid4()), self._settings.console_url.rstrip("/")
        now = self._clock.now_ms()
        return NotificationEvent(
            id=str(uuid.uuid4()),
            kind="activated",
            ordinal=1,
            tenant_id=settings.tenant_id if settings else "00000000-0000-0000-0000-000000000000",
            activation_id=activation,
            activated_at=now,
            time=now,
            notification=Ref(id="00000000-0000-0000-0000-000000000000", name="Finance is slow (a test)"),
            description="A test sent from Tocsin's console",
            sensors=(Ref(id="s1", name="CPU busy"), Ref(id="s2", name="App hang")),
            group=Ref(id="g1", name="Finance"),
            threshold=Threshold(value="24", is_percent=True, text="24% of systems currently reporting"),
            revision="",
            matched=3,
            reporting=8,
            systems=("FIN-001", "FIN-002", "FIN-007"),
            systems_total=3,
            urls=event_urls(base, activation),
        )


def header_lines(webhook: Webhook) -> list[Line]:
    """In the order they are sent; secrets as dots."""
    given = {header.name.lower() for header in webhook.headers}
    lines = [Line("Content-Type", webhook.content_type)] if "content-type" not in given else []
    lines += [Line("User-Agent", USER_AGENT)] if "user-agent" not in given else []
    for header in webhook.headers:
        lines.append(Line(header.name, MASK if header.sensitive else header.value or "", header.sensitive))
    made = "made when it is sent"
    match webhook.authentication:
        case BasicAuthentication() as basic:
            lines.append(Line("Authorization", f"Basic {basic.username}:{MASK}", masked=True))
        case SignedSecret(scheme="github"):
            lines.append(Line("X-Hub-Signature-256", f"sha256={MASK}", masked=True))
        case SignedSecret(scheme="header") as signed:
            lines.append(Line(signed.header or "", MASK, masked=True))
        case SignedSecret() as signed:
            lines.append(Line("webhook-timestamp", made, masked=True))
            version = "v1a" if signed.scheme == "ed25519" else "v1"
            lines.append(Line("webhook-signature", f"{version},{MASK}", masked=True))
        case _:
            pass
    return [Line("webhook-id", made, masked=True), *lines]


def _result(outcome: Outcome, latency_ms: float, event_id: str) -> Result:
    if isinstance(outcome, Accepted):
        return Result(True, "accepted", outcome.status, latency_ms, outcome.excerpt, "", event_id)
    detail = outcome.detail if isinstance(outcome, Unavailable) else ""
    hint = HINTS.get(outcome.reason, "")
    if not hint and outcome.status is not None and 300 <= outcome.status < 400:
        hint = "it redirects, and redirects are never followed: use the address it points to"
    elif not hint and outcome.status is not None and outcome.status >= 500:
        hint = "the receiver itself has failed; look into its log"
    text = "; ".join(part for part in (detail, hint) if part)
    return Result(False, outcome.reason, outcome.status, latency_ms, outcome.excerpt, text, event_id)
