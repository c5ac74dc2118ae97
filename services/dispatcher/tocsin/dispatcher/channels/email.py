"""Emails over the operator's own relay: a few lasting connections, one message a recipient address."""

from __future__ import annotations

import asyncio
import ssl
from contextlib import suppress
from dataclasses import dataclass

import aiosmtplib

from tocsin.dispatcher.channels.base import Parcel
from tocsin.dispatcher.core.mail import Letter, build_letter, render_email
from tocsin.dispatcher.core.outcomes import Accepted, Outcome, Refused, Unavailable, Unknown, excerpt_of
from tocsin.dispatcher.core.variables import Values
from tocsin.dispatcher.settings import DispatcherSettings
from tocsin.shared.configuration.records import Recipient
from tocsin.shared.schemas.delivery import Delivery, RenderedBody

COMMAND_TIMEOUT = 15.0
DEFAULT_PORTS = {"tls": 465, "starttls": 587, "none": 25}


@dataclass(frozen=True, slots=True)
class Relay:
    """The operator's mail server."""

    host: str
    port: int
    tls: str
    username: str | None
    password: str | None
    ca_file: str | None

    @classmethod
    def of(cls, settings: DispatcherSettings) -> Relay | None:
        """From the settings, else the local stack's mail sink; None when there is neither."""
        if settings.smtp_host is not None:
            return cls(
                settings.smtp_host,
                settings.smtp_port or DEFAULT_PORTS[settings.smtp_tls],
                settings.smtp_tls,
                settings.smtp_username,
                settings.smtp_password.get_secret_value() if settings.smtp_password else None,
                str(settings.smtp_ca_file) if settings.smtp_ca_file else None,
            )
        sink = settings.local_stack().get("smtp")
        return cls(sink["host"], sink["port"], "none", None, None, None) if sink else None


class EmailChannel:
    """Connects at the first delivery; a connection is used by one message at a time."""

    name = "email"

    def __init__(self, settings: DispatcherSettings) -> None:
        self._settings = settings
        self._idle: list[aiosmtplib.SMTP] = []
        self._free = asyncio.Semaphore(settings.smtp_connections)

    def render(self, delivery: Delivery, recipient: Recipient) -> RenderedBody:
        return render_email(Values.of(delivery.event))

    def fits(self, rendered: RenderedBody) -> bool:
        return rendered.subject is not None

    async def send(self, parcel: Parcel) -> Outcome:
        try:
            letter = build_letter(parcel.delivery, parcel.recipient, parcel.rendered, self._settings.smtp_from)
        except ValueError as error:
            return Refused("bad_address", detail=str(error))
        relay = Relay.of(self._settings)
        if relay is None:
            return Unavailable("no_mail_server", detail="set TOCSIN_SMTP_HOST, or run `tocsin stack up`")
        async with self._free:
            return await self._with_connection(relay, letter)

    async def close(self) -> None:
        while self._idle:
            client = self._idle.pop()
            with suppress(aiosmtplib.SMTPException, OSError, TimeoutError):
                await client.quit(timeout=1)
            client.close()

    async def _with_connection(self, relay: Relay, letter: Letter) -> Outcome:
        conversation = _Conversation()
        client: aiosmtplib.SMTP | None = None
        try:
            async with asyncio.timeout(self._settings.smtp_timeout / 1000):
                client = await self._connected(relay)
                outcome = await conversation.hold(client, letter)
        except (aiosmtplib.SMTPException, OSError, ssl.SSLError, TimeoutError) as error:
            if client is not None:
                client.close()
            return conversation.classify(error)
        except BaseException:
            # Cut off in the middle: what the server would read next on this connection is unknown.
            if client is not None:
                client.close()
            raise
        self._idle.append(client)
        return outcome

    async def _connected(self, relay: Relay) -> aiosmtplib.SMTP:
        while self._idle:
            client = self._idle.pop()
            try:
                await client.rset()  # also tells whether the server still listens
            except (aiosmtplib.SMTPException, OSError, TimeoutError):
                client.close()
            else:
                return client
        client = aiosmtplib.SMTP(
            hostname=relay.host,
            port=relay.port,
            username=relay.username,
            password=relay.password,
            use_tls=relay.tls == "tls",
            start_tls=relay.tls == "starttls",
            tls_context=None if relay.tls == "none" else ssl.create_default_context(cafile=relay.ca_file),
            timeout=COMMAND_TIMEOUT,
        )
        await client.connect()
        return client


class _Conversation:
    """One message, command by command, so that a failure is known by its place."""

    def __init__(self) -> None:
        self._connected = False
        self._body_sent = False

    async def hold(self, client: aiosmtplib.SMTP, letter: Letter) -> Outcome:
        self._connected = True
        await client.mail(letter.sender)
        await client.rcpt(letter.receiver)
        self._body_sent = True
        answer = await client.data(letter.data)
        return Accepted(answer.code, excerpt_of(answer.message.encode()))

    def classify(self, error: BaseException) -> Outcome:
        match error:
            case aiosmtplib.SMTPAuthenticationError():
                return Unavailable("smtp_login", error.code, detail="the mail server refuses the login")
            case aiosmtplib.SMTPConnectResponseError() | aiosmtplib.SMTPHeloError():
                return Unavailable("smtp_greeting", error.code)
            case aiosmtplib.SMTPResponseException() if self._connected and 500 <= error.code < 600:
                return Refused("permanent_refusal", error.code, excerpt_of(error.message.encode()))
            case aiosmtplib.SMTPResponseException() if error.code > 0:
                return Unavailable(f"smtp_{error.code}", error.code, excerpt_of(error.message.encode()))
            case aiosmtplib.SMTPRecipientsRefused():
                return Refused("permanent_refusal", detail="the mail server refuses the address")
        if self._body_sent:
            return Unknown("connection_lost_after_data")
        if isinstance(error, (ssl.SSLError, aiosmtplib.SMTPNotSupported)):
            return Unavailable("tls", detail=type(error).__name__)
        if isinstance(error, TimeoutError):
            return Unavailable("timeout")
        return Unavailable("connect" if not self._connected else "connection_lost", detail=type(error).__name__)
