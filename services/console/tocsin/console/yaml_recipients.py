"""Recipients as they are written in YAML: who, by which road, and how a webhook proves itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, get_args

from tocsin.console.checks import (
    GITHUB_HEADER,
    EgressPolicy,
    check_email,
    check_headers,
    check_secret,
    check_template,
    check_url,
    statuses,
)
from tocsin.console.drafts import Draft, Named, SecretInput
from tocsin.console.findings import Findings, Place
from tocsin.console.yaml_fields import Fields, Reader, Schema
from tocsin.console.yaml_nodes import Mapping, Node, Scalar
from tocsin.console.yaml_records import COMMON, read_common
from tocsin.shared.configuration.names import fold
from tocsin.shared.configuration.rate import parse_rate
from tocsin.shared.configuration.records import Scheme, Webhook
from tocsin.shared.configuration.rotation import SIDE_BY_SIDE
from tocsin.shared.times import format_duration, parse_duration

TYPES = ("user", "distribution-list", "system")
METHODS = ("POST", "PUT")
ORDERS = ("activation", "notification")
AUTHENTICATIONS = ("off", "basic", "signed-secret")
SCHEMES: tuple[Scheme, ...] = get_args(Scheme)
MAX_KEEP_OLD = 7 * 86_400_000
MAX_HEADERS = 50
MAX_RETRIES = 50
MAX_BODY = 64 << 10  # the template's own, tighter bound is the dispatcher's
MAX_SECRET = 4_096
MIN_TIMEOUT, MAX_TIMEOUT = 1_000, 30_000
MIN_EXPIRY, MAX_EXPIRY = 60_000, 30 * 86_400_000

_FLOW = ("rate", "ordered", "expire_after", "on_failing", "paused", "enabled")
RECIPIENT = Schema(
    "a recipient",
    (*COMMON, "type", "first_name", "last_name", "email", "mail", "webhook", "retry", *_FLOW),
)
MAIL = Schema("the texts of an email", ("subject", "text", "html"))
_MAIL_TYPES = {"subject": "text/plain", "text": "text/plain", "html": "text/html"}
WEBHOOK = Schema(
    "a webhook",
    ("url", "method", "authentication", "headers", "body", "content_type", "timeout", "permanent"),
)
AUTHENTICATION = Schema("authentication", ("type", "username", "password", "secret", "scheme", "header", "keep_old"))
_OF_AUTHENTICATION = {
    "basic": ("username", "password"),
    "signed-secret": ("secret", "scheme", "header", "keep_old"),
}
HEADER = Schema("a header", ("name", "value", "sensitive"))
REFERENCE = Schema("text, {env: NAME} or {keep: true}", ("env", "keep"))


@dataclass(frozen=True, slots=True)
class Rules:
    """What this deployment allows."""

    egress: EgressPolicy
    retry_tiers: tuple[int, ...]


def read_recipient(node: Node, reader: Reader, rules: Rules) -> Draft | None:
    fields = Fields(node, RECIPIENT, reader)
    kind = fields.choice("type", TYPES, required=True)
    if kind == "user" and not fields.has("name"):
        name, renamed, values = _named_after_the_person(fields)
    else:
        name, renamed, values = read_common(fields)
    values["type"] = kind
    secrets: dict[str, SecretInput] = {}
    _read_person(fields, kind, values)
    _read_connection(fields, kind, values, secrets, rules)
    values["retry"] = _read_retry(fields, rules)
    _read_flow(fields, values)
    told = fields.name("on_failing", required=False)
    recipients = (Named(told, fields.place_of("on_failing"), "on_failing"),) if told else ()
    if told and name and fold(told) == fold(name):
        fields.problem("on_failing", "a recipient cannot tell of its own failing", "name another recipient")
    if name is None:
        return None
    return Draft("recipient", name, fields.place, values, renamed, recipients=recipients, secrets=secrets)


def _named_after_the_person(fields: Fields) -> tuple[str | None, Any, dict[str, Any]]:
    first, last = fields.node("first_name"), fields.node("last_name")
    if not (isinstance(first, Scalar) and isinstance(last, Scalar)):
        return read_common(fields)  # says that the name is required
    description = fields.text("description") if fields.has("description") else None
    former = fields.name("renamed_from", required=False)
    if former:
        fields.problem("renamed_from", "a renamed recipient must have its new name written out", "add name:")
    name = fields.name_of(Scalar(first.place, f"{first.text} {last.text}", "text"), "name")
    return name, None, {"description": description or ""}


def _read_person(fields: Fields, kind: str | None, values: dict[str, Any]) -> None:
    for name in ("first_name", "last_name"):
        if kind == "user":
            values[name] = fields.text(name, required=True, longest=200)
        elif kind is not None and fields.has(name):
            fields.problem(name, f"a {kind} has none", "leave it out, or set type: user")


def _read_connection(
    fields: Fields, kind: str | None, values: dict[str, Any], secrets: dict[str, SecretInput], rules: Rules
) -> None:
    email, webhook = fields.has("email"), fields.node("webhook")
    if webhook is not None and kind in ("user", "distribution-list"):
        fields.problem("webhook", f"a {kind} is reached by email", "set type: system to use a webhook")
    elif webhook is not None and email:
        fields.problem("webhook", "a system has an email address or a webhook, not both", "remove one of them")
    elif kind == "system" and webhook is None and not email:
        fields.problem("type", "a system needs an email address or a webhook", "add email: or webhook:")
    elif kind in ("user", "distribution-list") and not email:
        fields.problem("email", f"is required for a {kind}")
    if email:
        values["email"] = fields.text("email")
        _report(fields, "email", check_email(values["email"].strip()) if values["email"] else [])
        values["email"] = values["email"] and values["email"].strip()
    if (mail := fields.node("mail")) is not None:
        if not email:
            fields.problem("mail", "only emails have these texts", "leave it out, or give an email address")
        values["mail"] = _read_mail(mail, fields.reader)
    if webhook is not None:
        values["webhook"] = _read_webhook(webhook, fields.reader, secrets, rules)


def _read_mail(node: Node, reader: Reader) -> dict[str, Any]:
    fields = Fields(node, MAIL, reader, "mail")
    values: dict[str, Any] = {}
    for name, content_type in _MAIL_TYPES.items():
        values[name] = fields.text(name, longest=MAX_BODY) if fields.has(name) else None
        if values[name] is not None:
            _report(fields, name, check_template(values[name], content_type))
    return values


def _read_flow(fields: Fields, values: dict[str, Any]) -> None:
    """How fast, in which order, until when. What is not written of `paused` and `enabled` stays as it is."""
    if fields.has("rate"):
        values["rate"] = fields.convert("rate", parse_rate)
    values["ordered"] = fields.choice("ordered", ORDERS)
    if fields.has("expire_after"):
        values["expire_after"] = fields.duration("expire_after")
        if values["expire_after"] is not None and not MIN_EXPIRY <= values["expire_after"] <= MAX_EXPIRY:
            fields.problem("expire_after", "must be from 1m to 30d")
    for name in ("paused", "enabled"):
        if fields.has(name):
            values[name] = fields.flag(name)


def _read_retry(fields: Fields, rules: Rules) -> tuple[int, ...] | None:
    if not fields.has("retry"):
        return None
    delays: list[int] = []
    for path, item in fields.items("retry", most=MAX_RETRIES):
        delay = fields.converted(item, path, parse_duration)
        if delay is not None and delay not in rules.retry_tiers:
            tiers = ", ".join(format_duration(tier) for tier in rules.retry_tiers)
            problem = f"{format_duration(delay)} is not a retry tier of this deployment"
            fields.findings.add(item.place, path, problem, f"there are {tiers}")
        elif delay is not None:
            delays.append(delay)
    return tuple(delays)


def _report(fields: Fields, name: str, problems: list[str]) -> None:
    for problem in problems:
        fields.problem(name, problem)


def _read_webhook(node: Node, reader: Reader, secrets: dict[str, SecretInput], rules: Rules) -> dict[str, Any]:
    fields = Fields(node, WEBHOOK, reader, "webhook")
    values: dict[str, Any] = {"url": fields.text("url", required=fields.valid, longest=10_000)}
    if values["url"] is not None:
        _report(fields, "url", check_url(values["url"], rules.egress))
    values["method"] = fields.choice("method", METHODS) or "POST"
    values["authentication"] = _read_authentication(fields, secrets)
    values["headers"] = _read_headers(fields, secrets)
    _check_taken(fields, values)
    values["content_type"] = _content_type(fields, values)
    if fields.has("body"):
        values["body"] = fields.text("body", longest=MAX_BODY)
    if values.get("body") is not None:
        _report(fields, "body", check_template(values["body"], values["content_type"]))
    if fields.has("timeout"):
        values["timeout"] = fields.duration("timeout")
        if values["timeout"] is not None and not MIN_TIMEOUT <= values["timeout"] <= MAX_TIMEOUT:
            fields.problem("timeout", "must be from 1s to 30s")
    texts = [item.text if isinstance(item, Scalar) else "" for _, item in fields.items("permanent", most=200)]
    try:
        values["permanent"] = statuses(texts)
    except ValueError as error:
        fields.problem("permanent", str(error))
    return values


def _content_type(fields: Fields, values: dict[str, Any]) -> str:
    """Of the field, or of a header of that name, which is then kept as the field."""
    header = next((one for one in values["headers"] if one["name"].lower() == "content-type"), None)
    default = Webhook.model_fields["content_type"].default
    text = fields.text("content_type", longest=200) if fields.has("content_type") else None
    if header is not None:
        values["headers"] = tuple(one for one in values["headers"] if one is not header)
        if text is not None:
            fields.problem("content_type", "is given as a header too", "remove one of them")
        if header["value"] is None:
            fields.problem("headers", "content-type cannot be sensitive")
        text = text or header["value"]
    if text is not None:
        _report(fields, "content_type", check_headers([("content-type", text)]))
        if "/" not in text:
            fields.problem("content_type", f"{text[:64]!r} is not a media type such as application/json")
    return text or str(default)


def _read_authentication(webhook: Fields, secrets: dict[str, SecretInput]) -> dict[str, Any]:
    node = webhook.node("authentication")
    if node is None:
        return {"type": "off"}
    fields = Fields(node, AUTHENTICATION, webhook.reader, "webhook.authentication")
    kind = fields.choice("type", AUTHENTICATIONS, required=fields.valid)
    wanted = _OF_AUTHENTICATION.get(kind or "", ())
    for name in ("username", "password", "secret", "scheme", "header", "keep_old"):
        if kind is not None and name not in wanted and fields.has(name):
            fields.problem(name, f"authentication {kind} has none", "leave it out, or change the type")
    values: dict[str, Any] = {"type": kind}
    if kind == "basic":
        values["username"] = fields.text("username", required=True, longest=255)
        if values["username"] and ":" in values["username"]:
            fields.problem("username", "must not contain a colon (RFC 7617)")
        _read_secret(fields, "password", secrets)
    elif kind == "signed-secret":
        values |= _read_scheme(fields)
        secret = _read_secret(fields, "secret", secrets)
        if secret is not None and secret.text is not None and values["scheme"] is not None:
            _report(fields, "secret", check_secret(secret.text, values["scheme"]))
    return values


def _read_scheme(fields: Fields) -> dict[str, Any]:
    scheme = (fields.choice("scheme", SCHEMES) if fields.has("scheme") else None) or "standard"
    values: dict[str, Any] = {"scheme": scheme}
    if scheme == "header":
        values["header"] = fields.text("header", required=True, longest=300)
        _report(fields, "header", check_headers([(values["header"], None)]) if values["header"] else [])
    elif fields.has("header"):
        fields.problem("header", f"the scheme {scheme} has a header of its own", "leave it out, or set scheme: header")
    if not fields.has("keep_old"):
        return values
    if scheme not in SIDE_BY_SIDE:
        fields.problem("keep_old", f"the scheme {scheme} has room for one secret only", "leave it out")
        return values
    keep = fields.duration("keep_old")
    if keep is not None and keep > MAX_KEEP_OLD:
        fields.problem("keep_old", "must be from 0s to 7d")
    return values if keep is None else {**values, "keep_old": keep}


def _check_taken(fields: Fields, values: dict[str, Any]) -> None:
    """A header that the authentication sets is not set a second time."""
    authentication = values["authentication"]
    taken = {"basic": "Authorization", "signed-secret": authentication.get("header")}.get(authentication["type"])
    if authentication.get("scheme") == "github":
        taken = GITHUB_HEADER
    if taken and any(header["name"].lower() == taken.lower() for header in values["headers"]):
        fields.problem("headers", f"{taken[:64]} is set by the authentication", "remove the header")


def _read_secret(fields: Fields, name: str, secrets: dict[str, SecretInput]) -> SecretInput | None:
    node = fields.node(name, required=True)
    if node is None:
        return None
    secret = read_value(node, fields.path(name), fields.reader, secret=True)
    if secret is not None:
        secrets[fields.path(name)] = secret
    return secret


def read_value(node: Node, path: str, reader: Reader, *, secret: bool) -> SecretInput | None:
    """Text as it stands, `{env: NAME}`, or `{keep: true}` where a secret may be kept. Shows no value."""
    if isinstance(node, Scalar):
        return _checked(node.place, path, node.text if node.kind != "nothing" else "", reader.findings)
    if not isinstance(node, Mapping):
        reader.findings.add(node.place, path, f"must be {REFERENCE.what}")
        return None
    fields = Fields(node, REFERENCE, reader, path)
    if fields.has("env") and fields.has("keep"):
        fields.problem("keep", "is given beside env", "remove one of them")
    elif fields.flag("keep"):
        if secret:
            return SecretInput(node.place, None)
        fields.problem("keep", "only what is secret can be kept", "write the value, or add sensitive: true")
    elif variable := fields.text("env", required=True):
        if variable in reader.environment:
            where = f"{path} (environment variable {variable})"
            return _checked(node.place, where, reader.environment[variable], reader.findings)
        fields.problem("env", f"the environment variable {variable[:64]} is not set", "set it and apply again")
    return None


def _checked(place: Place, path: str, text: str, findings: Findings) -> SecretInput | None:
    if not text:
        findings.add(place, path, "must not be empty")
    elif len(text) > MAX_SECRET:
        findings.add(place, path, f"has more than {MAX_SECRET} characters")
    elif any(letter == "\0" or "\ud800" <= letter <= "\udfff" for letter in text):
        findings.add(place, path, "contains a character that is not one")
    else:
        return SecretInput(place, text)
    return None


def _read_headers(webhook: Fields, secrets: dict[str, SecretInput]) -> tuple[dict[str, Any], ...]:
    headers: list[dict[str, Any]] = []
    seen: list[tuple[str, str | None]] = []
    for path, item in webhook.items("headers", most=MAX_HEADERS):
        fields = Fields(item, HEADER, webhook.reader, path)
        name = fields.text("name", required=fields.valid, longest=300)
        sensitive = bool(fields.flag("sensitive"))
        node = fields.node("value", required=fields.valid)
        value = None if node is None else read_value(node, fields.path("value"), fields.reader, secret=sensitive)
        if name is None:
            continue
        before = set(check_headers(seen))
        seen.append((name, value.text if value else None))
        for problem in check_headers(seen):
            if problem not in before:
                fields.problem("name", problem)
        if value is None:
            continue
        headers.append({"name": name, "value": None if sensitive else value.text})
        if sensitive:
            secrets[f"webhook.headers.{name.lower()}"] = value
    return tuple(headers)
