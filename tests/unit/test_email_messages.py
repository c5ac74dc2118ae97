"""Emails: their headers, that nobody can be added to them, and how refusals are understood."""

from __future__ import annotations

import email.policy
from email import message_from_bytes

import pytest

from delivering import delivery_for, event_of, unsigned_recipient
from tocsin.dispatcher.core.mail import build_letter, parse_address, render_email
from tocsin.dispatcher.core.variables import Values
from tocsin.shared.configuration.records import MailTemplates, Recipient
from tocsin.shared.schemas.base import Ref

SENDER = "Tocsin <alerts@tocsin.example>"
DELIVERY = delivery_for(
    unsigned_recipient("http://x/"), event=event_of(notification=Ref(id="n-1", name="Büro <langsam> & mehr"))
)
BODY = render_email(Values.of(DELIVERY.event))


def recipient(**given: object) -> Recipient:
    return Recipient(
        **{"id": "r", "name": "On call", "type": "distribution-list", "email": "oncall@example.com", **given}
    )  # type: ignore[arg-type]


def test_the_message_has_its_headers_and_both_parts() -> None:
    letter = build_letter(DELIVERY, recipient(), BODY, SENDER)
    assert (letter.sender, letter.receiver) == ("alerts@tocsin.example", "oncall@example.com")
    message = message_from_bytes(letter.data, policy=email.policy.default)
    assert message["Message-ID"] == f"<{DELIVERY.id}@tocsin.example>"
    assert message["List-Id"] == "<n-1.notifications.tocsin.example>"
    assert message["Auto-Submitted"] == "auto-generated"
    assert message["From"] == "Tocsin <alerts@tocsin.example>"
    assert message["To"] == "On call <oncall@example.com>"
    assert message["Subject"] == "[Tocsin] Büro <langsam> & mehr: activated"
    text, html = message.get_body(("plain",)), message.get_body(("html",))
    assert text is not None
    assert html is not None
    assert "3 of 8 currently reporting" in text.get_content()
    assert "Büro &lt;langsam&gt; &amp; mehr" in html.get_content()
    assert b"\n" not in letter.data.replace(b"\r\n", b"")
    assert max(len(line) for line in letter.data.split(b"\r\n")) < 998


def test_the_same_delivery_gives_the_same_bytes() -> None:
    assert build_letter(DELIVERY, recipient(), BODY, SENDER) == build_letter(DELIVERY, recipient(), BODY, SENDER)


def test_a_display_name_adds_no_receiver() -> None:
    letter = build_letter(DELIVERY, recipient(name="a@evil.example, b"), BODY, SENDER)
    message = message_from_bytes(letter.data, policy=email.policy.default)
    assert [address.addr_spec for address in message["To"].addresses] == ["oncall@example.com"]
    user = recipient(type="user", first_name="Zoë", last_name="O'Neil")
    message = message_from_bytes(build_letter(DELIVERY, user, BODY, SENDER).data, policy=email.policy.default)
    assert message["To"].addresses[0].display_name == "Zoë O'Neil"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "nobody",
        "@example.com",
        "a@",
        "a@b.c, d@e.f",
        "a b@c.d",
        "a@b.c\r\nBcc: x@y.z",
        "a@b\x00.c",
        "<a@b.c",
        "ü@b.c",
        "a@\u2028.c",
        "a@ü-\u200d.c",
    ],
)
def test_what_is_not_one_address_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not an email address"):
        parse_address(text)


OWN = MailTemplates(subject="!! @{notificationName}", text="@{matchedCount} of @{reportingCount}\n")


def test_a_domain_beyond_ascii_is_written_as_dns_and_smtp_have_it() -> None:
    letter = build_letter(DELIVERY, recipient(email="oncall@Bücher.example"), BODY, "Tocsin <alerts@glöckchen.example>")
    assert (letter.sender, letter.receiver) == ("alerts@xn--glckchen-o4a.example", "oncall@xn--bcher-kva.example")
    assert b"\r\nTo: On call <oncall@xn--bcher-kva.example>\r\n" in letter.data
    assert letter.data.isascii()


def test_a_recipient_may_have_words_of_its_own() -> None:
    event = event_of(notification=Ref(id="n", name="Büro <langsam>"))
    values = Values.of(event)
    words = render_email(values, OWN)
    assert (words.subject, words.text, words.html) == ("!! Büro <langsam>", "3 of 8\n", None)
    page = render_email(values, MailTemplates(html="<p>@{notificationName}</p>"))
    assert page.html == "<p>Büro &lt;langsam&gt;</p>"
    assert (page.subject, page.text) == (render_email(values).subject, render_email(values).text)
    both = render_email(values, OWN.model_copy(update={"html": "<b>@{matchedCount}</b>"}))
    letter = build_letter(DELIVERY, recipient(), both, SENDER)
    message = message_from_bytes(letter.data, policy=email.policy.default)
    kinds = [part.get_content_type() for part in message.walk()]
    assert kinds == ["multipart/alternative", "text/plain", "text/html"]
    alone = message_from_bytes(build_letter(DELIVERY, recipient(), words, SENDER).data, policy=email.policy.default)
    assert (alone.get_content_type(), alone.get_content().splitlines()) == ("text/plain", ["3 of 8"])
    assert alone["Message-ID"] == f"<{DELIVERY.id}@tocsin.example>"


def test_a_subject_of_its_own_adds_no_header() -> None:
    event = event_of(notification=Ref(id="n", name="a\r\nBcc: x@y.z"))
    rendered = render_email(Values.of(event), MailTemplates(subject="One\nTwo @{notificationName}"))
    assert rendered.subject == "One Two a Bcc: x@y.z"


def test_it_says_when_the_message_before_it_has_not_got_through() -> None:
    event = event_of(kind="resolved")
    for late in (False, True):
        rendered = render_email(Values.of(event, activated_still_retried=late))
        assert ("has not reached you yet" in rendered.text) is late
        assert ("has not reached you yet" in (rendered.html or "")) is late


def test_a_subject_has_no_line_breaks_and_is_cut() -> None:
    event = event_of(notification=Ref(id="n", name="a\r\nBcc: x@y.z" + "z" * 400))
    rendered = render_email(Values.of(event))
    assert rendered.subject is not None
    assert "\n" not in rendered.subject
    assert len(rendered.subject) == 200


@pytest.mark.parametrize("end", ["\u2028", "\u2029", "\x85", "\v"])
def test_no_line_end_of_unicode_keeps_a_message_from_being_made(end: str) -> None:
    delivery = delivery_for(
        unsigned_recipient("http://x/"), event=event_of(notification=Ref(id="n", name=f"slow{end}again"))
    )
    letter = build_letter(delivery, recipient(name=f"On{end}call"), render_email(Values.of(delivery.event)), SENDER)
    message = message_from_bytes(letter.data, policy=email.policy.default)
    assert message["Subject"] == "[Tocsin] slow again: activated"
    assert message["To"] == "On call <oncall@example.com>"
