"""Names of records for the shell's completion, asked of the console: `tocsin recipients pause <TAB>`.

`TOCSIN_CONSOLE_URL` says where it is, `TOCSIN_TOKEN` is an API token (a viewer's will do). Whatever goes wrong, nothing
is completed and nothing is said: somebody is in the middle of a line.
"""

from __future__ import annotations

import json
import os
import re
import urllib.request
from collections.abc import Callable
from urllib.parse import urlencode

import click
from click.shell_completion import CompletionItem

DEFAULT_URL = "http://127.0.0.1:8480"
TIMEOUT_SECONDS = 0.5
"""Nobody waits longer for a key."""
MOST = 100
MAX_ANSWER = 1 << 20

_SPECIAL = re.compile(r"([^\w@%+=:,./-])")

Complete = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]


def completing(kind: str) -> Complete:
    """Of all records of the kind, or of systems."""

    def complete(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
        taken = ctx.params.get(parameter.name or "") or ()
        return [_item(name) for name in find_names(kind, incomplete) if name not in taken]

    return complete


def completing_the_kind_before(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Of a command that is told the kind first."""
    return completing(str(ctx.params.get("kind") or "").removesuffix("s"))(ctx, parameter, incomplete)


def find_names(kind: str, beginning: str) -> list[str]:
    """That begin so, however they are written; none when the console does not answer at once."""
    token = os.environ.get("TOCSIN_TOKEN")
    if not token:
        return []
    base = os.environ.get("TOCSIN_CONSOLE_URL", DEFAULT_URL).rstrip("/")
    request = urllib.request.Request(  # noqa: S310  the operator's own setting
        f"{base}/api/v1/{kind}s?{urlencode({'search': beginning, 'limit': MOST})}",
        headers={"Authorization": f"Bearer {token}", "Accept": "application/json"},
    )
    # Straight there: a token is for the console, and for no proxy.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=TIMEOUT_SECONDS) as answer:
            items = json.loads(answer.read(MAX_ANSWER))["items"]
        found = [str(one["name"]) for one in items]
    except Exception:  # noqa: BLE001  see above
        return []
    return [name for name in found if name.casefold().startswith(beginning.casefold())]


def _item(name: str) -> CompletionItem:
    """Bash takes a word as it will stand in the line, after click's script has taken one level of quotes away; other
    shells quote by themselves."""
    if os.environ.get("_TOCSIN_COMPLETE") == "bash_complete":
        name = _SPECIAL.sub(r"\\\1", name).replace("\\", "\\\\")
    return CompletionItem(name)
