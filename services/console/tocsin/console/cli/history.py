"""`tocsin deliveries | activations`: what happened, as the console's pages list it, by the same queries."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import click
from confluent_kafka import KafkaException

from tocsin.console.cli.quiet import quiet_logs
from tocsin.console.cli.since import SINCE
from tocsin.console.models.database import Database
from tocsin.console.models.feed import stands_of
from tocsin.console.models.folding import Batch
from tocsin.console.models.queries import ACTIVATION_STATES, DELIVERY_STATES, Page, Queries, Wanted
from tocsin.console.table import render_table
from tocsin.console.yaml_export import dump_yaml
from tocsin.dispatcher.reading import ends_of, read_until
from tocsin.shared import kafka
from tocsin.shared.errors import BrokerError
from tocsin.shared.schemas.recipient_state import RecipientState
from tocsin.shared.settings import CommonSettings
from tocsin.shared.times import format_rfc3339
from tocsin.shared.topics import (
    ACTIVATIONS,
    DELIVERY_AUDIT,
    NOTIFICATION_EVENTS,
    NOTIFICATION_SYSTEMS,
    RECIPIENT_STATE,
)

T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])

BATCH = 5_000
_TIMES = ("routed_at", "updated_at", "next_at", "activated_at", "ended_at")
OUTPUT = click.option(
    "-o", "--output", type=click.Choice(["table", "json", "yaml"]), default="table", show_default=True
)
LIMIT = click.option("--limit", type=click.IntRange(1, 10_000), default=50, show_default=True)


@contextmanager
def read_models(settings: CommonSettings, *topics: str) -> Iterator[Queries]:
    """Made of these topics, read to their ends. Raises BrokerError, TopicError."""
    counts = kafka.check_topics(settings, topics)
    names = {settings.topic(name): name for name in topics}
    places = [(settings.topic(name), number) for name, count in counts.items() for number in range(count)]
    database = Database()
    try:
        batch = Batch()
        for number, message in enumerate(read_until(settings, dict.fromkeys(places), ends_of(settings, places)), 1):
            batch.add(names[message.topic() or ""], message.key(), message.value(), stands_of(message))
            if number % BATCH == 0:
                database.write(batch.statements())
                batch = Batch()
        database.write(batch.statements())
        yield Queries(database)
    except KafkaException as error:
        raise BrokerError(f"the history cannot be read: {error.args[0].str()}") from None
    finally:
        database.close()


def _ask(topics: Sequence[str], question: Callable[[Queries], Awaitable[T]]) -> T:
    async def ask(queries: Queries) -> T:
        return await question(queries)

    with read_models(CommonSettings.load(), *topics) as queries:
        return asyncio.run(ask(queries))


def recipient_standings(settings: CommonSettings) -> dict[str, RecipientState]:
    """As the dispatchers see them, by id of the recipient."""

    async def ask(queries: Queries) -> dict[str, RecipientState]:
        return await queries.recipient_states()

    with read_models(settings, RECIPIENT_STATE) as queries:
        return asyncio.run(ask(queries))


def _print(rows: Sequence[dict[str, Any]], output: str, columns: Sequence[str]) -> None:
    shown = [
        {name: format_rfc3339(value) if name in _TIMES and value is not None else value for name, value in row.items()}
        for row in rows
    ]
    if output == "json":
        click.echo(json.dumps(shown, indent=2, ensure_ascii=False))
    elif output == "yaml":
        click.echo(dump_yaml(shown), nl=False)
    else:
        cells = [["" if row[name] is None else str(row[name]) for name in columns] for row in shown]
        for line in render_table([name.replace("_", " ") for name in columns], cells):
            click.echo(line)


@click.group()
def deliveries() -> None:
    """One event for one recipient each, and every attempt at it."""
    quiet_logs()


@deliveries.command("list")
@click.option("--recipient", default=None, help="Its id.")
@click.option("--notification", default=None, help="Its id.")
@click.option("--state", type=click.Choice(DELIVERY_STATES), default=None)
@click.option("--since", type=SINCE, default=None, help="2h (ago), or a time.")
@LIMIT
@OUTPUT
def list_deliveries(
    recipient: str | None, notification: str | None, state: str | None, since: int | None, limit: int, output: str
) -> None:
    """List deliveries, newest first."""
    wanted = Wanted(recipient=recipient, notification=notification, state=state, since=since)
    page: Page = _ask((DELIVERY_AUDIT,), lambda queries: queries.deliveries(wanted, None, limit))
    columns = ("routed_at", "id", "recipient", "notification", "state", "attempts", "status", "reason", "next_at")
    _print(page.rows, output, columns)


@deliveries.command()
@click.argument("delivery")
def show(delivery: str) -> None:
    """Show a DELIVERY (its id) with its audit records, as JSON."""
    found = _ask((DELIVERY_AUDIT, NOTIFICATION_EVENTS), lambda queries: queries.delivery(delivery))
    if found is None:
        raise click.ClickException(f"there is no delivery {delivery}; `tocsin deliveries list` lists them")
    click.echo(json.dumps(found, indent=2, ensure_ascii=False))


@click.group()
def activations() -> None:
    """Each occurrence of a notification being active."""
    quiet_logs()


@activations.command("list")
@click.option("--notification", default=None, help="Its id.")
@click.option("--state", type=click.Choice(ACTIVATION_STATES), default=None)
@click.option("--since", type=SINCE, default=None, help="2h (ago), or a time.")
@LIMIT
@OUTPUT
def list_activations(notification: str | None, state: str | None, since: int | None, limit: int, output: str) -> None:
    """List activations, newest first."""

    async def ask(queries: Queries) -> Page:
        return await queries.activations(None, limit, notification=notification, state=state, since=since)

    page: Page = _ask((ACTIVATIONS,), ask)
    _print(page.rows, output, ("activated_at", "id", "notification", "state", "ended_at", "matched", "reporting"))


@activations.command("show")
@click.argument("activation")
def show_activation(activation: str) -> None:
    """Show an ACTIVATION (its id) with its events, as JSON."""

    async def ask(queries: Queries) -> dict[str, Any] | None:
        found = await queries.activation(activation)
        return found and {**found, "systems_at_activation": await queries.systems_at_activation(found)}

    found = _ask((ACTIVATIONS, NOTIFICATION_EVENTS), ask)
    if found is not None and found.get("systems_truncated"):  # the others stand in a topic of their own, a long one
        found = _ask((ACTIVATIONS, NOTIFICATION_EVENTS, NOTIFICATION_SYSTEMS), ask)
    if found is None:
        raise click.ClickException(f"there is no activation {activation}; `tocsin activations list` lists them")
    click.echo(json.dumps(found, indent=2, ensure_ascii=False))
