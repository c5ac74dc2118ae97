"""`tocsin tokens list | create | revoke`: keys for the API."""

from __future__ import annotations

import json
from typing import Any

import click

from tocsin.console.access.roles import SCOPES
from tocsin.console.accounts import AccountError, new_api_token
from tocsin.console.cli.configuration import actor, find_record
from tocsin.console.cli.names import completing
from tocsin.console.cli.quiet import quiet_logs
from tocsin.console.state import Delete, Put
from tocsin.console.store import Store
from tocsin.console.table import render_table
from tocsin.shared.clock import SystemClock
from tocsin.shared.configuration.records import Token
from tocsin.shared.errors import UsageError
from tocsin.shared.ids import new_id
from tocsin.shared.settings import CommonSettings
from tocsin.shared.times import format_rfc3339, parse_duration


@click.group()
def tokens() -> None:
    """Keys for the API. Only a hash of each is kept."""
    quiet_logs()


@tokens.command("list")
@click.option("-o", "--output", type=click.Choice(["table", "json"]), default="table", show_default=True)
def list_(output: str) -> None:
    """What tokens there are, without themselves."""
    state = Store(CommonSettings.load(), actor()).read()
    found = [_shown(one) for one in state.of_kind(Token.kind) if isinstance(one, Token)]
    if output == "json":
        click.echo(json.dumps(found, indent=2, ensure_ascii=False))
        return
    rows = [[str(value) if value is not None else "never" for value in one.values()] for one in found]
    for line in render_table(["name", "scope", "ends in", "expires", "made by"], rows):
        click.echo(line)


def _shown(token: Token) -> dict[str, Any]:
    expires = None if token.expires_at is None else format_rfc3339(token.expires_at)
    return {
        "name": token.name,
        "scope": token.scope,
        "hint": token.hint,
        "expires_at": expires,
        "created_by": token.created_by,
    }


@tokens.command()
@click.argument("name")
@click.option("--scope", type=click.Choice(SCOPES), required=True, help="What it may do.")
@click.option("--lasts", default=None, help="Such as 90d. Default: for ever.")
def create(name: str, scope: str, lasts: str | None) -> None:
    """Make a token called NAME and print it: it is shown only now."""
    now = SystemClock().now_ms()
    try:
        expires = None if lasts is None else now + parse_duration(lasts)
        made = new_api_token(new_id(now), name, scope, actor(), expires)
    except AccountError as error:
        raise UsageError(f"{error.field}: {error}") from None
    except ValueError as error:
        raise UsageError(f"--lasts: {error}") from None
    Store(CommonSettings.load(), actor()).write(lambda state: [Put(made.record, 0)])
    click.echo(made.token)


@tokens.command()
@click.argument("name", shell_complete=completing("token"))
def revoke(name: str) -> None:
    """End a token: whoever uses it is shut out within a second."""
    Store(CommonSettings.load(), actor()).write(lambda state: [Delete(find_record(state, Token.kind, name).id)])
    click.echo(f"{name} revoked")
