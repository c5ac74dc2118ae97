"""`tocsin silence add | list | expire` and `tocsin dismiss`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import click

from tocsin.console.activations import read_activations
from tocsin.console.cli.configuration import actor, find_record
from tocsin.console.cli.names import completing
from tocsin.console.cli.quiet import quiet_logs
from tocsin.console.cli.since import MOMENT
from tocsin.console.findings import nearest
from tocsin.console.quieting import add_silence, describe_silence, expire_silence, silence_name
from tocsin.console.quieting import dismiss as dismissal
from tocsin.console.state import Operation, State
from tocsin.console.store import Store
from tocsin.console.table import render_table
from tocsin.shared.clock import SystemClock
from tocsin.shared.configuration.names import check_name
from tocsin.shared.configuration.records import Silence
from tocsin.shared.configuration.silences import MAX_MATCHERS, parse_matcher, silences_of
from tocsin.shared.configuration.snapshot import Configuration
from tocsin.shared.errors import UsageError
from tocsin.shared.ids import new_id
from tocsin.shared.settings import CommonSettings
from tocsin.shared.times import format_rfc3339

MAX_COMMENT = 2_000


@click.group()
def silence() -> None:
    """Keep notifications quiet for a while. What still stands at the end of a silence is announced then."""
    quiet_logs()


@silence.command()
@click.argument("matchers", nargs=-1, required=True)
@click.option("--until", type=MOMENT, required=True, help="2h (from its beginning), or a time.")
@click.option("--from", "start", type=MOMENT, default=None, help="10m (from now), or a time. Default: now.")
@click.option("--comment", default="", help="Why; shown to whoever wonders.")
@click.option("--name", default="", help="To find it again. Default: made up.")
def add(matchers: Sequence[str], until: Any, start: Any, comment: str, name: str) -> None:
    """Send nothing of the notifications that all MATCHERS fit.

    A matcher is notification=PATTERN, sensor=PATTERN or group=PATTERN, with != for what must not fit; * ? [abc] are
    wildcards, case does not count: tocsin silence add 'notification=Finance*' --until 2h --comment 'patch night'
    """
    now = SystemClock().now_ms()
    begins = now if start is None else start.after(now)
    ends = until.after(begins)
    if ends <= max(begins, now):
        raise UsageError("--until is over already, or not after --from: a silence ends later than it begins")
    if len(matchers) > MAX_MATCHERS:
        raise UsageError(f"at most {MAX_MATCHERS} matchers are possible")
    if len(comment) > MAX_COMMENT:
        raise UsageError(f"--comment has {len(comment)} characters, at most {MAX_COMMENT} are possible")
    made_id = new_id(now)
    try:
        made = Silence(
            id=made_id,
            name=check_name(name) if name else silence_name(made_id),
            matchers=tuple(parse_matcher(text) for text in matchers),
            starts_at=begins,
            until=ends,
            comment=comment,
            created_by=actor(),
        )
    except ValueError as error:
        raise UsageError(str(error)) from None
    change = Store(CommonSettings.load(), actor()).write(lambda state: add_silence(state, made, now))
    assert change is not None
    fitting = _fitting(made.id, change.state)
    click.echo(f"{made.name}: silent until {format_rfc3339(ends)}: {', '.join(fitting) or 'nothing fits as yet'}")


@silence.command(name="list")
@click.option("--all", "everything", is_flag=True, help="Also those that are over.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
def list_silences(everything: bool, as_json: bool) -> None:
    """List silences, the one that ends first on top."""
    now = SystemClock().now_ms()
    state = Store(CommonSettings.load(), actor()).read()
    found = [one for one in state.of_kind(Silence.kind) if isinstance(one, Silence)]
    found = sorted((one for one in found if everything or one.until > now), key=lambda one: one.until)
    rows = [_summary(one, state, now) for one in found]
    if as_json:
        for row in rows:
            click.echo(json.dumps(row, ensure_ascii=False))
    elif not rows:
        click.echo("there are no silences", err=True)
    else:
        for line in render_table(list(rows[0]), [[_cell(value) for value in row.values()] for row in rows]):
            click.echo(line)


@silence.command()
@click.argument("names", nargs=-1, required=True, shell_complete=completing("silence"))
def expire(names: Sequence[str]) -> None:
    """End silences now, by name or id. What still stands is announced at once."""
    now = SystemClock().now_ms()

    def build(state: State) -> Sequence[Operation]:
        found = [_find(state, name) for name in names]
        return [operation for one in found for operation in expire_silence(one, now)]

    change = Store(CommonSettings.load(), actor()).write(build)
    for name in names:
        click.echo(f"{name} ended" if change is not None else f"{name} was over already")


@click.command()
@click.argument("activation")
@click.option("--comment", default="", help="Why.")
def dismiss(activation: str, comment: str) -> None:
    """End an open ACTIVATION (its id), though its threshold is still reached.

    A new one opens only after the threshold has been left once.
    """
    quiet_logs()
    settings = CommonSettings.load()
    known = read_activations(settings)
    found = known.get(activation.strip().lower())
    if found is None:
        open_ones = [one.id for one in known.values() if one.state == "active"]
        raise UsageError(f"there is no activation {activation!r}; {nearest(activation, open_ones)}")
    if found.state != "active":
        raise UsageError(f"the activation of {found.notification.name!r} is over: it is {found.state}")

    def build(state: State) -> Sequence[Operation]:
        now = SystemClock().now_ms()
        return dismissal(state, found.id, by=actor(), comment=comment[:MAX_COMMENT], new_id=new_id(now), now_ms=now)

    change = Store(settings, actor()).write(build)
    said = "dismissed" if change is not None else "has been dismissed already"
    click.echo(f"the activation of {found.notification.name!r} {said}")


def _find(state: State, name: str) -> Silence:
    by_id = state.by_id(name)
    found = by_id if isinstance(by_id, Silence) else find_record(state, Silence.kind, name)
    assert isinstance(found, Silence)
    return found


def _fitting(silence_id: str, state: State) -> list[str]:
    """The notifications it fits now."""
    configuration = Configuration.of(state.change, state.records)
    return sorted(
        notification.name
        for notification in configuration.notifications.values()
        if silence_id in (one.id for one in silences_of(notification, configuration))
    )


def _summary(one: Silence, state: State, now: int) -> dict[str, Any]:
    return {
        "name": one.name,
        "state": "over" if one.until <= now else "active" if one.starts_at <= now else "to come",
        "matchers": describe_silence(one),
        "from": format_rfc3339(one.starts_at) if one.starts_at else None,
        "until": format_rfc3339(one.until),
        "notifications": _fitting(one.id, state),
        "by": one.created_by,
        "comment": one.comment,
    }


def _cell(value: Any) -> str:
    return ", ".join(value) if isinstance(value, list) else "" if value is None else str(value)
