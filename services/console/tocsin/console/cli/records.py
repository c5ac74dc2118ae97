"""`tocsin sensors | groups | schedules | notifications list | show`: records of the configuration."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import click

from tocsin.console.cli.configuration import actor, find_record, print_records, warn_of_unreadable
from tocsin.console.cli.history import OUTPUT
from tocsin.console.cli.names import completing
from tocsin.console.cli.quiet import quiet_logs
from tocsin.console.state import State
from tocsin.console.store import Store
from tocsin.console.table import render_table
from tocsin.console.yaml_export import dump_yaml
from tocsin.shared.configuration.records import Record
from tocsin.shared.settings import CommonSettings


def _group(kind: str, text: str) -> click.Group:
    group = click.Group(f"{kind}s", callback=quiet_logs, help=text)
    group.add_command(_list_command(kind))
    group.add_command(show_command(kind))
    return group


def _list_command(kind: str) -> click.Command:
    @click.command("list", help=f"List {kind}s by name.")
    @click.option("--search", default="", help="Part of the name or the description.")
    @OUTPUT
    def list_records(search: str, output: str) -> None:
        state = _state()
        records = search_records(state, kind, search)
        if output == "table" and not records:
            click.echo(f"there is no such {kind}" if search else f"there are no {kind}s yet", err=True)
        print_records(records, state, output)

    return list_records


def show_command(kind: str) -> click.Command:
    """`show NAME`, of any kind."""

    @click.command("show", help=f"Show the {kind} NAME (or its id); secrets are not shown.")
    @click.argument("name", shell_complete=completing(kind))
    @click.option("-o", "--output", type=click.Choice(["yaml", "json"]), default="yaml", show_default=True)
    def show(name: str, output: str) -> None:
        state = _state()
        by_id = state.by_id(name)
        found = by_id if by_id is not None and by_id.kind == kind else find_record(state, kind, name)
        print_records([found], state, output, one=True)

    return show


def _state() -> State:
    state = Store(CommonSettings.load(), actor()).read()
    warn_of_unreadable(state)
    return state


def search_records(state: State, kind: str, search: str) -> list[Record]:
    """By part of the name or the description, however it is written."""
    wanted = search.strip().casefold()
    return [one for one in state.of_kind(kind) if wanted in one.name.casefold() or wanted in one.description.casefold()]


def print_table(header: Sequence[str], cells: Sequence[Sequence[str]], what: str) -> None:
    """A line to standard error where there is nothing."""
    if not cells:
        click.echo(f"there are no such {what}", err=True)
        return
    for line in render_table(header, cells):
        click.echo(line)


def print_documents(documents: Sequence[dict[str, Any]], output: str) -> None:
    """As JSON or YAML."""
    if output == "json":
        click.echo(json.dumps(documents, indent=2, ensure_ascii=False))
    else:
        click.echo(dump_yaml(list(documents)), nl=False)


sensors = _group("sensor", "Rules over one metric each.")
groups = _group("group", "Named sets of systems.")
schedules = _group("schedule", "When people may be told.")
notifications = _group("notification", "Sensors, a group, a threshold, and who is told.")
