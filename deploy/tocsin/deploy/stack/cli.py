"""`tocsin stack up | down | status | fetch`."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import ParamSpec, TypeVar

import click

from tocsin.deploy.stack.archive import make_archive
from tocsin.deploy.stack.info import StackInfo
from tocsin.deploy.stack.jars import kafka_jars
from tocsin.deploy.stack.java import find_java
from tocsin.deploy.stack.local import Stack
from tocsin.shared.errors import TocsinError
from tocsin.shared.settings import default_state_dir

P = ParamSpec("P")
R = TypeVar("R")


def _say(line: str) -> None:
    click.echo(line)


def _one_line_errors(command: Callable[P, R]) -> Callable[P, R]:
    @wraps(command)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return command(*args, **kwargs)
        except TocsinError as error:
            raise click.ClickException(str(error)) from None

    return wrapped


def _properties(_context: click.Context, _parameter: click.Parameter, values: tuple[str, ...]) -> dict[str, str]:
    properties = {}
    for value in values:
        key, equals, setting = value.partition("=")
        if not equals or not key:
            raise click.BadParameter(f"{value!r} is not of the form key=value")
        properties[key] = setting
    return properties


state_dir_option = click.option(
    "--state-dir",
    type=click.Path(file_okay=False, path_type=Path),
    help="Where data, logs and mails are kept.  [default: $TOCSIN_STATE_DIR, else .tocsin]",
)


@click.group()
def stack() -> None:
    """A real Kafka, a mail sink and (where installed) Redis on this machine."""


@stack.command()
@state_dir_option
@click.option("--kafka-port", type=click.IntRange(1, 65535), help="A fixed port instead of a free one.")
@click.option(
    "--property",
    "properties",
    multiple=True,
    metavar="KEY=VALUE",
    callback=_properties,
    help="A broker setting; repeatable.",
)
@click.option("--redis/--no-redis", default=True, help="Start Redis if `redis-server` is on PATH.")
@click.option("--smtp/--no-smtp", default=True, help="Start the mail sink.")
@click.option("--foreground", is_flag=True, help="Stay until Ctrl-C, then stop everything.")
@_one_line_errors
def up(
    state_dir: Path | None,
    kafka_port: int | None,
    properties: dict[str, str],
    redis: bool,
    smtp: bool,
    foreground: bool,
) -> None:
    """Start the stack; it stays until `tocsin stack down`."""
    folder = state_dir or default_state_dir()
    local = Stack(
        folder,
        kafka_port=kafka_port,
        with_redis=redis,
        with_smtp=smtp,
        broker_properties=properties,
        lasting=not foreground,
        say=_say,
    )
    running = local.status()
    if running is not None and not foreground:
        _show(running)
        return
    if not foreground:
        _show(local.up())
        return
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # leave as with Ctrl-C
    try:
        with local:
            click.echo("Ctrl-C stops it.")
            local.wait()
    except KeyboardInterrupt:
        click.echo("stopped")


@stack.command()
@state_dir_option
@_one_line_errors
def down(state_dir: Path | None) -> None:
    """Stop it. Data and mails stay."""
    folder = state_dir or default_state_dir()
    # Looking must not make the folder.
    stopped = folder.is_dir() and Stack(folder).down()
    click.echo(f"stopped; the data stay in {folder}" if stopped else f"nothing is running in {folder}")


@stack.command()
@state_dir_option
@_one_line_errors
def status(state_dir: Path | None) -> None:
    """Show what is running; exit code 1 when nothing answers."""
    folder = state_dir or default_state_dir()
    running = Stack(folder).status()
    if running is None:
        click.echo(f"nothing is running in {folder}")
        sys.exit(1)
    _show(running)


@stack.command()
@_one_line_errors
def fetch() -> None:
    """Fetch Kafka's jars into the cache, so that later starts need no network, and make them start quicker."""
    jars = kafka_jars(_say)
    make_archive(_say)
    click.echo(f"Kafka's jars are complete in {jars}")


@stack.command()
@_one_line_errors
def java() -> None:
    """Show which Java the broker runs on."""
    click.echo(find_java())


def _show(info: StackInfo) -> None:
    click.echo(f"kafka  {info.bootstrap_servers}")
    click.echo(f"redis  {info.redis_url or 'none'}")
    if info.smtp_port is not None:
        click.echo(f"smtp   127.0.0.1:{info.smtp_port}, mails in {info.mail_dir}")
    for name, process in info.processes.items():
        click.echo(f"       {name} is process {process.pid}")
