"""Records as YAML: what applying it again would change nothing of. Secrets are `{keep: true}`."""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.scalarstring import DoubleQuotedScalarString, LiteralScalarString

from tocsin.console.state import KINDS, State
from tocsin.console.yaml_sensors import sensor_document
from tocsin.shared.configuration.records import (
    DEFAULT_EXPIRE_AFTER_MS,
    DEFAULT_FORGET_AFTER_MS,
    DEFAULT_KEEP_OLD_MS,
    DEFAULT_REPORTING_WITHIN_MS,
    BasicAuthentication,
    Group,
    Notification,
    Recipient,
    Record,
    Schedule,
    Sensor,
    SignedSecret,
    Silence,
    ThresholdSpec,
    Token,
    User,
    Webhook,
)
from tocsin.shared.configuration.schedules import PRESETS
from tocsin.shared.configuration.silences import matcher_text
from tocsin.shared.times import format_duration, format_rfc3339

KEEP = {"keep": True}
_WEBHOOK = Webhook(url="https://example.com")  # for its defaults

Document = dict[str, Any]


def document_of(record: Record, names: Mapping[str, str]) -> Document:
    """The fields of a record as YAML knows them, defaults left out; `names` of the records it refers to, by id."""
    found: Document = {"name": record.name}
    if record.description:
        found["description"] = record.description
    if isinstance(record, Sensor):
        found |= sensor_document(record)
    elif isinstance(record, Group):
        found |= _given(systems=list(record.systems), tags=dict(record.tags))
    elif isinstance(record, Notification):
        found |= _notification(record, names)
    elif isinstance(record, Recipient):
        found |= _recipient(record, names)
    elif isinstance(record, User):
        found |= _given(role=record.role, disabled=record.disabled or None, issuer=record.issuer)
        found |= {"password": KEEP, "password_changed_at": format_rfc3339(record.password_changed_at)}
    elif isinstance(record, Token):
        expires = None if record.expires_at is None else format_rfc3339(record.expires_at)
        found |= _given(scope=record.scope, hint=record.hint, created_by=record.created_by, expires_at=expires)
    elif isinstance(record, Schedule):
        found |= {"time_zone": record.time_zone, "slots": record.slots.as_ranges()}
    elif isinstance(record, Silence):
        found |= _silence(record)
    return found


def _given(**fields: Any) -> Document:
    return {name: value for name, value in fields.items() if value not in (None, [], {})}


def threshold_text(threshold: ThresholdSpec) -> str | int:
    return f"{threshold.value_text()}%" if threshold.is_percent else int(threshold.value)


def _notification(notification: Notification, names: Mapping[str, str]) -> Document:
    kinds = notification.notify_on
    default = tuple(Notification.model_fields["notify_on"].default)
    if notification.remind_every:  # without `notify` it means another set then
        default = ()
    found = _given(
        sensors=[
            names.get(use.sensor_id, use.sensor_id)
            if use.instance is None and use.level is None
            else _given(sensor=names.get(use.sensor_id, use.sensor_id), instance=use.instance, level=use.level)
            for use in notification.sensors
        ],
        group=None if notification.group_id is None else names.get(notification.group_id, notification.group_id),
        threshold=threshold_text(notification.threshold),
        **_timing(notification, names),
        notify=None if kinds == default else list(kinds),
    )
    return found | {"recipients": [names.get(recipient, recipient) for recipient in notification.recipient_ids]}


def _timing(notification: Notification, names: Mapping[str, str]) -> Document:
    within, forgotten = notification.reporting_within, notification.forget_after
    schedule = notification.schedule_id
    if schedule is not None and schedule not in PRESETS:
        schedule = names.get(schedule, schedule)
    return {
        "for": format_duration(notification.for_) if notification.for_ else None,
        "remind_every": format_duration(notification.remind_every) if notification.remind_every else None,
        "cooldown": format_duration(notification.cooldown) if notification.cooldown else None,
        "schedule": schedule,
        "reporting_within": None if within == DEFAULT_REPORTING_WITHIN_MS else format_duration(within),
        "forget_after": None if forgotten == DEFAULT_FORGET_AFTER_MS else format_duration(forgotten),
    }


def _silence(silence: Silence) -> Document:
    found: Document = {"matchers": [matcher_text(matcher) for matcher in silence.matchers]}
    if silence.starts_at:
        found["from"] = format_rfc3339(silence.starts_at)
    return found | {"until": format_rfc3339(silence.until)} | _given(comment=silence.comment or None)


def _recipient(recipient: Recipient, names: Mapping[str, str]) -> Document:
    found: Document = {"type": recipient.type}
    found |= _given(first_name=recipient.first_name, last_name=recipient.last_name, email=recipient.email)
    if recipient.mail is not None:
        mail = recipient.mail
        found |= _given(mail=_given(subject=mail.subject, text=mail.text, html=mail.html))
    if recipient.webhook is not None:
        found["webhook"] = _webhook(recipient.webhook)
    if recipient.retry is not None:
        found["retry"] = [format_duration(delay) for delay in recipient.retry]
    told = recipient.on_failing_id
    expiry = recipient.expire_after
    found |= _given(
        rate=recipient.rate,
        ordered=recipient.ordered,
        expire_after=None if expiry == DEFAULT_EXPIRE_AFTER_MS else format_duration(expiry),
        on_failing=None if told is None else names.get(told, told),
    )
    if recipient.paused:
        found["paused"] = True
    if not recipient.enabled:
        found["enabled"] = False
    return found


def _webhook(webhook: Webhook) -> Document:
    content_type = None if webhook.content_type == _WEBHOOK.content_type else webhook.content_type
    found: Document = {"url": webhook.url, "method": webhook.method}
    found |= _given(content_type=content_type)
    match webhook.authentication:
        case BasicAuthentication() as basic:
            found["authentication"] = {"type": basic.type, "username": basic.username, "password": KEEP}
        case SignedSecret() as signed:
            found["authentication"] = _signed(signed)
        case _:
            pass
    found |= _given(
        headers=[
            {"name": header.name, "value": KEEP, "sensitive": True}
            if header.sensitive
            else {"name": header.name, "value": header.value or ""}
            for header in webhook.headers
        ],
        timeout=None if webhook.timeout == _WEBHOOK.timeout else format_duration(webhook.timeout),
        permanent=list(webhook.permanent),
        body=webhook.body,
    )
    return found


def _signed(signed: SignedSecret) -> Document:
    found: Document = {"type": signed.type, "secret": KEEP}
    return found | _given(
        scheme=None if signed.scheme == "standard" else signed.scheme,
        header=signed.header,
        keep_old=None if signed.keep_old == DEFAULT_KEEP_OLD_MS else format_duration(signed.keep_old),
    )


def names_of(state: State) -> dict[str, str]:
    return {record.id: record.name for record in state.records.values()}


def export_state(state: State) -> dict[str, list[Document]]:
    """All that a user has defined, by section."""
    names = names_of(state)
    return {
        f"{kind}s": [document_of(record, names) for record in records]
        for kind in KINDS
        if (records := state.of_kind(kind))
    }


def dump_yaml(document: Any) -> str:
    """Lines are never folded; a text of several lines is a block where YAML allows one."""
    writer = YAML(typ="rt", pure=True)
    writer.width = 1 << 20
    writer.indent(mapping=2, sequence=4, offset=2)
    out = io.StringIO()
    writer.dump(_dressed(document), out)
    return out.getvalue()


def _dressed(value: Any) -> Any:
    if isinstance(value, dict):
        return {_dressed_key(key): _dressed(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_dressed(item) for item in value]
    if isinstance(value, str):
        return _dressed_text(value)
    return value


def _dressed_key(key: str) -> Any:
    return key if key.isprintable() else DoubleQuotedScalarString(key)


def _dressed_text(text: str) -> Any:
    if all(letter.isprintable() for letter in text):
        return text
    lines = text.split("\n")
    plain = all(letter.isprintable() for line in lines for letter in line)
    if (
        plain
        and len(lines) > 1
        and not any(line[:1] == " " or line != line.rstrip() for line in lines[:1] + lines[-1:])
    ):
        return LiteralScalarString(text)
    return DoubleQuotedScalarString(text)


def sections(records: Iterable[Record], state: State) -> dict[str, list[Document]]:
    """Some records, by section."""
    names = names_of(state)
    found: dict[str, list[Document]] = {}
    for record in records:
        found.setdefault(f"{record.kind}s", []).append(document_of(record, names))
    return found
