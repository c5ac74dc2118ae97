"""What every channel must do, the fake included: the same suite over all of them."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from delivering import ScriptedServer, delivery_for, event_of, says, unsigned_recipient
from mail_servers import MailServer, Replies
from support import settings_for
from tocsin.dispatcher.channels.base import Channel, Parcel
from tocsin.dispatcher.channels.clients import http_client
from tocsin.dispatcher.channels.email import EmailChannel
from tocsin.dispatcher.channels.vault import Vault
from tocsin.dispatcher.channels.webhook import WebhookChannel
from tocsin.dispatcher.core.outcomes import Accepted, Outcome, Refused, Unavailable, Unknown
from tocsin.dispatcher.settings import DispatcherSettings
from tocsin.shared.clock import SystemClock
from tocsin.shared.configuration.records import Recipient
from tocsin.shared.schemas.delivery import Delivery, RenderedBody

Say = Callable[[int, bytes, socket.socket], None]


@dataclass
class FakeChannel:
    """Does what the name of the behaviour says."""

    behaviour: str
    name: str = "fake"

    def render(self, delivery: Delivery, recipient: Recipient, *, still_retried: bool = False) -> RenderedBody:
        return RenderedBody(content_type="text/plain", text=delivery.event.id)

    def fits(self, rendered: RenderedBody) -> bool:
        return True

    async def send(self, parcel: Parcel) -> Outcome:
        answers: dict[str, Outcome] = {
            "accepts": Accepted(200),
            "refuses for ever": Refused("gone", 410),
            "is busy": Unavailable("http_503", 503),
            "is not there": Unavailable("connect"),
            "hangs": Unavailable("timeout"),
            "hangs up after the request": Unknown("connection_lost"),
        }
        return answers[self.behaviour]

    async def close(self) -> None:
        pass


def hang(nth: int, request: bytes, connection: socket.socket) -> None:
    connection.recv(1)


def hang_up(nth: int, request: bytes, connection: socket.socket) -> None:
    connection.shutdown(socket.SHUT_RDWR)


WEBHOOK: dict[str, Say] = {
    "accepts": says("200 OK"),
    "refuses for ever": says("410 Gone"),
    "is busy": says("503 Busy"),
    "hangs": hang,
    "hangs up after the request": hang_up,
}


MAIL: dict[str, Replies] = {
    "accepts": {},
    "refuses for ever": {"RCPT": b"550 5.1.1 no such user\r\n"},
    "is busy": {"RCPT": b"451 4.7.1 greylisted, come back\r\n"},
    "hangs": {"RCPT": b""},
    "hangs up after the request": {"BODY": None},
}


@asynccontextmanager
async def channel_that(kind: str, behaviour: str, tmp_path: Path) -> AsyncIterator[tuple[Channel, Parcel]]:
    timeout = 1_000 if behaviour == "hangs" else 20_000
    with ExitStack() as stack:
        channel: Channel
        if kind == "fake":
            channel, recipient = FakeChannel(behaviour), unsigned_recipient("http://fake/")
        elif kind.startswith("webhook"):
            url = f"http://127.0.0.1:{free_port()}/"
            if behaviour in WEBHOOK:
                url = stack.enter_context(ScriptedServer(WEBHOOK[behaviour])).url
            settings = email_settings(tmp_path, 1, http_client=kind.partition("-")[2])
            channel = WebhookChannel(settings.egress_policy, Vault(settings), SystemClock(), http_client(settings))
            recipient = unsigned_recipient(url, timeout=timeout)
        else:
            port = free_port()
            if behaviour != "is not there":
                port = stack.enter_context(MailServer(MAIL[behaviour])).port
            channel = EmailChannel(email_settings(tmp_path, port, smtp_timeout=timeout))
            recipient = Recipient(id="r", name="On call", type="distribution-list", email="oncall@example.com")
        delivery = delivery_for(recipient)
        try:
            yield channel, Parcel(delivery, recipient, channel.render(delivery, recipient))
        finally:
            await channel.close()


def email_settings(tmp_path: Path, port: int, **given: object) -> DispatcherSettings:
    given = {"smtp_tls": "none", "smtp_timeout": 1000, "smtp_from": "Tocsin <t@tocsin.test>", **given}
    return settings_for(
        "127.0.0.1:1", tmp_path, DispatcherSettings, smtp_host="127.0.0.1", smtp_port=port,
        egress_allow="127.0.0.0/8", egress_http=True, **given,
    )  # fmt: skip


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


@pytest.fixture(params=["fake", "webhook-lean", "webhook-aiohttp", "email"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.mark.parametrize(
    ("behaviour", "expected"),
    [
        ("accepts", Accepted),
        ("refuses for ever", Refused),
        ("is busy", Unavailable),
        ("is not there", Unavailable),
        ("hangs", Unavailable),
        ("hangs up after the request", Unknown),
    ],
)
def test_whatever_the_receiver_does_is_an_outcome_within_the_time(
    kind: str, behaviour: str, expected: type, tmp_path: Path
) -> None:
    async def scenario() -> Outcome:
        async with channel_that(kind, behaviour, tmp_path) as (channel, parcel):
            return await channel.send(parcel)

    started = time.monotonic()
    outcome = asyncio.run(scenario())
    assert isinstance(outcome, expected), outcome
    assert behaviour != "hangs" or time.monotonic() - started < 6


def test_rendering_the_same_delivery_gives_the_same_body_and_it_fits(kind: str, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with channel_that(kind, "accepts", tmp_path) as (channel, parcel):
            again = channel.render(parcel.delivery, parcel.recipient)
            assert again == parcel.rendered
            assert channel.fits(again)
            assert RenderedBody.decode(again.encode()) == again

    asyncio.run(scenario())


def test_one_channel_serves_one_delivery_after_another_and_closes_twice(kind: str, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with channel_that(kind, "accepts", tmp_path) as (channel, parcel):
            outcomes = await asyncio.gather(*(channel.send(parcel) for _ in range(10)))
            assert all(isinstance(outcome, Accepted) for outcome in outcomes)
            await channel.close()

    asyncio.run(scenario())


def test_what_was_rendered_for_one_channel_does_not_fit_the_other(tmp_path: Path) -> None:
    settings = email_settings(tmp_path, 1)
    webhook, email = WebhookChannel(settings.egress_policy, Vault(settings), SystemClock()), EmailChannel(settings)
    delivery = delivery_for(unsigned_recipient("http://x/"), event=event_of())
    assert not webhook.fits(email.render(delivery, Recipient(id="r", name="R", type="user", email="a@b.c")))
    assert not email.fits(webhook.render(delivery, unsigned_recipient("http://x/")))
