"""Mail servers as they are: strict, slow, half broken, or with somebody in between."""

from __future__ import annotations

import asyncio
import time
from email import message_from_bytes
from pathlib import Path
from typing import Any

import pytest

from certificates import Authority
from delivering import delivery_for, unsigned_recipient
from mail_servers import MailServer, Replies
from support import settings_for
from tocsin.dispatcher.channels.base import Parcel
from tocsin.dispatcher.channels.email import EmailChannel
from tocsin.dispatcher.core.outcomes import Accepted, Outcome, Refused, Unavailable, Unknown
from tocsin.dispatcher.settings import DispatcherSettings
from tocsin.shared.configuration.records import MailTemplates, Recipient
from tocsin.shared.event_loop import new_event_loop

ON_CALL = Recipient(id="r", name="On call", type="distribution-list", email="oncall@example.com")


def send(
    tmp_path: Path,
    server: MailServer,
    times: int = 1,
    *,
    at_once: bool = False,
    recipient: Recipient = ON_CALL,
    **given: Any,
) -> list[Outcome]:
    given = {
        "smtp_host": "localhost",
        "smtp_tls": "none",
        "smtp_timeout": 1000,
        "smtp_from": "T <t@tocsin.test>",
    } | given
    settings = settings_for("127.0.0.1:1", tmp_path, DispatcherSettings, smtp_port=server.port, **given)

    async def scenario() -> list[Outcome]:
        channel = EmailChannel(settings)
        delivery = delivery_for(unsigned_recipient("http://x/"))
        parcel = Parcel(delivery, recipient, channel.render(delivery, recipient))
        if at_once:
            outcomes = await asyncio.gather(*(channel.send(parcel) for _ in range(times)))
        else:
            outcomes = [await channel.send(parcel) for _ in range(times)]
        await channel.close()
        return outcomes

    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        return runner.run(scenario())


def reasons(outcomes: list[Outcome]) -> list[str]:
    return [getattr(outcome, "reason", "accepted") for outcome in outcomes]


@pytest.mark.parametrize(
    ("replies", "expected"),
    [
        ({"RCPT": b"550 5.1.1 no such user\r\n"}, Refused("permanent_refusal", 550)),
        ({"RCPT": b"553 5.1.3 bad address\r\n"}, Refused("permanent_refusal", 553)),
        ({"DATA": b"554 5.7.1 we take no mail\r\n"}, Refused("permanent_refusal", 554)),
        ({"BODY": b"552 5.3.4 too large\r\n"}, Refused("permanent_refusal", 552)),
        ({"RCPT": b"451 4.7.1 greylisted\r\n"}, Unavailable("smtp_451", 451)),
        ({"RCPT": b"450-4.2.1 first\r\n450 4.2.1 second line\r\n"}, Unavailable("smtp_450", 450)),
        ({"BODY": b"452 4.3.1 disk full\r\n"}, Unavailable("smtp_452", 452)),
        ({"MAIL": b"550 5.7.1 not this sender\r\n"}, Unavailable("smtp_sender", 550)),
        ({"MAIL": b"421 4.3.2 closing\r\n"}, Unavailable("smtp_421", 421)),
        ({"RCPT": b"530 5.7.0 log in first\r\n"}, Unavailable("smtp_530", 530)),
        ({"GREETING": b"554 5.7.1 blocked\r\n"}, Unavailable("smtp_greeting", 554)),
        ({"GREETING": b"421 4.3.2 too many connections\r\n"}, Unavailable("smtp_greeting", 421)),
        ({"GREETING": None}, Unavailable("connect")),
        ({"GREETING": b""}, Unavailable("timeout")),
        ({"EHLO": None}, Unavailable("connection_lost")),
        ({"MAIL": None}, Unavailable("connection_lost")),
        ({"RCPT": b""}, Unavailable("timeout")),
        ({"BODY": None}, Unknown("connection_lost_after_data")),
        ({"BODY": b""}, Unknown("connection_lost_after_data")),
        ({"RCPT": b"what?\r\n"}, Unavailable("smtp")),
        ({"EHLO": b"250-" + b"x" * 100_000 + b"\r\n"}, Unavailable("smtp")),
    ],
    ids=lambda value: str(value)[:40],
)
def test_what_it_answers_decides(tmp_path: Path, replies: Replies, expected: Outcome) -> None:
    with MailServer(replies) as server:
        started = time.monotonic()
        hangs = b"" in replies.values()
        (outcome,) = send(tmp_path, server, smtp_timeout=2_000 if hangs else 20_000)
        assert not hangs or time.monotonic() - started < 10
    assert type(outcome) is type(expected), outcome
    assert reasons([outcome]) == reasons([expected])
    if expected.status is not None:
        assert outcome.status == expected.status
        assert outcome.excerpt


def test_a_message_that_may_have_arrived_comes_again_under_the_same_id(tmp_path: Path) -> None:
    with MailServer({"BODY": None}) as server:
        assert reasons(send(tmp_path, server, times=2)) == ["connection_lost_after_data"] * 2
    first, second = (message_from_bytes(message) for message in server.messages)
    assert first["Message-ID"] == second["Message-ID"]
    assert server.messages[0] == server.messages[1]


def test_a_tarpit_is_bounded_by_the_total_time(tmp_path: Path) -> None:
    with MailServer(delay=0.4) as server:
        started = time.monotonic()
        (outcome,) = send(tmp_path, server, smtp_timeout=1_000)
        assert 0.9 < time.monotonic() - started < 8
    assert outcome == Unavailable("timeout")


def test_connections_are_kept_and_never_more_than_allowed(tmp_path: Path) -> None:
    with MailServer() as server:
        assert send(tmp_path, server, times=12) == [Accepted(250, "2.0.0 kept")] * 12
        assert server.connections == 1
    with MailServer() as server:
        send(tmp_path, server, times=12, at_once=True, smtp_connections=3)
        assert server.connections == 3
        assert len(server.messages) == 12
    assert server.commands.count("QUIT") == 3


def test_a_kept_connection_that_has_ended_costs_no_attempt(tmp_path: Path) -> None:
    with MailServer({"RSET": None}) as server:
        assert reasons(send(tmp_path, server, times=3)) == ["accepted"] * 3
        assert server.connections == 3


@pytest.mark.parametrize("tls", ["starttls", "tls"])
def test_tls_and_login(tmp_path: Path, tls: str) -> None:
    authority = Authority.made_in(tmp_path)
    login = {"smtp_username": "tocsin", "smtp_password": "hush", "smtp_ca_file": authority.file, "smtp_tls": tls}
    with MailServer(tls=authority.server(), implicit=tls == "tls", login=("tocsin", "hush")) as server:
        assert reasons(send(tmp_path, server, times=2, **login)) == ["accepted"] * 2
        assert server.connections == 1
        (refused,) = send(tmp_path, server, **login | {"smtp_password": "wrong"})
        (nobody,) = send(tmp_path, server, **login | {"smtp_username": None})
    assert refused == Unavailable("smtp_login", 535, detail="the mail server refuses the login")
    assert nobody == Unavailable("smtp_sender", 530, "5.7.0 authentication required")
    assert len(server.messages) == 2
    if tls == "starttls":
        assert [one.split()[0] for one in server.commands[:4]] == ["EHLO", "STARTTLS", "EHLO", "AUTH"]


def test_a_recipients_own_words_go_through_a_login(tmp_path: Path) -> None:
    authority = Authority.made_in(tmp_path)
    login = {"smtp_username": "tocsin", "smtp_password": "hush", "smtp_ca_file": authority.file, "smtp_tls": "starttls"}
    words = MailTemplates(subject="Now: @{notificationName}", text="@{matchedCount} of @{reportingCount}")
    recipient = ON_CALL.model_copy(update={"mail": words})
    with MailServer(tls=authority.server(), login=("tocsin", "hush")) as server:
        assert reasons(send(tmp_path, server, recipient=recipient, **login)) == ["accepted"]
    message = message_from_bytes(server.messages[0])
    assert message["Subject"] == 'Now: Finance is "slow"'
    assert (message.get_content_type(), message.get_payload(decode=True).strip()) == ("text/plain", b"3 of 8")


@pytest.mark.parametrize("tls", ["starttls", "tls"])
@pytest.mark.parametrize("certificate", ["of another name", "expired", "of an unknown authority"])
def test_a_certificate_that_does_not_verify_gets_neither_login_nor_mail(
    tmp_path: Path, tls: str, certificate: str
) -> None:
    authority = Authority.made_in(tmp_path)
    context = {
        "of another name": lambda: authority.server("other.example"),
        "expired": lambda: authority.server(days=-1),
        "of an unknown authority": authority.server,
    }[certificate]()
    trusted = None if certificate == "of an unknown authority" else authority.file
    with MailServer(tls=context, implicit=tls == "tls", login=("tocsin", "hush")) as server:
        (outcome,) = send(
            tmp_path, server, smtp_tls=tls, smtp_ca_file=trusted, smtp_username="tocsin", smtp_password="hush"
        )
    assert isinstance(outcome, Unavailable)
    assert outcome.reason == "tls_certificate"
    assert outcome.detail
    assert [one for one in server.commands if one.startswith(("AUTH", "MAIL"))] == []


@pytest.mark.parametrize(
    "replies", [{}, {"STARTTLS": b"454 4.7.0 not now\r\n"}, {"STARTTLS": b"220 ok\r\nnot TLS at all\r\n"}], ids=str
)
def test_who_strips_starttls_gets_no_mail(tmp_path: Path, replies: Replies) -> None:
    """Nothing goes out in the clear, neither login nor message."""
    context = Authority.made_in(tmp_path).server() if replies else None
    with MailServer(replies, tls=context) as server:
        (outcome,) = send(tmp_path, server, smtp_tls="starttls", smtp_username="tocsin", smtp_password="hush")
    assert isinstance(outcome, Unavailable), outcome
    assert outcome.reason in ("tls", "smtp_greeting", "tls_certificate", "connect"), outcome
    assert [one for one in server.commands if one.startswith(("AUTH", "MAIL"))] == []
    assert server.messages == []


def test_a_login_that_the_server_does_not_offer_is_said(tmp_path: Path) -> None:
    with MailServer() as server:
        (outcome,) = send(tmp_path, server, smtp_username="tocsin", smtp_password="hush")
    assert isinstance(outcome, Unavailable)
    assert "hush" not in repr(outcome)
    assert outcome.detail
    assert server.messages == []
