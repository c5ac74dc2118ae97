"""Emails as they are sent. Pure.

Addresses are built with `email.headerregistry.Address`: a display name with a comma and an `@` could otherwise add a
receiver.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from email.errors import MessageError
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime

from tocsin.dispatcher.core.templates import render
from tocsin.dispatcher.core.variables import Values
from tocsin.shared.configuration.records import Recipient
from tocsin.shared.schemas.delivery import Delivery, RenderedBody

_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f]+")
_FRAMED = re.compile(r"([^<>]*)<([^<>]*)>")
# Stricter than RFC 5322: what it leaves out (quoted local parts, comments) is where addresses get smuggled in.
_ADDRESS = re.compile(r"[^\s\"(),:;<>@\[\]\\]{1,64}@[^\s\"(),:;<>@\\]{1,255}")
MAX_SUBJECT = 200

SUBJECT = "[Tocsin] @{notificationName}: @{eventKind}"

TEXT = """\
@{notificationName}: @{eventKind}

{% if notificationDescription %}@{notificationDescription}

{% endif -%}
Systems:    @{matchedCount} of @{reportingCount} currently reporting
Threshold:  @{activationThresholdText}
Sensors:    @{sensorNamesUnquoted}
Group:      @{groupName}
Activated:  @{activationTime}
This event: @{eventTime}

Details: @{notificationActivationDetailsURL}
"""

HTML = """\
<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>@{notificationName}</title></head>
<body style="font-family: sans-serif; color: #222">
<h2 style="margin-bottom: 0">@{notificationName}: @{eventKind}</h2>
{% if notificationDescription %}<p>@{notificationDescription}</p>{% endif %}
<table cellpadding="4" style="border-collapse: collapse">
<tr><td>Systems</td><td><b>@{matchedCount}</b> of @{reportingCount} currently reporting</td></tr>
<tr><td>Threshold</td><td>@{activationThresholdText}</td></tr>
<tr><td>Sensors</td><td>@{sensorNamesUnquoted}</td></tr>
<tr><td>Group</td><td>@{groupName}</td></tr>
<tr><td>Activated</td><td>@{activationTime}</td></tr>
<tr><td>This event</td><td>@{eventTime}</td></tr>
</table>
<p><a href="@{notificationActivationDetailsURL}">Open the activation</a></p>
</body></html>
"""


@dataclass(frozen=True, slots=True)
class Letter:
    """A message ready for SMTP."""

    sender: str
    receiver: str
    data: bytes  # CRLF line ends


def render_email(values: Values) -> RenderedBody:
    """Raises TemplateError."""
    subject = _CONTROLS.sub(" ", render(SUBJECT, "text/plain", values)).strip()
    return RenderedBody(
        content_type="text/plain; charset=utf-8",
        text=render(TEXT, "text/plain", values),
        subject=subject if len(subject) <= MAX_SUBJECT else subject[: MAX_SUBJECT - 1] + "…",
        html=render(HTML, "text/html", values),
    )


def parse_address(text: str, display_name: str = "") -> Address:
    """Of `someone@example.com` or `Name <someone@example.com>`. Raises ValueError unless it is exactly one address."""
    framed = _FRAMED.fullmatch(text)
    name, plain = framed.groups() if framed else ("", text.strip())
    if not _ADDRESS.fullmatch(plain) or _CONTROLS.search(text):
        raise ValueError("is not an email address such as someone@example.com")
    try:
        shown = _CONTROLS.sub(" ", display_name or name.strip().strip('"'))
        return Address(display_name=shown, addr_spec=plain)
    except (MessageError, ValueError, IndexError) as error:
        raise ValueError(f"is not an email address: {error}") from None


def build_letter(delivery: Delivery, recipient: Recipient, rendered: RenderedBody, sender: str) -> Letter:
    """The same delivery gives the same bytes. Raises ValueError when an address is none."""
    receiver = parse_address(recipient.email or "", _display_name(recipient))
    origin = parse_address(sender)
    message = EmailMessage(policy=SMTP.clone(max_line_length=200))
    message["From"] = origin
    message["To"] = receiver
    message["Subject"] = rendered.subject or ""
    message["Date"] = format_datetime(datetime.fromtimestamp(delivery.event.time // 1000, UTC))
    message["Message-ID"] = f"<{delivery.id}@{origin.domain}>"
    message["List-Id"] = f"<{delivery.event.notification.id}.notifications.{origin.domain}>"
    message["Auto-Submitted"] = "auto-generated"
    message["X-Auto-Response-Suppress"] = "All"
    message["References"] = f"<{delivery.event.activation_id}@{origin.domain}>"
    message.set_content(rendered.text, cte="quoted-printable")
    if rendered.html:
        message.add_alternative(rendered.html, subtype="html", cte="quoted-printable")
        # The boundary would be random, and the bytes of two attempts would differ.
        message.set_boundary(f"=_{delivery.id}")
    return Letter(origin.addr_spec, receiver.addr_spec, message.as_bytes())


def _display_name(recipient: Recipient) -> str:
    if recipient.type == "user":
        full = " ".join(part for part in (recipient.first_name, recipient.last_name) if part)
        return full or recipient.name
    return recipient.name
