"""Webhooks: one POST or PUT, signed, to a checked address, within a total time."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import assert_never

import yarl

from tocsin.dispatcher.channels.base import Parcel
from tocsin.dispatcher.channels.http import Answer, Endpoint, HttpClient, Target
from tocsin.dispatcher.channels.http_lean import LeanClient
from tocsin.dispatcher.channels.sockets import Tls
from tocsin.dispatcher.channels.vault import Vault
from tocsin.dispatcher.core.egress import EgressPolicy, check_url
from tocsin.dispatcher.core.headers import check_headers
from tocsin.dispatcher.core.outcomes import Outcome, Unavailable, classify_status, excerpt_of
from tocsin.dispatcher.core.redaction import Redactor
from tocsin.dispatcher.core.retries import parse_retry_after
from tocsin.dispatcher.core.signing import Signer, SigningSecret
from tocsin.dispatcher.core.templates import render
from tocsin.dispatcher.core.variables import DEFAULT_BODY, Values
from tocsin.shared.clock import Clock
from tocsin.shared.configuration.records import (
    AuthenticationOff,
    BasicAuthentication,
    Recipient,
    SignedSecret,
    Webhook,
)
from tocsin.shared.errors import TocsinError
from tocsin.shared.schemas.delivery import Delivery, RenderedBody

MIN_TIMEOUT, MAX_TIMEOUT = 1.0, 30.0
MIN_SECRET_PATH = 16
USER_AGENT = "Tocsin-Webhooks/1"


class _MisconfiguredError(TocsinError):
    """The recipient cannot be sent to as it stands."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class _Prepared:
    """A recipient's webhook, ready to be used many times."""

    recipient: Recipient
    endpoint: Endpoint
    signer: Signer
    permanent: tuple[int, ...]
    redact: Redactor


class WebhookChannel:
    """Opens its connections at the first delivery."""

    name = "webhook"

    def __init__(self, policy: EgressPolicy, vault: Vault, clock: Clock, client: HttpClient | None = None) -> None:
        self._policy = policy
        self._vault = vault
        self._clock = clock
        self._client = client or LeanClient(policy, Tls())
        self._prepared: dict[str, _Prepared] = {}

    def render(self, delivery: Delivery, recipient: Recipient, *, still_retried: bool = False) -> RenderedBody:
        webhook = _webhook(recipient)
        content_type = _content_type(webhook)
        source = DEFAULT_BODY if webhook.body is None else webhook.body
        values = Values.of(delivery.event, activated_still_retried=still_retried)
        return RenderedBody(content_type=content_type, text=render(source, content_type, values))

    def fits(self, rendered: RenderedBody) -> bool:
        return rendered.subject is None

    async def send(self, parcel: Parcel) -> Outcome:
        try:
            prepared = self._prepare(parcel.recipient)
        except _MisconfiguredError as error:
            return Unavailable(error.reason, detail=str(error))
        body = parcel.rendered.text.encode()
        headers = prepared.signer.headers(parcel.delivery.id, self._clock.now_ms(), body)
        headers["Content-Type"] = parcel.rendered.content_type
        answer = await prepared.endpoint.send(headers, body)
        if not isinstance(answer, Answer):
            return answer
        retry_after = parse_retry_after(answer.retry_after, self._clock.now_ms())
        # Some receivers echo what they got, secrets and all.
        excerpt = excerpt_of(prepared.redact(answer.body)) if answer.body else ""
        return classify_status(answer.status, prepared.permanent, excerpt, retry_after)

    async def close(self) -> None:
        await self._client.close()

    def _prepare(self, recipient: Recipient) -> _Prepared:
        known = self._prepared.get(recipient.id)
        # The same record is the same object until a change of the configuration replaces it.
        if known is not None:
            if known.recipient is recipient:
                return known
            self._prepared.pop(recipient.id).endpoint.close()
        webhook = _webhook(recipient)
        if problems := check_url(webhook.url, self._policy):
            raise _MisconfiguredError("egress_denied", "; ".join(problems))
        url = yarl.URL(webhook.url)
        if problems := check_headers((spec.name, spec.value) for spec in webhook.headers):
            raise _MisconfiguredError("bad_header", "; ".join(problems))
        try:
            prepared = self._open_secrets(recipient, webhook, url)
        except (TocsinError, ValueError) as error:
            raise _MisconfiguredError("secret_unavailable", str(error)) from None
        self._prepared[recipient.id] = prepared
        return prepared

    def _open_secrets(self, recipient: Recipient, webhook: Webhook, url: yarl.URL) -> _Prepared:
        headers = {"Accept": "*/*", "Accept-Encoding": "identity", "User-Agent": USER_AGENT}
        # Some services' URLs are as good as a secret.
        opened = [text for text in (webhook.url, url.raw_path_qs) if len(text) >= MIN_SECRET_PATH]
        for spec in webhook.headers:
            value = spec.value or ""
            if spec.secret is not None:
                value = self._vault.open(spec.secret, recipient.id, f"webhook.headers.{spec.name.lower()}")
                opened.append(value)
            # Replaces one of ours whatever its case.
            headers = {name: text for name, text in headers.items() if name.lower() != spec.name.lower()}
            headers[spec.name] = value
        signer = Signer(())
        match webhook.authentication:
            case AuthenticationOff():
                pass
            case BasicAuthentication() as basic:
                password = self._vault.open(basic.password, recipient.id, "webhook.authentication.password")
                pair = base64.b64encode(f"{basic.username}:{password}".encode()).decode()
                headers["Authorization"] = f"Basic {pair}"
                opened += [password, pair]
            case SignedSecret() as signed:
                found = self._open_signing(recipient.id, signed)
                signer = Signer(found, signed.header)
                opened += [one.secret for one in found]
            case _:
                assert_never(webhook.authentication)
        taken = {name.lower() for name in signer.names} | {"content-type"}
        headers = {name: text for name, text in headers.items() if name.lower() not in taken}
        timeout = min(max(webhook.timeout / 1000, MIN_TIMEOUT), MAX_TIMEOUT)
        target = Target(webhook.method, url, headers, timeout)
        return _Prepared(recipient, self._client.open(target), signer, webhook.permanent, Redactor(opened))

    def _open_signing(self, recipient_id: str, signed: SignedSecret) -> list[SigningSecret]:
        """The secret in use and the retired ones, newest first."""
        path = "webhook.authentication.secret"
        found = [SigningSecret(self._vault.open(signed.secret, recipient_id, path), signed.scheme)]
        now_ms = self._clock.now_ms()
        return found + [
            SigningSecret(self._vault.open(old.secret, recipient_id, path), old.scheme, old.until)
            for old in signed.retired
            if old.until > now_ms
        ]


def _webhook(recipient: Recipient) -> Webhook:
    assert recipient.webhook is not None, "routed to the wrong channel"
    return recipient.webhook


def _content_type(webhook: Webhook) -> str:
    for spec in webhook.headers:
        if spec.name.lower() == "content-type" and spec.value:
            return spec.value
    return webhook.content_type
