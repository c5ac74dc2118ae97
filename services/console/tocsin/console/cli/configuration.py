"""`tocsin apply | export | get`: the configuration as YAML."""

from __future__ import annotations

import getpass
import json
import os
import sys
from collections.abc import Callable, Iterable, Sequence

import click

from tocsin.console.audit import mask
from tocsin.console.cli.names import completing_the_kind_before
from tocsin.console.cli.quiet import quiet_logs
from tocsin.console.diff import render_plan
from tocsin.console.drafts import Draft
from tocsin.console.findings import Finding, Findings, RefusedError, nearest
from tocsin.console.plan import Plan, Planner
from tocsin.console.state import KINDS, Operation, State
from tocsin.console.store import Store
from tocsin.console.table import render_table
from tocsin.console.yaml_export import document_of, dump_yaml, export_state, names_of, sections, threshold_text
from tocsin.console.yaml_fields import Reader
from tocsin.console.yaml_files import find_files, read_files
from tocsin.console.yaml_recipients import Rules
from tocsin.dispatcher.settings import DispatcherSettings
from tocsin.shared.clock import SystemClock
from tocsin.shared.configuration.records import (
    Group,
    Notification,
    Recipient,
    Record,
    Schedule,
    Sensor,
    Settings,
    Silence,
)
from tocsin.shared.errors import BrokerError, UsageError
from tocsin.shared.ids import new_id
from tocsin.shared.secrets import KeyRing, load_key_ring
from tocsin.shared.settings import CommonSettings
from tocsin.shared.times import format_rfc3339


def key_ring(settings: CommonSettings) -> KeyRing:
    """From the settings; made on first use where the local stack is the broker. Raises SettingsError."""
    keys = settings.secret_keys.get_secret_value() if settings.secret_keys else None
    return load_key_ring(keys, settings.key_file(), create=bool(settings.local_stack()))


def actor() -> str:
    """Who is at the keyboard, for the audit."""
    try:
        return f"cli:{getpass.getuser()}"
    except (KeyError, OSError):  # a container's user may have no name
        return f"cli:{os.getuid()}"


@click.command()
@click.option("-f", "--file", "files", multiple=True, metavar="PATH", help="A file, a folder, or - for standard input.")
@click.argument("paths", nargs=-1)
@click.option("--dry-run", is_flag=True, help="Show what would change, and change nothing.")
@click.option("--prune", is_flag=True, help="Delete what the files don't have.")
def apply(files: tuple[str, ...], paths: tuple[str, ...], dry_run: bool, prune: bool) -> None:
    """Bring the configuration to what YAML files say.

    All of it or nothing: what is wrong is listed with its place, and then nothing is applied. Applying the same files
    again changes nothing. More paths may follow the first one.
    """
    if not files + paths:
        raise click.UsageError("name at least one file or folder: -f PATH")
    try:
        _apply(files + paths, dry_run=dry_run, prune=prune)
    except RefusedError as refused:
        click.echo(str(refused), err=True)
        sys.exit(1)


def _apply(paths: tuple[str, ...], *, dry_run: bool, prune: bool) -> None:
    quiet_logs()
    settings = DispatcherSettings.load()
    store = Store(settings, actor())
    findings = Findings()
    drafts = read_drafts(paths, settings, findings)
    if prune and not drafts and not findings.all:
        raise UsageError("the files hold no record: --prune would delete everything")
    state = _state_unless_already_refused(store, findings)
    build = _builder(drafts, findings.all, settings, prune=prune)
    plan = build(state)
    for line in render_plan(
        plan, names_of(state) | {step.after.id: step.after.name for step in plan.steps if step.after}
    ):
        click.echo(line)
    if dry_run:
        click.echo("dry run: nothing was written")
    elif plan.operations():
        write_plan(store, build)


def _state_unless_already_refused(store: Store, findings: Findings) -> State:
    try:
        state = store.read()
    except BrokerError:
        findings.refuse()  # what is wrong in the files is wrong without a broker too
        raise
    warn_of_unreadable(state)
    return state


def read_drafts(paths: Iterable[str], settings: DispatcherSettings, findings: Findings) -> list[Draft]:
    """What the files say, checked as far as it can be without the configuration there is."""
    rules = Rules(settings.egress_policy, settings.retry_tiers)
    return read_files(find_files(paths, findings), Reader(findings, os.environ), rules)


def _builder(
    drafts: Sequence[Draft], found: Iterable[Finding], settings: CommonSettings, *, prune: bool
) -> Callable[[State], Plan]:
    """Plans against a state; raises RefusedError with what is wrong in the files and against the state."""
    already = list(found)

    def build(state: State) -> Plan:
        findings = Findings()
        findings.all = list(already)
        now_ms = SystemClock().now_ms()
        planner = Planner(
            state, findings, lambda: key_ring(settings), lambda: new_id(now_ms), prune=prune, now_ms=now_ms
        )
        plan = planner.plan(drafts)
        findings.refuse()
        return plan

    return build


def write_plan(store: Store, build: Callable[[State], Plan]) -> None:
    """Planned again under the writer's lock: what was shown may be older than what is there."""

    def operations(state: State) -> Sequence[Operation]:
        return build(state).operations()

    change = store.write(operations)
    if change is not None:
        click.echo(f"applied as change {change.number}")


def warn_of_unreadable(state: State) -> None:
    for key, why in state.unreadable.items():
        click.echo(f"Warning: the record {key} cannot be read: {why}", err=True)


@click.command()
def export() -> None:
    """Print the configuration as YAML; applied again, it changes nothing.

    Secrets are not shown: `{keep: true}` in their place keeps the stored one.
    """
    quiet_logs()
    state = Store(CommonSettings.load(), actor()).read()
    warn_of_unreadable(state)
    click.echo(dump_yaml(export_state(state)), nl=False)


_KINDS = {**KINDS, Settings.kind: Settings}


def _kind(text: str) -> str:
    singular = text.lower().removesuffix("s") if text.lower() != Settings.kind else Settings.kind
    if singular not in _KINDS:
        raise UsageError(f"there is no kind {text!r}; {nearest(text, [*(f'{kind}s' for kind in KINDS), 'settings'])}")
    return singular


@click.command()
@click.argument("kind")
@click.argument("name", required=False, shell_complete=completing_the_kind_before)
@click.option("-o", "--output", type=click.Choice(["table", "yaml", "json"]), default="table", show_default=True)
def get(kind: str, name: str | None, output: str) -> None:
    """Show records of KIND, or the one called NAME.

    There are sensors, groups, schedules, notifications, recipients, silences and settings.
    """
    quiet_logs()
    wanted = _kind(kind)
    state = Store(CommonSettings.load(), actor()).read()
    warn_of_unreadable(state)
    records = state.of_kind(wanted)
    if name is not None:
        records = [find_record(state, wanted, name)]
    if output == "table" and not records:
        click.echo(f"there are no {wanted.removesuffix('s')}s yet", err=True)
    else:
        print_records(records, state, output, one=name is not None)


def print_records(records: Sequence[Record], state: State, output: str, *, one: bool = False) -> None:
    """`one`: as JSON, the record itself instead of a list."""
    if output == "yaml":
        click.echo(dump_yaml(sections(records, state)), nl=False)
    elif output == "json":
        shown = [as_json(record, state) for record in records]
        click.echo(json.dumps(shown[0] if one else shown, indent=2, ensure_ascii=False))
    elif records:
        for line in render_table(*_table(records, state)):
            click.echo(line)


def find_record(state: State, kind: str, name: str) -> Record:
    """By name. Raises UsageError with the nearest one there is."""
    try:
        found = state.find(kind, name)
    except ValueError as error:
        raise UsageError(str(error)) from None
    if found is None:
        known = [record.name for record in state.of_kind(kind)]
        raise UsageError(f"there is no {kind} {name!r}; {nearest(name, known)}")
    return found


def as_json(record: Record, state: State) -> dict[str, object]:
    """As YAML has it, with id, revision and time; secrets are stars."""
    document = mask(document_of(record, names_of(state)))
    assert isinstance(document, dict)
    if isinstance(record, Settings):
        document["tenant_id"] = record.tenant_id
    head = {"kind": record.kind, "id": record.id, "revision": record.revision}
    return {**head, "updated_at": format_rfc3339(record.updated_at), **document}


def _table(records: Sequence[Record], state: State) -> tuple[list[str], list[list[str]]]:
    """Header and rows: the columns that tell records of a kind apart."""
    names, uses = names_of(state), uses_of_recipients(state)
    match records[0]:
        case Sensor():
            header = ["name", "metric", "trigger", "clear", "for"]
        case Group():
            header = ["name", "systems", "tags"]
        case Notification():
            header = ["name", "sensors", "group", "threshold", "recipients"]
        case Recipient():
            header = ["name", "type", "reached by", "notifications"]
        case Schedule():
            header = ["name", "time_zone", "slots"]
        case Silence():
            header = ["name", "matchers", "from", "until", "comment"]
        case _:
            header = ["name", "tenant_id"]
    return header, [_row(record, names, uses) for record in records]


def uses_of_recipients(state: State) -> dict[str, int]:
    """How many notifications name each, by id."""
    uses: dict[str, int] = {}
    for notification in state.of_kind("notification"):
        assert isinstance(notification, Notification)
        for recipient_id in notification.recipient_ids:
            uses[recipient_id] = uses.get(recipient_id, 0) + 1
    return uses


def reached_by(recipient: Recipient) -> str:
    """The address, or the method and URL."""
    return recipient.email or (f"{recipient.webhook.method} {recipient.webhook.url}" if recipient.webhook else "")


def _row(record: Record, names: dict[str, str], uses: dict[str, int]) -> list[str]:
    document = document_of(record, names)
    match record:
        case Sensor():
            return [str(document.get(name, "")) for name in ("name", "metric", "trigger", "clear", "for")]
        case Group():
            tags = ", ".join(f"{name}={value}" for name, value in record.tags.items())
            return [record.name, ", ".join(record.systems) or "*", tags]
        case Notification():
            sensors = ", ".join(names.get(use.sensor_id, use.sensor_id) for use in record.sensors)
            group = str(document.get("group", "(every system)"))
            recipients = ", ".join(document.get("recipients", []))
            return [record.name, sensors, group, str(threshold_text(record.threshold)), recipients]
        case Recipient():
            return [record.name, record.type, reached_by(record), str(uses.get(record.id, 0))]
        case Schedule():
            slots = "; ".join(f"{day} {', '.join(ranges)}" for day, ranges in record.slots.as_ranges().items())
            return [record.name, record.time_zone, slots or "never"]
        case Silence():
            matchers = " ".join(document["matchers"])
            return [record.name, matchers, *(str(document.get(name, "")) for name in ("from", "until", "comment"))]
        case Settings():
            return [record.name, record.tenant_id]
        case _:
            return [record.name]
