"""`tocsin forget`: systems that are gone for good."""

from __future__ import annotations

from collections.abc import Sequence

import click

from tocsin.console.cli.configuration import actor
from tocsin.console.cli.names import completing
from tocsin.console.cli.quiet import quiet_logs
from tocsin.console.quieting import forget as forgetting
from tocsin.console.store import Store
from tocsin.shared.clock import SystemClock
from tocsin.shared.configuration.records import Forgetting
from tocsin.shared.errors import UsageError
from tocsin.shared.ids import new_id
from tocsin.shared.schemas.reading import MAX_NAME_BYTES
from tocsin.shared.settings import CommonSettings

MAX_SYSTEMS = 200
"""Of one command: with the longest names they still fit a record."""
MAX_COMMENT = 2_000


@click.command()
@click.argument("systems", nargs=-1, required=True, shell_complete=completing("system"))
@click.option("--comment", default="", help="Why; kept in the audit.")
def forget(systems: Sequence[str], comment: str) -> None:
    """Forget SYSTEMS, by their exact names: they are gone for good.

    Sensors that are not clear on them become clear (reason: forgotten), their state is removed, and notifications
    count them no more. A system that is heard again begins anew.
    """
    quiet_logs()
    names = tuple(dict.fromkeys(systems))
    if len(names) > MAX_SYSTEMS:
        raise UsageError(f"at most {MAX_SYSTEMS} systems are possible at once")
    if len(comment) > MAX_COMMENT:
        raise UsageError(f"--comment has {len(comment)} characters, at most {MAX_COMMENT} are possible")
    for name in names:
        if not 0 < len(name.encode(errors="replace")) <= MAX_NAME_BYTES:
            raise UsageError(f"{name[:64]!r} is no name: it is empty, or longer than {MAX_NAME_BYTES} bytes")
    now = SystemClock().now_ms()
    made_id = new_id(now)
    made = Forgetting(
        id=made_id, name=f"forgetting-{made_id[-12:]}", systems=names, forgotten_by=actor(), comment=comment
    )
    Store(CommonSettings.load(), actor()).write(lambda state: forgetting(state, made, now))
    click.echo(f"{len(names)} system{'s' * (len(names) != 1)} forgotten: {', '.join(names)}")
