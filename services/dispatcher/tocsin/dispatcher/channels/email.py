"""Emails over the operator's own relay: a few lasting connections, one message a recipient address."""

from __future__ import annotations

import asyncio
import socket
import ssl
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Literal, TypeVar, cast

import aiosmtplib

from tocsin.dispatcher.channels.base import Parcel
from tocsin.dispatcher.core.mail import Letter, build_letter, render_email
from tocsin.dispatcher.core.outcomes import Accepted, Outcome, Refused, Unavailable, Unknown, excerpt_of
from tocsin.dispatcher.core.variables import Values
from tocsin.dispatcher.settings import DispatcherSettings
from tocsin.shared.configuration.records import Recipient
from tocsin.shared.schemas.delivery import Delivery, RenderedBody

COMMAND_TIMEOUT = 15.0
MAX_IDLE = 60.0
"""Seconds a connection may be idle: mail servers end them after some minutes."""

DEFAULT_PORTS = {"tls": 465, "starttls": 587, "none": 25}


@dataclass(frozen=True, slots=True)
class Relay:
    """The operator's mail server."""

    host: str
    port: int
    tls: str
    username: str | None
    password: str | None = field(repr=False)
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


class _Client(aiosmtplib.SMTP):
    """Ends a connection at once: TLS would wait for the other side's good-bye, beyond the end of the loop perhaps."""

    def close(self) -> None:
        transport = self.transport
        super().close()
        if transport is not None:
            cast(asyncio.Transport, transport).abort()


@dataclass(frozen=True, slots=True)
class _Idle:
    """A connection that waits for the next message."""

    client: aiosmtplib.SMTP
    relay: Relay
    until: float  # loop time


class EmailChannel:
    """Connects at the first delivery; a connection is used by one message at a time."""

    name = "email"

    def __init__(self, settings: DispatcherSettings) -> None:
        self._settings = settings
        self._idle: list[_Idle] = []
        self._free = asyncio.Semaphore(settings.smtp_connections)

    def render(self, delivery: Delivery, recipient: Recipient, *, still_retried: bool = False) -> RenderedBody:
        return render_email(Values.of(delivery.event, activated_still_retried=still_retried), recipient.mail)

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
            client = self._idle.pop().client
            with suppress(aiosmtplib.SMTPException, OSError, TimeoutError):
                await client.quit(timeout=1)
            client.close()
        await asyncio.sleep(0)  # aborted transports close in the next round

    async def _with_connection(self, relay: Relay, letter: Letter) -> Outcome:
        conversation = _Conversation()
        client: aiosmtplib.SMTP | None = None
        try:
            async with asyncio.timeout(self._settings.smtp_timeout / 1000):
                client = await self._connected(relay)
                outcome = await conversation.hold(client, letter)
        except (aiosmtplib.SMTPException, OSError, ssl.SSLError, TimeoutError, ValueError) as error:
            if client is not None:
                client.close()
            return conversation.classify(error)
        except BaseException:
            # Cut off in the middle: what the server would read next on this connection is unknown.
            if client is not None:
                client.close()
            raise
        self._idle.append(_Idle(client, relay, asyncio.get_running_loop().time() + MAX_IDLE))
        return outcome

    async def _connected(self, relay: Relay) -> aiosmtplib.SMTP:
        now = asyncio.get_running_loop().time()
        while self._idle:
            idle = self._idle.pop()
            if idle.relay != relay or idle.until < now:
                idle.client.close()
                continue
            try:
                await idle.client.rset()  # also tells whether the server still listens
            except (aiosmtplib.SMTPException, OSError, TimeoutError):
                idle.client.close()
            else:
                return idle.client
        client = _Client(
            hostname=relay.host,
            port=relay.port,
            username=relay.username,
            password=relay.password,
            local_hostname=socket.gethostname(),  # the default asks DNS, and the loop would wait for it
            use_tls=relay.tls == "tls",
            start_tls=relay.tls == "starttls",
            tls_context=None if relay.tls == "none" else ssl.create_default_context(cafile=relay.ca_file),
            timeout=COMMAND_TIMEOUT,
        )
        try:
            await client.connect()
        except BaseException:
            client.close()
            raise
        return client


class _Conversation:
    """One message, command by command, so that a failure is known by its place."""

    def __init__(self) -> None:
        self._place: Literal["connect", "mail", "rcpt", "data"] = "connect"

    async def hold(self, client: aiosmtplib.SMTP, letter: Letter) -> Outcome:
        self._place = "mail"
        await client.mail(letter.sender)
        self._place = "rcpt"
        await client.rcpt(letter.receiver)
        self._place = "data"
        answer = await client.data(letter.data)
        return Accepted(answer.code, excerpt_of(answer.message.encode()))

    def classify(self, error: BaseException) -> Outcome:
        match error:
            case aiosmtplib.SMTPAuthenticationError():
                return Unavailable("smtp_login", error.code, detail="the mail server refuses the login")
            case aiosmtplib.SMTPResponseException() if error.code > 0:
                return self._refusal(error.code, excerpt_of(error.message.encode()))
        if self._place == "data":
            return Unknown("connection_lost_after_data")
        if found := _in_chain(error, ssl.SSLCertVerificationError):
            return Unavailable("tls_certificate", detail=found.verify_message)
        if _in_chain(error, ssl.SSLError):
            return Unavailable("tls", detail=type(error).__name__)
        if isinstance(error, TimeoutError):
            return Unavailable("timeout")
        if isinstance(error, OSError):
            lost = "connect" if self._place == "connect" else "connection_lost"
            return Unavailable(lost, detail=type(error).__name__)
        # No STARTTLS where TLS is wanted, no login where one is set: somebody may stand between, or a setting is wrong.
        return Unavailable("tls" if "TLS" in str(error) else "smtp", detail=str(error))

    def _refusal(self, code: int, excerpt: str) -> Outcome:
        """A 5xx is final where it is about this address or this message; elsewhere it is about us, to be mended."""
        if self._place in ("rcpt", "data") and 500 <= code < 600 and code not in _ABOUT_US:
            return Refused("permanent_refusal", code, excerpt)
        if self._place == "connect":
            return Unavailable("smtp_greeting", code, excerpt)
        reason = "smtp_sender" if self._place == "mail" and code >= 500 else f"smtp_{code}"
        return Unavailable(reason, code, excerpt)


_ABOUT_US = frozenset({500, 501, 502, 503, 530, 535, 538})
"""Syntax, sequence and missing login: RFC 5321 section 4.2.3, RFC 4954 section 6."""

E = TypeVar("E", bound=BaseException)


def _in_chain(error: BaseException, kind: type[E]) -> E | None:
    """The library wraps what went wrong in errors of its own."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, kind):
            return seen
        seen = seen.__cause__ or seen.__context__
    return None
