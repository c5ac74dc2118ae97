"""Add Recipient: from what a form sends to the document that is saved, and back."""

from __future__ import annotations

import pytest

from tocsin.console.pages.recipient_form import USUAL_MAIL, RecipientForm, acted, form_of_record, read_form
from tocsin.console.pages.words import field_name
from tocsin.shared.configuration.records import MailTemplates, Recipient

EMAIL = {"type": "distribution-list", "name": "On call", "email": "oncall@example.com"}


def sent(**mail: str) -> RecipientForm:
    return read_form({**EMAIL, **{f"mail-{name}": text for name, text in mail.items()}}, None)


def test_empty_texts_of_an_email_are_the_usual_ones() -> None:
    assert sent(subject="", text=" \r\n", html="").document() == EMAIL


def test_texts_of_ones_own_are_kept_with_their_lines() -> None:
    form = sent(subject="Look", text="One\r\nTwo", html="")
    assert form.document() == {**EMAIL, "mail": {"subject": "Look", "text": "One\nTwo"}}


def test_the_usual_texts_filled_in_and_left_alone_stay_the_usual_ones() -> None:
    filled = acted(sent(subject="", text="", html=""), "usual-mail")
    assert filled.mail == USUAL_MAIL
    assert "mail" not in filled.document()


def test_a_text_of_ones_own_takes_the_usual_html_along_when_it_was_filled_in() -> None:
    filled = acted(sent(text="Mine"), "usual-mail")
    assert filled.document()["mail"] == {**USUAL_MAIL, "text": "Mine"}


def test_a_webhook_has_no_texts_of_emails() -> None:
    form = read_form({"type": "system", "name": "H", "connection": "webhook", "url": "u", "mail-subject": "Look"}, None)
    assert "mail" not in form.document()


def test_stored_texts_stand_in_their_inputs_and_nowhere_else() -> None:
    stored = Recipient(id="r", **EMAIL, mail=MailTemplates(subject="Look"))  # type: ignore[arg-type]
    form = form_of_record(stored, {**EMAIL, "mail": {"subject": "Look"}, "rate": "1/s"})
    assert (dict(form.mail), form.rest) == ({"subject": "Look"}, {"rate": "1/s"})
    assert form.document() == {**EMAIL, "mail": {"subject": "Look"}, "rate": "1/s"}


@pytest.mark.parametrize(
    ("pointer", "name"),
    [
        ("/webhook/authentication/password", "Password"),
        ("/webhook/headers/0/name", "Headers 1 name"),
        ("/first_name", "First name"),
        ("/webhook", "Webhook"),
        ("", ""),
    ],
)
def test_a_summary_of_problems_calls_fields_by_their_names(pointer: str, name: str) -> None:
    assert field_name(pointer) == name
