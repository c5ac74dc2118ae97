"""The mail sink keeps what comes."""

from __future__ import annotations

import smtplib
from email.message import EmailMessage
from pathlib import Path

import pytest

from tocsin.deploy.stack.mail import MailSink, read_index, read_message


class FixedClock:
    def now_ms(self) -> int:
        return 1_764_064_800_123

    def monotonic(self) -> float:
        return 0.0


def message(subject: str = "CPU ist beschäftigt") -> EmailMessage:
    mail = EmailMessage()
    mail["From"], mail["To"], mail["Subject"] = "tocsin@example.com", "oncall@example.com", subject
    mail["Message-ID"] = "<dlv_1@tocsin>"
    mail.set_content("93,5 % auf PC-042\n")
    mail.add_alternative("<p>93,5 % auf PC-042</p>\n", subtype="html")
    return mail


def send(port: int, mail: EmailMessage) -> None:
    with smtplib.SMTP("127.0.0.1", port, timeout=5) as client:
        client.send_message(mail)


def test_a_message_is_kept_as_a_file_and_a_line(tmp_path: Path) -> None:
    with MailSink(tmp_path, clock=FixedClock()) as sink:
        send(sink.port, message())
        (kept,) = sink.mails()
    assert kept.number == 1
    assert kept.file == "0001.eml"
    assert kept.time_ms == 1_764_064_800_123
    assert kept.sender == "tocsin@example.com"
    assert kept.recipients == ("oncall@example.com",)
    assert kept.subject == "CPU ist beschäftigt"
    assert kept.message_id == "<dlv_1@tocsin>"
    body = read_message(tmp_path, kept).get_body(("plain",))
    assert body is not None
    assert body.get_content().split() == ["93,5", "%", "auf", "PC-042"]


def test_numbers_go_on_after_a_restart(tmp_path: Path) -> None:
    for subject in ("first", "second"):
        with MailSink(tmp_path) as sink:
            send(sink.port, message(subject))
    assert [(mail.file, mail.subject) for mail in read_index(tmp_path)] == [
        ("0001.eml", "first"),
        ("0002.eml", "second"),
    ]


def test_a_verdict_refuses_with_its_own_reply_and_nothing_is_kept(tmp_path: Path) -> None:
    replies = iter(["450 4.7.1 come back later", None])
    with MailSink(tmp_path, verdict=lambda _sender, _recipients: next(replies)) as sink:
        with pytest.raises(smtplib.SMTPDataError) as refused:
            send(sink.port, message())
        assert refused.value.smtp_code == 450
        assert sink.mails() == []
        send(sink.port, message())
        assert len(sink.mails()) == 1


def test_a_line_still_being_written_is_left_for_later(tmp_path: Path) -> None:
    with MailSink(tmp_path) as sink:
        send(sink.port, message())
    with open(tmp_path / "index.jsonl", "a") as index:
        index.write('{"number": 2, "fi')
    assert len(read_index(tmp_path)) == 1


def test_stopping_hangs_up_on_clients_and_frees_the_port(tmp_path: Path) -> None:
    sink = MailSink(tmp_path).start()
    with smtplib.SMTP("127.0.0.1", sink.port, timeout=5) as client:
        sink.stop()
        with pytest.raises(smtplib.SMTPServerDisconnected):
            client.noop()
        client.close()
    with MailSink(tmp_path, port=sink.port):
        pass
