"""docs/reference/settings.md: every environment variable, made from the settings' models."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import annotated_types
from pydantic import SecretStr
from pydantic.fields import FieldInfo

from tocsin.console.settings import ConsoleSettings
from tocsin.dispatcher.settings import DispatcherSettings, RouterSettings
from tocsin.evaluator.activator.settings import ActivatorSettings
from tocsin.evaluator.detector.settings import DetectorSettings
from tocsin.ingest.settings import AgentSettings, GatewaySettings
from tocsin.shared.settings import CommonSettings
from tocsin.shared.times import format_duration

PROCESSES: dict[str, type[CommonSettings]] = {
    "Every process": CommonSettings,
    "Gateway": GatewaySettings,
    "Agent": AgentSettings,
    "Detector": DetectorSettings,
    "Activator": ActivatorSettings,
    "Router": RouterSettings,
    "Dispatcher, and what the console asks of it": DispatcherSettings,
    "Console": ConsoleSettings,
}

WORDS = {
    "state_dir": "where the local stack, keys and logs of this machine are; by default `.tocsin` where one is",
    "topic_prefix": "stands before the name of every topic, consumer group and transactional id",
    "partitions_readings": "of `sensor-readings` and `detector-state`, when they are made",
    "partitions_deliveries": "of `deliveries`, its retry topics and what waits beside them, when they are made",
    "partitions_default": "of all other topics, when they are made",
    "retry_tiers": "the delays there are between attempts; a topic each",
    "log_level": "what is logged",
    "log_format": "`auto`: for people on a terminal, else JSON",
    "http_host": "where health and metrics are served",
    "console_url": "how others reach the console: goes into events, and so into webhooks and emails",
    "redis_url": "a Redis for hints; none: the local stack's, or none at all",
    "secret_keys": "the key ring: `id:base64 of 32 random bytes`, several separated by commas; the first encrypts",
    "secret_key_file": "a file of such entries, one a line; by default `secret.keys` in the state folder",
    "shutdown_grace": "what is in flight when a process is told to end may take so long",
    "gateway_host": "where it listens",
    "gateway_max_in_flight_requests": "of all clients together; more are answered 503",
    "router_configuration_wait": "how long an event may wait for the configuration it was made under",
    "http_client": "what sends webhooks; see decision 10",
    "settle_every": "how often results are committed",
    "circuit_longest_probe": "the longest wait between two probes of an open circuit",
    "rebalance_drain": "how long a partition that is taken away may wait for what is in flight",
    "smtp_host": "the mail relay; none: the local stack's mail sink",
    "smtp_port": "of the relay; none: 587, 465 with `tls`, 25 with `none`",
    "smtp_username": "login at the relay",
    "smtp_password": "login at the relay",
    "smtp_tls": "`starttls` and `tls` verify certificates",
    "smtp_from": "who emails are from",
    "smtp_connections": "to the relay, kept for a minute",
    "smtp_timeout": "of one message",
    "console_host": "where it listens",
    "oidc_client_id": "what the identity provider knows the console by",
    "oidc_client_secret": "the console's own, where the provider wants one",
    "oidc_client_secret_file": "a file that holds it",
    "oidc_scopes": "what is asked of the provider",
}
"""Of settings that say nothing themselves."""

HEAD = """\
# Every setting

Made from the models by `make reference`; a test keeps it current. Every setting is an environment variable. Any
librdkafka setting passes through as `TOCSIN_KAFKA__` and its name (`TOCSIN_KAFKA__SASL_MECHANISM=PLAIN`);
`KAFKA_BOOTSTRAP_SERVERS` names the broker, and without it the running local stack is used. Durations are written with
their unit: `90s`, `1h30m`, `250ms`.
"""
COLUMNS = "| variable | type | default | bounds | meaning |\n|---|---|---|---|---|\n"


def settings_page() -> str:
    parts = [HEAD]
    for title, model in PROCESSES.items():
        rows = "".join(_row(name, info) for name, info in own_fields(model))
        parts.append(f"\n## {title}\n{COLUMNS}{rows}")
    return "".join(parts)


def own_fields(model: type[CommonSettings]) -> Iterator[tuple[str, FieldInfo]]:
    """Those that its base does not have."""
    inherited = {name for base in model.__mro__[1:] for name in getattr(base, "model_fields", ())}
    yield from ((name, info) for name, info in model.model_fields.items() if name not in inherited and not info.exclude)


def meaning(name: str, info: FieldInfo) -> str:
    return info.description or WORDS.get(name, "")


def _row(name: str, info: FieldInfo) -> str:
    is_duration = "format_duration" in repr(info.metadata)
    cells = (
        f"`TOCSIN_{name.upper()}`", _type(info, is_duration), _default(info, is_duration),
        ", ".join(_bounds(info, is_duration)), meaning(name, info),
    )  # fmt: skip
    return f"| {' | '.join(cell.replace('|', '&#124;') for cell in cells)} |\n"


def _type(info: FieldInfo, is_duration: bool) -> str:
    text = repr(info.annotation)
    if is_duration:
        return "duration"
    if "tuple" in text:
        return "durations, with commas"
    if "Literal" in text:
        return " ".join(f"`{one}`" for one in getattr(info.annotation, "__args__", ()))
    for kind, word in ((SecretStr, "secret text"), (bool, "`true` `false`"), (int, "whole number"), (Path, "path")):
        if kind.__name__ in text:
            return word
    return "text"


def _default(info: FieldInfo, is_duration: bool) -> str:
    if info.default_factory is not None:
        return "see meaning"
    value: Any = info.default
    if isinstance(value, tuple):
        return f"`{','.join(format_duration(one) for one in value)}`"
    if value in (None, ""):
        return "*none*"
    if is_duration:
        return f"`{format_duration(value)}`"
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def _bounds(info: FieldInfo, is_duration: bool) -> Iterator[str]:
    def said(value: Any) -> str:
        return format_duration(value) if is_duration else f"{value:,}"

    for rule in info.metadata:
        match rule:
            case annotated_types.Ge(ge=least):
                yield f"from {said(least)}"
            case annotated_types.Gt(gt=least):
                yield f"above {said(least)}"
            case annotated_types.Le(le=most):
                yield f"up to {said(most)}"
            case _:
                if pattern := getattr(rule, "pattern", None):
                    yield f"`{pattern}`"
