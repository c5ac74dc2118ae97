"""`tocsin doctor`: is everything there that Tocsin needs. Each line is OK, or what to do."""

from __future__ import annotations

import socket
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import click

from tocsin.console.cli.configuration import key_ring
from tocsin.console.cli.quiet import quiet_logs
from tocsin.console.store import Store
from tocsin.dispatcher.settings import DispatcherSettings
from tocsin.shared import kafka
from tocsin.shared.errors import TocsinError

SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at; `problem` None: it is as it should be."""

    what: str
    shown: str
    problem: str | None = None


@click.command()
def doctor() -> None:
    """Look at the broker, topics, configuration, keys, Redis, mail and DNS. Exit code 1 when something is wrong."""
    quiet_logs()
    wrong = 0
    for finding in findings(DispatcherSettings.load()):
        wrong += finding.problem is not None
        mark = "OK   " if finding.problem is None else "WRONG"
        click.echo(f"{mark}  {finding.what:<14} {finding.shown if finding.problem is None else finding.problem}")
    sys.exit(1 if wrong else 0)


def findings(settings: DispatcherSettings) -> Iterator[Finding]:
    """In the order in which one thing needs the other."""
    checks: tuple[tuple[str, Callable[[DispatcherSettings], str]], ...] = (
        ("broker", _broker),
        ("topics", _topics),
        ("configuration", _configuration),
        ("secret keys", _keys),
        ("redis", _redis),
        ("mail", _mail),
        ("dns", _dns),
    )
    for what, check in checks:
        try:
            yield Finding(what, check(settings))
        except (TocsinError, OSError) as error:
            yield Finding(what, "", str(error).replace("\n", "; "))
            if what == "broker":
                return  # nothing else can be said


def _broker(settings: DispatcherSettings) -> str:
    count = len(kafka.existing_partitions(kafka.admin(settings.kafka), timeout=SECONDS))
    return f"{settings.kafka.bootstrap_servers}, {count} topics"


def _topics(settings: DispatcherSettings) -> str:
    topics = settings.topics()
    kafka.check_topics(settings, [topic.name for topic in topics])
    return f"all {len(topics)} are there, with the settings they need"


def _configuration(settings: DispatcherSettings) -> str:
    state = Store(settings, "doctor").read()
    if state.unreadable:
        raise TocsinError(f"{len(state.unreadable)} records cannot be read: {', '.join(state.unreadable)}")
    counts: dict[str, int] = {}
    for record in state.records.values():
        counts[record.kind] = counts.get(record.kind, 0) + 1
    shown = ", ".join(
        f"{count} {kind}{'' if count == 1 else 's'}" for kind, count in counts.items() if kind != "settings"
    )
    return shown or "nothing is configured yet"


def _keys(settings: DispatcherSettings) -> str:
    return f"{key_ring(settings)!r}".removeprefix("KeyRing(").removesuffix(")")


def _redis(settings: DispatcherSettings) -> str:
    url = settings.redis_url or settings.local_stack().get("redis_url")
    if not url:
        return "none; everything works without"
    import redis  # noqa: PLC0415  only where there is one

    try:
        redis.Redis.from_url(str(url), socket_timeout=SECONDS, socket_connect_timeout=SECONDS).ping()
    except redis.RedisError as error:
        raise TocsinError(f"does not answer ({error}); nothing is lost without it, only repeats get likelier") from None
    return "answers"


def _mail(settings: DispatcherSettings) -> str:
    stack = settings.local_stack().get("smtp") or {}
    host, port = settings.smtp_host or stack.get("host"), settings.smtp_port or stack.get("port") or 587
    if not host:
        return "no server; set TOCSIN_SMTP_HOST to send emails"
    with socket.create_connection((str(host), int(port)), SECONDS) as connection:
        connection.settimeout(SECONDS)
        greeting = connection.recv(256).decode(errors="replace").strip()
    if not greeting.startswith("220"):
        raise TocsinError(f"{host}:{port} greets with {greeting[:60]!r} instead of 220")
    return f"{host}:{port} greets"


def _dns(settings: DispatcherSettings) -> str:
    host = settings.console_url.partition("://")[2].partition("/")[0].partition(":")[0]
    socket.getaddrinfo(host, None)
    return f"{host} resolves"
