"""`tocsin recipients list | show | pause | resume | enable | disable`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click

from tocsin.console.cli.configuration import actor, as_json, find_record, reached_by, uses_of_recipients
from tocsin.console.cli.history import OUTPUT, recipient_standings
from tocsin.console.cli.names import completing
from tocsin.console.cli.quiet import quiet_logs
from tocsin.console.cli.records import print_documents, print_table, search_records, show_command
from tocsin.console.standing import standing
from tocsin.console.state import Operation, Put, State
from tocsin.console.store import Store
from tocsin.shared.clock import SystemClock
from tocsin.shared.configuration.records import Recipient
from tocsin.shared.settings import CommonSettings

_NAMES = click.argument("names", nargs=-1, required=True, shell_complete=completing("recipient"))


@click.group()
def recipients() -> None:
    """List recipients, hold them up and let them go on. What waits for them is kept, in order."""
    quiet_logs()


@recipients.command("list")
@click.option("--search", default="", help="Part of the name or the description.")
@click.option("--in-trouble", is_flag=True, help="Only those that get nothing, or fail.")
@OUTPUT
def list_recipients(search: str, in_trouble: bool, output: str) -> None:
    """List recipients with how they stand: ready, failing, circuit open, paused, disabled."""
    settings = CommonSettings.load()
    state = Store(settings, actor()).read()
    stands = recipient_standings(settings)
    found = [one for one in search_records(state, Recipient.kind, search) if isinstance(one, Recipient)]
    rows = [(one, standing(one, stands.get(one.id))) for one in found]
    rows = [(one, how) for one, how in rows if how.tone != "good" or not in_trouble]
    if output == "table":
        header = ["name", "type", "reached by", "notifications", "state", "why"]
        uses = uses_of_recipients(state)
        cells = [
            [one.name, one.type, reached_by(one), str(uses.get(one.id, 0)), how.word, how.why] for one, how in rows
        ]
        print_table(header, cells, "recipients")
    else:
        print_documents([{**as_json(one, state), "state": how.word, "why": how.why} for one, how in rows], output)


recipients.add_command(show_command(Recipient.kind))


@recipients.command()
@_NAMES
def pause(names: Sequence[str]) -> None:
    """Let the deliveries of these recipients wait."""
    _change(names, "paused", paused=True)


@recipients.command()
@_NAMES
def resume(names: Sequence[str]) -> None:
    """End a pause: what has waited goes out, oldest first."""
    _change(names, "resumed", paused=False)


@recipients.command()
@_NAMES
def disable(names: Sequence[str]) -> None:
    """Send these recipients nothing until they are enabled; their deliveries wait."""
    _change(names, "disabled", enabled=False)


@recipients.command()
@_NAMES
def enable(names: Sequence[str]) -> None:
    """Enable again, by whomever they were disabled; failures so far are forgotten."""
    _change(names, "enabled", enabled=True, enabled_at=SystemClock().now_ms())


def _change(names: Sequence[str], word: str, **fields: Any) -> None:
    def build(state: State) -> Sequence[Operation]:
        found = [find_record(state, "recipient", name) for name in names]
        changed = [record.model_copy(update=fields) for record in found if isinstance(record, Recipient)]
        return [Put(after, before.revision) for before, after in zip(found, changed, strict=True) if before != after]

    change = Store(CommonSettings.load(), actor()).write(build)
    for name in names:
        click.echo(f"{name} {word}" if change is not None else f"{name} was {word} already")
