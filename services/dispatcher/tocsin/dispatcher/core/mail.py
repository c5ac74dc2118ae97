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

from yarl import URL

from tocsin.dispatcher.core.templates import render
from tocsin.dispatcher.core.variables import Values
from tocsin.shared.configuration.records import MailTemplates, Recipient
from tocsin.shared.schemas.delivery import Delivery, RenderedBody

_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")  # and Unicode's line ends: no header takes them
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
{% if eventKind != "activated" %}This event: @{eventTime}
{% endif %}{% if activatedStillRetried %}
That it was activated has not reached you yet: that message is still being tried.
{% endif %}{% if notificationActivationDetailsURL %}
Details: @{notificationActivationDetailsURL}
{% endif %}"""

# Tables and styles at the element: what mail programs understand. One colour says how things stand.
HTML = """\
{% if notificationState == "active" %}{% set colour = "#c62828" %}{% elif notificationState == "resolved" %}\
{% set colour = "#2e7d32" %}{% else %}{% set colour = "#546e7a" %}{% endif %}<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<meta name="color-scheme" content="light dark"><title>@{notificationName}: @{eventKind}</title></head>
<body style="margin: 0; padding: 0; background: #f2f4f6">
<div style="display: none; max-height: 0; overflow: hidden">@{matchedCount} of @{reportingCount} systems</div>
<table role="presentation" width="100%" cellpadding="0" cellspacing="0" style="background: #f2f4f6">
<tr><td align="center" style="padding: 24px 12px">
<table role="presentation" width="100%" cellpadding="0" cellspacing="0" style="max-width: 560px; background: #ffffff;
 border-top: 4px solid @{colour}; border-radius: 4px; color: #1f2933;
 font: 15px/1.5 -apple-system, 'Segoe UI', Roboto, Helvetica, Arial, sans-serif">
<tr><td style="padding: 24px 28px 4px">
<div style="color: @{colour}; font-size: 13px; font-weight: 600; letter-spacing: .06em; text-transform: uppercase">\
@{eventKind}</div>
<h1 style="margin: 4px 0 0; font-size: 21px; line-height: 1.3; overflow-wrap: anywhere">@{notificationName}</h1>
</td></tr>
{% if notificationDescription %}<tr><td style="padding: 8px 28px 0; color: #52606d; white-space: pre-line;
 overflow-wrap: anywhere">@{notificationDescription}</td></tr>
{% endif %}{% if activatedStillRetried %}<tr><td style="padding: 8px 28px 0; color: #52606d">\
That it was activated has not reached you yet: that message is still being tried.</td></tr>
{% endif %}<tr><td style="padding: 16px 28px 8px"><span style="font-size: 30px; font-weight: 600">@{matchedCount}</span>
<span style="color: #52606d">of @{reportingCount} systems currently reporting</span></td></tr>
<tr><td style="padding: 0 28px 8px">
<table role="presentation" width="100%" cellpadding="0" cellspacing="0" style="font-size: 14px">
<tr><td style="padding: 6px 16px 6px 0; border-top: 1px solid #e4e7eb; color: #52606d; vertical-align: top" width="90">\
Threshold</td><td style="padding: 6px 0; border-top: 1px solid #e4e7eb">@{activationThresholdText}</td></tr>
<tr><td style="padding: 6px 16px 6px 0; border-top: 1px solid #e4e7eb; color: #52606d; vertical-align: top">\
Sensors</td><td style="padding: 6px 0; border-top: 1px solid #e4e7eb; overflow-wrap: anywhere">\
@{sensorNamesUnquoted}</td></tr>
<tr><td style="padding: 6px 16px 6px 0; border-top: 1px solid #e4e7eb; color: #52606d; vertical-align: top">\
Group</td><td style="padding: 6px 0; border-top: 1px solid #e4e7eb; overflow-wrap: anywhere">@{groupName}</td></tr>
<tr><td style="padding: 6px 16px 6px 0; border-top: 1px solid #e4e7eb; color: #52606d; vertical-align: top">\
Activated</td><td style="padding: 6px 0; border-top: 1px solid #e4e7eb">@{activationTime}</td></tr>
{% if eventKind != "activated" %}<tr><td style="padding: 6px 16px 6px 0; border-top: 1px solid #e4e7eb; color: #52606d;
 vertical-align: top">This event</td><td style="padding: 6px 0; border-top: 1px solid #e4e7eb">@{eventTime}</td></tr>
{% endif %}</table>
</td></tr>
{% if notificationActivationDetailsURL %}<tr><td style="padding: 12px 28px 28px">
<a href="@{notificationActivationDetailsURL}" style="display: inline-block; padding: 9px 18px; border-radius: 4px;
 background: @{colour}; color: #ffffff; font-weight: 600; text-decoration: none">Open the activation</a></td></tr>
{% else %}<tr><td style="padding: 0 0 20px"></td></tr>{% endif %}
</table>
<div style="padding: 12px; color: #7b8794; font: 12px/1.5 -apple-system, 'Segoe UI', Roboto, Helvetica, Arial,
 sans-serif">Sent by Tocsin</div>
</td></tr></table>
</body></html>
"""


@dataclass(frozen=True, slots=True)
class Letter:
    """A message ready for SMTP."""

    sender: str
    receiver: str
    data: bytes  # CRLF line ends


def render_email(values: Values, own: MailTemplates | None = None) -> RenderedBody:
    """In the recipient's own words where it has some. Raises TemplateError."""
    own = own or MailTemplates()
    # Whoever writes a text and no HTML wants that text to be seen, which a mail program shows second.
    html = HTML if own.html is None and own.text is None else own.html
    values = Values({**values.by_name, **{name: _readable(values.by_name[name]) for name in _TIMES}})
    subject = _CONTROLS.sub(" ", render(own.subject or SUBJECT, "text/plain", values)).strip()
    return RenderedBody(
        content_type="text/plain; charset=utf-8",
        text=render(own.text or TEXT, "text/plain", values),
        subject=subject if len(subject) <= MAX_SUBJECT else subject[: MAX_SUBJECT - 1] + "…",
        html=None if html is None else render(html, "text/html", values),
    )


_TIMES = ("activationTime", "eventTime")


def _readable(time: object) -> str:
    """`2026-11-23 10:00:00 UTC`, of the form that receivers of webhooks get."""
    return f"{str(time)[:19].replace('T', ' ')} UTC"


def parse_address(text: str, display_name: str = "") -> Address:
    """Of `someone@example.com` or `Name <someone@example.com>`. Raises ValueError unless it is exactly one address."""
    framed = _FRAMED.fullmatch(text)
    name, plain = framed.groups() if framed else ("", text.strip())
    if not _ADDRESS.fullmatch(plain) or _CONTROLS.search(text):
        raise ValueError("is not an email address such as someone@example.com")
    user, _, domain = plain.rpartition("@")
    try:
        shown = _CONTROLS.sub(" ", display_name or name.strip().strip('"'))
        # Neither a header nor SMTP takes a domain in letters beyond ASCII; the library would write what is no address.
        plain = plain if domain.isascii() else f"{user}@{URL.build(scheme='http', host=domain).raw_host}"
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
