"""`tocsin admin create`: an account that can sign in to the console, made where the keys of the deployment are."""

from __future__ import annotations

import click

from tocsin.console.access.welcome import welcome_path
from tocsin.console.accounts import AccountError, new_user, with_password
from tocsin.console.cli.configuration import actor, key_ring
from tocsin.console.cli.quiet import quiet_logs
from tocsin.console.state import Put, State
from tocsin.console.store import Store
from tocsin.shared.clock import SystemClock
from tocsin.shared.configuration.records import User
from tocsin.shared.errors import UsageError
from tocsin.shared.ids import new_id
from tocsin.shared.settings import CommonSettings


@click.group()
def admin() -> None:
    """Accounts of the console, for whoever runs the deployment."""
    quiet_logs()


@admin.command()
def link() -> None:
    """Print a link that makes the first account in the browser: good for a day, once, while there is none."""
    settings = CommonSettings.load()
    if Store(settings, actor()).read().of_kind(User.kind):
        raise UsageError("there is an account already; give it a new password with: tocsin admin create NAME")
    click.echo(settings.console_url.rstrip("/") + welcome_path(key_ring(settings), SystemClock().now_ms()))


@admin.command()
@click.argument("name")
@click.option(
    "--role", type=click.Choice(["viewer", "operator", "editor", "admin"]), default="admin", show_default=True
)
@click.option(
    "--password",
    envvar="TOCSIN_PASSWORD",
    prompt=True,
    hide_input=True,
    confirmation_prompt=True,
    help="Asked for when neither this nor TOCSIN_PASSWORD is given.",
)
def create(name: str, role: str, password: str) -> None:
    """Make the account NAME; or give it a new password and role, when there is one already."""
    clock = SystemClock()
    made: list[str] = []

    def build(state: State) -> list[Put]:
        now = clock.now_ms()
        try:
            found = state.find(User.kind, name)
            if isinstance(found, User):
                changed = with_password(found, password, now).model_copy(update={"role": role, "disabled": False})
                made[:] = ["has a new password"]
                return [Put(changed, found.revision)]
            made[:] = ["made"]
            return [Put(new_user(new_id(now), name, role, password, now), 0)]
        except AccountError as error:
            raise UsageError(f"{error.field}: {error}") from None

    Store(CommonSettings.load(), actor(), clock).write(build)
    click.echo(f"the account {name!r} ({role}) {made[0]}")
