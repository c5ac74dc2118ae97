"""Deliveries on a real broker to real receivers, verified with the third-party `standardwebhooks` package."""

from __future__ import annotations

import json
import uuid
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from delivering import (
    SECRET,
    RunningDispatcher,
    ScriptedServer,
    audits,
    delivery_for,
    dispatcher_settings,
    event_of,
    put_deliveries,
    says,
    says_in_turn,
    standing,
    terminals,
    unsigned_recipient,
    wait_for_terminals,
    webhook_recipient,
)
from receiver import Receiver
from support import eventually, produce, put_records, read_all
from tocsin.deploy.stack import Stack
from tocsin.shared import kafka
from tocsin.shared.configuration.names import record_key
from tocsin.shared.configuration.records import Recipient
from tocsin.shared.schemas.delivery import DeadLetter
from tocsin.shared.topics import DELIVERIES, DELIVERY_DEAD_LETTER, retry_topic

pytestmark = pytest.mark.kafka


def test_a_delivery_arrives_signed_and_is_audited(stack: Stack, tmp_path: Path) -> None:
    settings = dispatcher_settings(stack, tmp_path)
    with Receiver(SECRET) as receiver, RunningDispatcher(settings):
        recipient = webhook_recipient(settings, receiver.url)
        put_records(settings, recipient)
        (id_,) = put_deliveries(settings, [delivery_for(recipient)])
        wait_for_terminals(settings, 1)
    (request,) = receiver.requests
    assert (request.id, request.method, request.verified) == (id_, "POST", True)
    body = json.loads(request.body)
    assert next(iter(body)) == "eventId"
    assert body["sensorNames"] == ["CPU busy"]
    (attempt,) = audits(settings, "attempt")
    assert (attempt.outcome, attempt.status, attempt.attempt, attempt.channel) == ("ok", 204, 1, "webhook")
    assert attempt.body_bytes == len(request.body)
    assert terminals(settings) == {(id_, 0): 1}


def test_a_retry_has_the_same_id_and_the_same_bytes_and_is_never_early(stack: Stack, tmp_path: Path) -> None:
    settings = dispatcher_settings(stack, tmp_path)
    answer = says_in_turn(says("503 Busy", body=b"come\nback"), says("500 Oops"), says("200 OK"))
    with ScriptedServer(answer) as server, RunningDispatcher(settings):
        recipient = webhook_recipient(settings, server.url)
        put_records(settings, recipient)
        put_deliveries(settings, [delivery_for(recipient)])
        wait_for_terminals(settings, 1)
    assert len(server.requests) == 3
    assert len(set(server.bodies())) == 1
    ids = {line for one in server.requests for line in one.split(b"\r\n") if line.lower().startswith(b"webhook-id:")}
    assert len(ids) == 1
    assert server.times[1] - server.times[0] >= 0.2
    assert server.times[2] - server.times[1] >= 0.5
    attempts = audits(settings, "attempt")
    assert [(one.attempt, one.outcome, one.reason, one.status) for one in attempts] == [
        (1, "failed", "http_503", 503),
        (2, "failed", "http_500", 500),
        (3, "ok", None, 200),
    ]
    assert attempts[0].response_excerpt == "come\\nback"
    assert attempts[0].next_attempt_at == attempts[0].time + 200
    assert len({one.body_sha256 for one in attempts}) == 1


def test_a_resolved_says_when_its_activated_is_still_being_retried(stack: Stack, tmp_path: Path) -> None:
    """Over a restart, too; and no longer once that has ended."""
    settings = dispatcher_settings(stack, tmp_path, retry_tiers=(200, 4_000))
    body = '{"kind": "@{eventKind}", "late": @{activatedStillRetried}}'

    def event(kind: str, activation: str, ordinal: int) -> Any:
        return event_of(kind=kind, activation_id=activation, ordinal=ordinal)

    first, second = (str(uuid.uuid4()) for _ in range(2))
    with ScriptedServer(says_in_turn(says("500 No"), says("200 OK"))) as server:
        hook = unsigned_recipient(server.url, body=body).model_copy(update={"retry": (4_000,)})
        put_records(settings, hook)
        with RunningDispatcher(settings):
            put_deliveries(settings, [delivery_for(hook, event=event("activated", first, 1))])
            eventually(lambda: audits(settings, "attempt"))
        with RunningDispatcher(settings):
            later = [("activated", second, 2), ("resolved", second, 3), ("resolved", first, 4)]
            put_deliveries(settings, [delivery_for(hook, event=event(*one)) for one in later])
            wait_for_terminals(settings, 4)
            assert standing(settings, hook).retrying == ()
            put_deliveries(settings, [delivery_for(hook, event=event("reminder", first, 5))])
            wait_for_terminals(settings, 5)
    sent = [(one["kind"], one["late"]) for one in map(json.loads, server.bodies())]
    assert sent[0] == ("activated", False)
    assert Counter(sent[1:-2]) == Counter([("activated", False), ("resolved", False), ("resolved", True)])
    assert sent[-2:] == [("activated", False), ("reminder", False)]


def test_when_the_attempts_are_used_up_it_is_a_dead_letter(stack: Stack, tmp_path: Path) -> None:
    settings = dispatcher_settings(stack, tmp_path)
    with ScriptedServer(says("500 Oops", body=b"no")) as server, RunningDispatcher(settings):
        recipient = unsigned_recipient(server.url)
        put_records(settings, recipient)
        put_deliveries(settings, [delivery_for(recipient)])
        (terminal,) = wait_for_terminals(settings, 1)
    assert len(server.requests) == 3  # one, and one after each of the two tiers
    assert (terminal.kind, terminal.reason) == ("dead-lettered", "attempts_exhausted")
    (record,) = read_all(settings, DELIVERY_DEAD_LETTER)
    letter = DeadLetter.decode(record.value())
    assert (letter.reason, letter.status, letter.response_excerpt) == ("attempts_exhausted", 500, "no")
    assert letter.delivery.attempts == 3


def test_retry_after_goes_up_to_the_next_tier_that_is_long_enough(stack: Stack, tmp_path: Path) -> None:
    settings = dispatcher_settings(stack, tmp_path, retry_tiers=(100, 1500))
    answer = says_in_turn(says("429 Slow down", "Retry-After: 1"), says("200 OK"))
    with ScriptedServer(answer) as server, RunningDispatcher(settings):
        recipient = unsigned_recipient(server.url)
        put_records(settings, recipient)
        put_deliveries(settings, [delivery_for(recipient)])
        wait_for_terminals(settings, 1)
    assert 1.5 <= server.times[1] - server.times[0] < 4


def test_what_ends_at_the_first_attempt(stack: Stack, tmp_path: Path) -> None:
    """410, a status called permanent, a template that fails, and a recipient that is gone."""
    settings = dispatcher_settings(stack, tmp_path)
    with (
        ScriptedServer(says("410 Gone")) as gone,
        ScriptedServer(says("404 Not found")) as missing,
        ScriptedServer(says("200 OK")) as fine,
        RunningDispatcher(settings),
    ):
        recipients = [
            unsigned_recipient(gone.url, "Gone"),
            unsigned_recipient(missing.url, "Missing", permanent=(404,)),
            unsigned_recipient(fine.url, "Broken template", body="@{nothingLikeThat}"),
            unsigned_recipient(fine.url, "Deleted"),
        ]
        put_records(settings, *recipients[:3])
        put_deliveries(settings, [delivery_for(recipient) for recipient in recipients])
        ended = wait_for_terminals(settings, 4)
    assert {one.recipient.name: (one.kind, one.reason) for one in ended} == {
        "Gone": ("dead-lettered", "gone"),
        "Missing": ("dead-lettered", "permanent_refusal"),
        "Broken template": ("dead-lettered", "template_error"),
        "Deleted": ("cancelled", "recipient_deleted"),
    }
    assert (len(gone.requests), len(missing.requests), len(fine.requests)) == (1, 1, 0)
    letters = [DeadLetter.decode(record.value()) for record in read_all(settings, DELIVERY_DEAD_LETTER)]
    assert {letter.reason for letter in letters} == {"gone", "permanent_refusal", "template_error"}


def test_a_recipient_deleted_between_two_attempts_cancels_the_delivery(stack: Stack, tmp_path: Path) -> None:
    settings = dispatcher_settings(stack, tmp_path, retry_tiers=(2000,))
    with ScriptedServer(says("500 Oops")) as server, RunningDispatcher(settings):
        recipient = unsigned_recipient(server.url)
        put_records(settings, recipient)
        put_deliveries(settings, [delivery_for(recipient)])
        eventually(lambda: audits(settings, "attempt"))
        put_records(settings, delete=[record_key("recipient", recipient.name)])
        (terminal,) = wait_for_terminals(settings, 1)
    assert (terminal.kind, terminal.attempt) == ("cancelled", 1)
    assert len(server.requests) == 1


def test_poison_on_each_topic_is_passed_over(stack: Stack, tmp_path: Path) -> None:
    settings = dispatcher_settings(stack, tmp_path)
    deep = b"[" * 100_000
    poison = [
        (b"k", b"not json"), (b"k", None), (None, b"{}"), (b"k", b"\xff\xfe"), (b"k", deep), (b"k", b'{"id": NaN}'),
        (b"k", b"x" * 2_000_000), (b"k", b'{"id": 5, "event": []}'),
    ]  # fmt: skip
    with Receiver(SECRET) as receiver:
        recipient = webhook_recipient(settings, receiver.url)
        put_records(settings, recipient)
        producer = kafka.producer(settings.kafka)
        for topic in (DELIVERIES, retry_topic(200), retry_topic(500)):
            produce(producer, settings.topic(topic), poison)
        put_deliveries(settings, [delivery_for(recipient) for _ in range(3)])
        with RunningDispatcher(settings):
            wait_for_terminals(settings, 3)
    assert len(receiver.requests) == 3


def test_nothing_goes_to_an_address_that_is_not_allowed(stack: Stack, tmp_path: Path) -> None:
    settings = dispatcher_settings(stack, tmp_path, egress_allow="", retry_tiers=(100,))
    with ScriptedServer(says("200 OK")) as server, RunningDispatcher(settings):
        hosts = ["127.0.0.1", "localhost", "[::ffff:127.0.0.1]", "0x7f.1", "2130706433", "127.1"]
        recipients: list[Recipient] = [
            unsigned_recipient(f"http://{host}:{server.port}/", f"Hook {at}") for at, host in enumerate(hosts)
        ]
        put_records(settings, *recipients)
        put_deliveries(settings, [delivery_for(recipient) for recipient in recipients])
        ended = wait_for_terminals(settings, len(hosts))
    assert server.requests == []
    assert {one.kind for one in ended} == {"dead-lettered"}
    assert {one.reason for one in audits(settings, "attempt")} == {"egress_denied"}


def test_a_recipient_that_hangs_does_not_hold_up_the_others(stack: Stack, tmp_path: Path) -> None:
    settings = dispatcher_settings(stack, tmp_path, recipient_concurrency=4, shutdown_grace=1)

    def hang(nth: int, request: bytes, connection: object) -> None:
        eventually(lambda: len(receiver.requests) >= 200, within=60)

    with Receiver(SECRET) as receiver, ScriptedServer(hang) as hanging, RunningDispatcher(settings):
        sick = unsigned_recipient(hanging.url, "Sick", timeout=30_000)
        healthy = [webhook_recipient(settings, receiver.url, f"Healthy {at}") for at in range(4)]
        put_records(settings, sick, *healthy)
        put_deliveries(settings, [delivery_for(one) for _ in range(50) for one in (sick, *healthy)])
        eventually(lambda: len(receiver.requests) >= 200, within=20)
        assert len(hanging.requests) == 4
    assert receiver.repeats() == {}


def test_an_email_arrives_with_its_headers_and_both_parts(stack: Stack, tmp_path: Path) -> None:
    settings = dispatcher_settings(
        stack,
        tmp_path,
        smtp_host="127.0.0.1",
        smtp_port=stack.smtp_port,
        smtp_tls="none",
        smtp_from="T <t@tocsin.test>",
    )
    recipient = Recipient(id="r-mail", name="On call, a@b", type="distribution-list", email="oncall@example.com")
    put_records(settings, recipient)
    with RunningDispatcher(settings):
        (id_,) = put_deliveries(settings, [delivery_for(recipient)])
        (terminal,) = wait_for_terminals(settings, 1)
    assert terminal.kind == "delivered"
    (attempt,) = audits(settings, "attempt")
    assert (attempt.channel, attempt.status) == ("email", 250)
    mails = [path.read_bytes() for path in stack.mail_dir.rglob("*.eml")]
    (mail,) = [mail for mail in mails if id_.encode() in mail]
    assert f"Message-ID: <{id_}@tocsin.test>".encode() in mail
    assert b"Auto-Submitted: auto-generated" in mail
    assert b"text/html" in mail
    assert b"multipart/alternative" in mail
