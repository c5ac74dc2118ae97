"""`tocsin dead-letters list | show | replay`: deliveries given up."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import click

from tocsin.console.cli.names import completing
from tocsin.console.cli.quiet import quiet_logs
from tocsin.console.cli.since import SINCE
from tocsin.console.table import render_table
from tocsin.dispatcher.dead_letters import Standing, read_dead_letters
from tocsin.dispatcher.dead_letters import replay as replay_letters
from tocsin.dispatcher.settings import DispatcherSettings
from tocsin.shared.clock import SystemClock
from tocsin.shared.schemas.delivery import DeadLetter
from tocsin.shared.times import format_rfc3339

F = TypeVar("F", bound=Callable[..., Any])


def _filters(command: F) -> F:
    for option in (
        click.option("--until", type=SINCE, default=None, help="Given up before: 1h (ago), or a time."),
        click.option("--since", type=SINCE, default=None, help="Given up since: 2h, 7d, or a time."),
        click.option("--notification", default=None, shell_complete=completing("notification"), help="Its name or id."),
        click.option("--recipient", default=None, shell_complete=completing("recipient"), help="Its name or id."),
    ):
        command = option(command)
    return command


@click.group(name="dead-letters")
def dead_letters() -> None:
    """Deliveries that will not be tried again unless someone replays them."""
    quiet_logs()


@dead_letters.command(name="list")
@_filters
@click.option("--all", "everything", is_flag=True, help="Also those that have been replayed since.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
def list_letters(everything: bool, as_json: bool, **wanted: Any) -> None:
    """List dead letters, oldest first."""
    found = [one for one in read_dead_letters(DispatcherSettings.load()) if _matches(one.letter, **wanted)]
    shown = [one for one in found if one.last or everything]
    if as_json:
        for one in shown:
            click.echo(json.dumps(_summary(one)))
        return
    rows = [[str(value) if value is not None else "" for value in _summary(one).values()] for one in shown]
    header = ["time", "delivery", "replay", "recipient", "notification", "event", "reason", "status", "replayed"]
    for line in render_table(header, rows):
        click.echo(line)


@dead_letters.command()
@click.argument("delivery")
def show(delivery: str) -> None:
    """Show all that is kept of a DELIVERY (its id), as JSON."""
    found = [one for one in read_dead_letters(DispatcherSettings.load()) if one.letter.delivery.id == delivery]
    if not found:
        raise click.ClickException(f"there is no dead letter {delivery}; `tocsin dead-letters list --all` lists them")
    for one in found:
        click.echo(json.dumps(json.loads(one.letter.encode()), indent=2, ensure_ascii=False))


@dead_letters.command()
@click.argument("deliveries", nargs=-1)
@_filters
@click.option("--all", "everything", is_flag=True, help="All there are.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
def replay(deliveries: Sequence[str], everything: bool, as_json: bool, **wanted: Any) -> None:
    """Take dead letters up again: the same delivery ids, a new replay number, the body rendered anew.

    Name DELIVERIES by id, or choose them by options.
    """
    if not (deliveries or everything or any(value is not None for value in wanted.values())):
        raise click.UsageError("say which: delivery ids, --recipient, --notification, --since, --until, or --all")
    settings = DispatcherSettings.load()
    found = [one for one in read_dead_letters(settings) if _matches(one.letter, **wanted)]
    if deliveries:
        found = [one for one in found if one.letter.delivery.id in deliveries]
        if missing := set(deliveries) - {one.letter.delivery.id for one in found}:
            raise click.ClickException(f"there is no dead letter {', '.join(sorted(missing))}")
    again = replay_letters(settings, [one.letter for one in found if one.last], SystemClock().now_ms())
    for delivery in again if as_json else ():
        click.echo(json.dumps({"delivery": delivery.id, "replay": delivery.replay}))
    if not as_json:
        known = len({one.letter.delivery.id for one in found}) - len(again)
        others = f"; {known} had been replayed before" if known else ""
        click.echo(f"{len(again)} {'delivery' if len(again) == 1 else 'deliveries'} taken up again{others}")


def _matches(
    letter: DeadLetter, recipient: str | None, notification: str | None, since: int | None, until: int | None
) -> bool:
    delivery = letter.delivery
    return (
        (recipient is None or _is_called(recipient, delivery.recipient.id, delivery.recipient.name))
        and (
            notification is None
            or _is_called(notification, delivery.event.notification.id, delivery.event.notification.name)
        )
        and (since is None or letter.time >= since)
        and (until is None or letter.time < until)
    )


def _is_called(text: str, id_: str, name: str) -> bool:
    return text == id_ or text.strip().casefold() == name.casefold()


def _summary(one: Standing) -> dict[str, Any]:
    letter, delivery = one.letter, one.letter.delivery
    return {
        "time": format_rfc3339(letter.time),
        "delivery": delivery.id,
        "replay": delivery.replay,
        "recipient": delivery.recipient.name,
        "notification": delivery.event.notification.name,
        "event": delivery.event.kind,
        "reason": letter.reason,
        "status": letter.status,
        "replayed": "" if one.last else "yes",
    }
