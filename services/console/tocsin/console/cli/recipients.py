"""`tocsin recipients pause | resume | enable | disable`: what an operator does by hand."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click

from tocsin.console.cli.configuration import actor, find_record
from tocsin.console.cli.quiet import quiet_logs
from tocsin.console.state import Operation, Put, State
from tocsin.console.store import Store
from tocsin.shared.clock import SystemClock
from tocsin.shared.configuration.records import Recipient
from tocsin.shared.settings import CommonSettings


@click.group()
def recipients() -> None:
    """Hold recipients up and let them go on. What waits for them is kept, in order."""
    quiet_logs()


@recipients.command()
@click.argument("names", nargs=-1, required=True)
def pause(names: Sequence[str]) -> None:
    """Let the deliveries of these recipients wait."""
    _change(names, "paused", paused=True)


@recipients.command()
@click.argument("names", nargs=-1, required=True)
def resume(names: Sequence[str]) -> None:
    """End a pause: what has waited goes out, oldest first."""
    _change(names, "resumed", paused=False)


@recipients.command()
@click.argument("names", nargs=-1, required=True)
def disable(names: Sequence[str]) -> None:
    """Send these recipients nothing until they are enabled; their deliveries wait."""
    _change(names, "disabled", enabled=False)


@recipients.command()
@click.argument("names", nargs=-1, required=True)
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
