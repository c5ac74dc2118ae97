"""What mail servers do to a whole dispatcher: never early, never lost, same id and message, others unaffected."""

from __future__ import annotations

from email import message_from_bytes
from pathlib import Path

import pytest

from certificates import Authority
from delivering import (
    SECRET,
    RunningDispatcher,
    audits,
    delivery_for,
    dispatcher_settings,
    put_deliveries,
    terminals,
    wait_for_terminals,
    webhook_recipient,
)
from mail_servers import MailServer, Replies
from receiver import Receiver
from support import eventually, put_records, read_all
from tocsin.deploy.stack import Stack
from tocsin.dispatcher.ledger_reader import read_ledger
from tocsin.shared.configuration.records import Recipient
from tocsin.shared.schemas.audit import TERMINAL, AuditRecord
from tocsin.shared.topics import DELIVERY_DEAD_LETTER

pytestmark = [pytest.mark.kafka, pytest.mark.slow]


def mailbox(name: str) -> Recipient:
    return Recipient(id=f"r-{name}", name=name, type="distribution-list", email=f"{name}@example.com")


def attempts_of(records: list[AuditRecord], recipient: Recipient) -> list[AuditRecord]:
    return [one for one in records if one.recipient.id == recipient.id]


def test_refusing_greylisting_hanging_up_and_tarpitting(stack: Stack, tmp_path: Path) -> None:
    """One server after another, in place of the same one; a webhook goes out while the mail server takes its time."""
    with MailServer() as server, Receiver(SECRET) as receiver:
        settings = dispatcher_settings(
            stack,
            tmp_path,
            retry_tiers=(1_000, 2_000),  # longer than it takes this test to change the server
            smtp_host="127.0.0.1",
            smtp_port=server.port,
            smtp_tls="none",
            smtp_timeout=1_500,
            smtp_from="T <t@tocsin.test>",
        )
        boxes = {name: mailbox(name) for name in ("greylisted", "dropped", "refused", "tarpitted")}
        hook = webhook_recipient(settings, receiver.url)
        put_records(settings, *boxes.values(), hook)

        def send(name: str, replies: Replies) -> None:
            """Until the first attempt has failed the server says so; from then on it takes everything."""
            server.replies = replies
            put_deliveries(settings, [delivery_for(boxes[name])])
            eventually(lambda: attempts_of(audits(settings, "attempt"), boxes[name]))
            server.replies = {}
            eventually(lambda: attempts_of(audits(settings, *TERMINAL), boxes[name]))

        with RunningDispatcher(settings):
            send("greylisted", {"RCPT": b"451 4.7.1 come back later\r\n"})
            send("dropped", {"BODY": None})
            send("refused", {"RCPT": b"550 5.1.1 no such user\r\n"})
            server.delay = 1.0
            put_deliveries(settings, [delivery_for(boxes["tarpitted"])])
            eventually(lambda: "EHLO" in server.commands[-1] or "RSET" in server.commands[-1])
            put_deliveries(settings, [delivery_for(hook)])
            eventually(lambda: receiver.requests)
            assert attempts_of(audits(settings, "attempt"), boxes["tarpitted"]) == []
            eventually(lambda: attempts_of(audits(settings, "attempt"), boxes["tarpitted"]))
            server.delay = 0.0
            wait_for_terminals(settings, 5)

    found = audits(settings, "attempt")
    reasons = {name: [one.reason for one in attempts_of(found, box)] for name, box in boxes.items()}
    assert reasons == {
        "greylisted": ["smtp_451", None],
        "dropped": ["connection_lost_after_data", None],
        "refused": ["permanent_refusal"],
        "tarpitted": ["timeout", None],
    }
    assert set(terminals(settings).values()) == {1}
    for name in ("greylisted", "dropped", "tarpitted"):
        first, second = attempts_of(found, boxes[name])
        assert first.next_attempt_at is not None
        assert second.time >= first.next_attempt_at
    messages = [one for one in server.messages if b"dropped@example.com" in one]
    assert len(messages) == 2
    assert messages[0] == messages[1]
    assert message_from_bytes(messages[0])["Message-ID"]
    (letter,) = read_all(settings, DELIVERY_DEAD_LETTER)
    assert letter.key() == boxes["refused"].id.encode()
    assert read_ledger(settings).clean


def test_who_strips_starttls_sees_neither_login_nor_mail_and_it_arrives_when_he_is_gone(
    stack: Stack, tmp_path: Path
) -> None:
    context = Authority.made_in(tmp_path)
    with MailServer(login=("tocsin", "hush")) as server:
        settings = dispatcher_settings(
            stack,
            tmp_path,
            smtp_host="localhost",
            smtp_port=server.port,
            smtp_tls="starttls",
            smtp_ca_file=context.file,
            smtp_username="tocsin",
            smtp_password="hush",
            smtp_from="T <t@tocsin.test>",
        )
        box = mailbox("oncall")
        put_records(settings, box)
        with RunningDispatcher(settings):
            put_deliveries(settings, [delivery_for(box)])
            eventually(lambda: audits(settings, "attempt"))
            assert {one.split()[0] for one in server.commands} <= {"EHLO", "QUIT"}
            assert server.messages == []
            server.tls = context.server()
            (terminal,) = wait_for_terminals(settings, 1)
    assert terminal.kind == "delivered"
    assert len(server.messages) == 1
    assert "hush" not in repr(audits(settings))
