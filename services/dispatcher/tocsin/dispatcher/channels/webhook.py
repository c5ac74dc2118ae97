"""Webhooks: one POST or PUT, signed, to a checked address, within a total time."""

from __future__ import annotations

import asyncio
import base64
from dataclasses import dataclass
from typing import assert_never

import aiohttp
import yarl

from tocsin.dispatcher.channels.base import Parcel
from tocsin.dispatcher.channels.sockets import DENIED, BoundedResolver, guarded_socket
from tocsin.dispatcher.channels.vault import Vault
from tocsin.dispatcher.core.egress import EgressPolicy, check_url
from tocsin.dispatcher.core.headers import check_headers
from tocsin.dispatcher.core.outcomes import Outcome, Unavailable, Unknown, classify_status, excerpt_of
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

CONNECT_TIMEOUT = 5.0
MIN_TIMEOUT, MAX_TIMEOUT = 1.0, 30.0
MAX_RESPONSE_BYTES = 16 * 1024
KEEPALIVE = 10.0
"""Shorter than any usual server's: a connection the server closes as we write looks like a lost answer."""

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
    method: str
    url: yarl.URL
    headers: dict[str, str]
    signer: Signer
    timeout: aiohttp.ClientTimeout
    permanent: tuple[int, ...]


class WebhookChannel:
    """Opens its connections at the first delivery."""

    name = "webhook"

    def __init__(self, policy: EgressPolicy, vault: Vault, clock: Clock) -> None:
        self._policy = policy
        self._vault = vault
        self._clock = clock
        self._session: aiohttp.ClientSession | None = None
        self._prepared: dict[str, _Prepared] = {}

    def render(self, delivery: Delivery, recipient: Recipient) -> RenderedBody:
        webhook = _webhook(recipient)
        content_type = _content_type(webhook)
        source = DEFAULT_BODY if webhook.body is None else webhook.body
        return RenderedBody(content_type=content_type, text=render(source, content_type, Values.of(delivery.event)))

    def fits(self, rendered: RenderedBody) -> bool:
        return rendered.subject is None

    async def send(self, parcel: Parcel) -> Outcome:
        try:
            prepared = self._prepare(parcel.recipient)
        except _MisconfiguredError as error:
            return Unavailable(error.reason, detail=str(error))
        body = parcel.rendered.text.encode()
        headers = {**prepared.headers, "Content-Type": parcel.rendered.content_type}
        headers |= prepared.signer.headers(parcel.delivery.id, self._clock.now_ms(), body)
        try:
            return await self._exchange(prepared, headers, body)
        except (aiohttp.ClientError, OSError, ValueError) as error:
            return _classify(error)

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()

    async def _exchange(self, prepared: _Prepared, headers: dict[str, str], body: bytes) -> Outcome:
        async with self._open_session().request(
            prepared.method,
            prepared.url,
            data=body,
            headers=headers,
            timeout=prepared.timeout,
            allow_redirects=False,
        ) as response:
            excerpt = excerpt_of(await _read_some(response))
            retry_after = parse_retry_after(response.headers.get("Retry-After"), self._clock.now_ms())
            return classify_status(response.status, prepared.permanent, excerpt, retry_after)

    def _open_session(self) -> aiohttp.ClientSession:
        if self._session is None:
            connector = aiohttp.TCPConnector(
                limit=0,  # the lanes bound what is in flight
                resolver=BoundedResolver(),
                socket_factory=guarded_socket(self._policy),
                keepalive_timeout=KEEPALIVE,
            )
            self._session = aiohttp.ClientSession(
                connector=connector,
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
                trust_env=False,
                read_bufsize=MAX_RESPONSE_BYTES,
            )
        return self._session

    def _prepare(self, recipient: Recipient) -> _Prepared:
        known = self._prepared.get(recipient.id)
        # The same record is the same object until a change of the configuration replaces it.
        if known is not None and known.recipient is recipient:
            return known
        webhook = _webhook(recipient)
        if problems := check_url(webhook.url, self._policy):
            raise _MisconfiguredError("egress_denied", "; ".join(problems))
        if problems := check_headers((spec.name, spec.value) for spec in webhook.headers):
            raise _MisconfiguredError("bad_header", "; ".join(problems))
        try:
            prepared = self._open_secrets(recipient, webhook)
        except (TocsinError, ValueError) as error:
            raise _MisconfiguredError("secret_unavailable", str(error)) from None
        self._prepared[recipient.id] = prepared
        return prepared

    def _open_secrets(self, recipient: Recipient, webhook: Webhook) -> _Prepared:
        headers = {"Accept": "*/*", "Accept-Encoding": "identity", "User-Agent": USER_AGENT}
        for spec in webhook.headers:
            value = spec.value or ""
            if spec.secret is not None:
                value = self._vault.open(spec.secret, recipient.id, f"webhook.headers.{spec.name.lower()}")
            # Replaces one of ours whatever its case; the type goes with the body.
            headers = {name: text for name, text in headers.items() if name.lower() != spec.name.lower()}
            if spec.name.lower() != "content-type":
                headers[spec.name] = value
        signer = Signer(())
        match webhook.authentication:
            case AuthenticationOff():
                pass
            case BasicAuthentication() as basic:
                password = self._vault.open(basic.password, recipient.id, "webhook.authentication.password")
                pair = base64.b64encode(f"{basic.username}:{password}".encode()).decode()
                headers["Authorization"] = f"Basic {pair}"
            case SignedSecret() as signed:
                signer = self._open_signer(recipient.id, signed)
            case _:
                assert_never(webhook.authentication)
        total = min(max(webhook.timeout / 1000, MIN_TIMEOUT), MAX_TIMEOUT)
        return _Prepared(
            recipient,
            webhook.method,
            yarl.URL(webhook.url),
            headers,
            signer,
            aiohttp.ClientTimeout(total=total, connect=min(CONNECT_TIMEOUT, total), ceil_threshold=MAX_TIMEOUT + 1),
            webhook.permanent,
        )

    def _open_signer(self, recipient_id: str, signed: SignedSecret) -> Signer:
        path = "webhook.authentication.secret"
        found = [SigningSecret(self._vault.open(signed.secret, recipient_id, path), signed.scheme)]
        now_ms = self._clock.now_ms()
        found += [
            SigningSecret(self._vault.open(old.secret, recipient_id, path), old.scheme, old.until)
            for old in signed.retired
            if old.until > now_ms
        ]
        return Signer(found, signed.header)


def _webhook(recipient: Recipient) -> Webhook:
    assert recipient.webhook is not None, "routed to the wrong channel"
    return recipient.webhook


def _content_type(webhook: Webhook) -> str:
    given = (spec.value for spec in webhook.headers if spec.name.lower() == "content-type")
    return next(given, None) or webhook.content_type


async def _read_some(response: aiohttp.ClientResponse) -> bytes:
    """At most 16 KiB; a longer body is cut off with its connection."""
    found = bytearray()
    while len(found) < MAX_RESPONSE_BYTES:
        piece = await response.content.read(MAX_RESPONSE_BYTES - len(found))
        if not piece:
            return bytes(found)
        found += piece
    if not response.content.at_eof():
        response.close()
    return bytes(found)


def _classify(error: Exception) -> Outcome:  # noqa: C901  a table, one line a cause
    match error:
        case aiohttp.ConnectionTimeoutError():
            return Unavailable("connect_timeout")
        case asyncio.TimeoutError():
            return Unavailable("timeout")
        case aiohttp.ClientConnectorDNSError():
            return Unavailable("dns")
        case aiohttp.ClientConnectorCertificateError():
            return Unavailable("tls_certificate", detail=str(error.certificate_error))
        case aiohttp.ClientSSLError():
            return Unavailable("tls")
        case aiohttp.ClientConnectorError() if DENIED in str(error):
            return Unavailable("egress_denied", detail=str(error.os_error))
        case aiohttp.ClientConnectorError():
            return Unavailable("connect", detail=str(error.os_error))
        case aiohttp.ClientResponseError():
            return Unavailable("bad_response")
        case aiohttp.ServerConnectionError() | aiohttp.ClientPayloadError() | aiohttp.ClientOSError() | OSError():
            return Unknown("connection_lost")
        case aiohttp.InvalidURL() | ValueError():
            return Unavailable("misconfigured", detail=type(error).__name__)
        case _:
            return Unknown("connection_lost")
