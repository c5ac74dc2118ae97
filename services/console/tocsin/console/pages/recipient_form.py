"""Add Recipient: from a form to the document that is saved, and back. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from tocsin.console.pages.forms import text
from tocsin.dispatcher.core.mail import HTML, SUBJECT, TEXT
from tocsin.dispatcher.core.ready_templates import ready_templates
from tocsin.dispatcher.core.signing import generate_secret
from tocsin.dispatcher.core.variables import DEFAULT_BODY
from tocsin.shared.configuration.records import BasicAuthentication, Recipient, SignedSecret

TYPES = (("user", "User"), ("distribution-list", "Distribution List"), ("system", "System"))
AUTHENTICATIONS = (("off", "Off"), ("basic", "Basic Auth"), ("signed-secret", "Signed Secret"))
MAX_HEADERS = 50
_OF_FORM = ("name", "type", "first_name", "last_name", "email", "mail", "webhook")
_OF_WEBHOOK = ("url", "method", "authentication", "headers", "body")
USUAL_MAIL = {"subject": SUBJECT, "text": TEXT, "html": HTML}
KEEP = {"keep": True}


@dataclass(frozen=True, slots=True)
class Header:
    """One line of Headers. `stored`: its sensitive value is kept, and never shown."""

    name: str = ""
    value: str = ""
    sensitive: bool = False
    stored: bool = False


@dataclass(frozen=True, slots=True)
class RecipientForm:
    """What stands in the inputs."""

    type: str = "system"
    name: str = ""
    first_name: str = ""
    last_name: str = ""
    email: str = ""
    mail: Mapping[str, str] = field(default_factory=dict)  # subject, text, html: those that are not empty
    connection: str = "webhook"
    url: str = ""
    method: str = "POST"
    authentication: str = "off"
    username: str = ""
    password: str = ""
    secret: str = ""
    password_stored: bool = False
    secret_stored: bool = False
    headers: tuple[Header, ...] = ()
    body: str = DEFAULT_BODY
    rest: Mapping[str, Any] = field(default_factory=dict)  # of the record, beyond these inputs
    webhook_rest: Mapping[str, Any] = field(default_factory=dict)
    scheme_rest: Mapping[str, Any] = field(default_factory=dict)

    @property
    def reached_by(self) -> str:
        """Only a system has a choice."""
        return self.connection if self.type == "system" else "email"

    def document(self) -> dict[str, Any]:
        """As a file would have it; a secret left empty that is stored is kept."""
        found: dict[str, Any] = {**self.rest, "type": self.type}
        if self.type == "user":
            found |= {"first_name": self.first_name, "last_name": self.last_name}
            found["name"] = f"{self.first_name} {self.last_name}".strip()
        else:
            found["name"] = self.name
        if self.reached_by == "email":
            found["email"] = self.email
            # As with bodies, what is usual stays so; but a text of one's own without the HTML would go alone.
            if any(text.strip() != USUAL_MAIL[name].strip() for name, text in self.mail.items()):
                found["mail"] = dict(self.mail)
        else:
            found["webhook"] = self._webhook()
            found.pop("mail", None)
        return found

    def _webhook(self) -> dict[str, Any]:
        found: dict[str, Any] = {**self.webhook_rest, "url": self.url, "method": self.method}
        if self.authentication == "basic":
            password = KEEP if not self.password and self.password_stored else self.password
            found["authentication"] = {"type": "basic", "username": self.username, "password": password}
        elif self.authentication == "signed-secret":
            secret = KEEP if not self.secret and self.secret_stored else self.secret
            found["authentication"] = {**self.scheme_rest, "type": "signed-secret", "secret": secret}
        found["headers"] = [_header(one) for one in self.named_headers()]
        # The default stays the default, so that a later version's is taken too.
        if self.body.strip() != DEFAULT_BODY.strip():
            found["body"] = self.body
        return found

    def named_headers(self) -> list[Header]:
        """Without empty lines."""
        return [one for one in self.headers if one.name or one.value]


def _header(one: Header) -> dict[str, Any]:
    value: Any = KEEP if one.sensitive and one.stored and not one.value else one.value
    return {"name": one.name, "value": value, "sensitive": one.sensitive}


def read_form(form: Mapping[str, str], stored: Recipient | None) -> RecipientForm:
    """What was sent. A stored secret stays with the field it belongs to."""
    before = form_of_record(stored, {}) if stored else RecipientForm()
    kept = {one.name.lower() for one in before.headers if one.stored}
    lines = []
    for number in range(MAX_HEADERS + 1):
        if f"header-name-{number}" in form:
            name, sensitive = text(form, f"header-name-{number}"), f"header-sensitive-{number}" in form
            value = form.get(f"header-value-{number}", "")
            lines.append(Header(name, value, sensitive, stored=name.lower() in kept))
    return RecipientForm(
        type=form.get("type", "system"),
        name=text(form, "name"),
        first_name=text(form, "first_name"),
        last_name=text(form, "last_name"),
        email=text(form, "email"),
        mail={name: said for name in USUAL_MAIL if (said := _lines(form, f"mail-{name}")).strip()},
        connection=form.get("connection", "webhook"),
        url=text(form, "url"),
        method=form.get("method", "POST"),
        authentication=form.get("authentication", "off"),
        username=text(form, "username"),
        password=form.get("password", ""),
        secret=form.get("secret", "").strip(),
        password_stored=before.password_stored,
        secret_stored=before.secret_stored,
        headers=tuple(lines),
        body=_lines(form, "body"),
    )


def _lines(form: Mapping[str, str], name: str) -> str:
    """Of a text area, which ends its lines as HTTP does."""
    return form.get(name, "").replace("\r\n", "\n")


def form_of_record(record: Recipient, document: Mapping[str, Any]) -> RecipientForm:
    """The inputs of a stored recipient; `document` is how it is shown elsewhere, for what the inputs leave out."""
    webhook = record.webhook
    signed = webhook.authentication if webhook and isinstance(webhook.authentication, SignedSecret) else None
    basic = webhook.authentication if webhook and isinstance(webhook.authentication, BasicAuthentication) else None
    shown = document.get("webhook", {})
    return RecipientForm(
        type=record.type,
        name=record.name,
        first_name=record.first_name or "",
        last_name=record.last_name or "",
        email=record.email or "",
        mail=record.mail.model_dump(exclude_none=True) if record.mail else {},
        connection=record.channel,
        url=webhook.url if webhook else "",
        method=webhook.method if webhook else "POST",
        authentication=webhook.authentication.type if webhook else "off",
        username=basic.username if basic else "",
        password_stored=basic is not None,
        secret_stored=signed is not None,
        headers=tuple(
            Header(one.name, one.value or "", one.sensitive, stored=one.sensitive)
            for one in (webhook.headers if webhook else ())
        ),
        body=DEFAULT_BODY if webhook is None or webhook.body is None else webhook.body,
        rest={name: value for name, value in document.items() if name not in _OF_FORM},
        webhook_rest={name: value for name, value in shown.items() if name not in _OF_WEBHOOK},
        scheme_rest={
            name: value
            for name, value in shown.get("authentication", {}).items()
            if signed is not None and name not in ("type", "secret")
        },
    )


def acted(form: RecipientForm, action: str) -> RecipientForm:
    """What a button in the form does to it, without a script."""
    match action.partition(":"):
        case ("generate", _, _):
            return replace(form, secret=generate_secret())
        case ("add-header", _, _) if len(form.headers) < MAX_HEADERS:
            return replace(form, headers=(*form.headers, Header()))
        case ("remove-header", _, number) if number.isdecimal():
            return replace(form, headers=tuple(one for at, one in enumerate(form.headers) if at != int(number)))
        case ("usual-mail", _, _):
            return replace(form, mail={**USUAL_MAIL, **form.mail})
        case _:
            return form


def with_template(form: RecipientForm, name: str) -> RecipientForm:
    """Filled with what a service wants; what was typed stays where the template says nothing."""
    template = ready_templates().get(name)
    if template is None:
        return form
    headers = tuple(Header(one.name, "" if one.sensitive else one.value, one.sensitive) for one in template.headers)
    more: dict[str, Any] = {}
    if template.permanent:
        more["permanent"] = list(template.permanent)
    if template.content_type != "application/json":
        more["content_type"] = template.content_type
    return replace(
        form,
        type="system",
        connection="webhook",
        url=form.url or template.url,
        authentication=template.authentication,
        headers=headers,
        body=template.body,
        webhook_rest={**form.webhook_rest, **more},
    )
