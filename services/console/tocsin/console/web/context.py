"""What handlers work with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from tocsin.console.access.oidc import Oidc
from tocsin.console.access.roles import Caller
from tocsin.console.access.sessions import Session, Sessions
from tocsin.console.access.throttle import Throttle
from tocsin.console.directory import Directory
from tocsin.console.dry_runs import DryRuns
from tocsin.console.editor import Editor
from tocsin.console.lag import LagFeed
from tocsin.console.models.feed import Feed
from tocsin.console.models.hub import Hub
from tocsin.console.models.queries import Queries
from tocsin.console.models.systems import Systems
from tocsin.console.settings import ConsoleSettings
from tocsin.console.tryout import Tryout
from tocsin.console.web.routes import Route
from tocsin.console.yaml_recipients import Rules
from tocsin.shared.clock import Clock
from tocsin.shared.secrets import KeyRing
from tocsin.shared.telemetry.health import Health


@dataclass(frozen=True)
class Console:
    """The console's parts, wired once."""

    settings: ConsoleSettings
    clock: Clock
    health: Health
    directory: Directory
    editor: Editor
    sessions: Sessions
    throttle: Throttle
    keys: Callable[[], KeyRing]
    rules: Rules
    queries: Queries
    systems: Systems
    tryout: Tryout
    hub: Hub
    feed: Feed
    dry_runs: DryRuns
    lag: LagFeed
    oidc: Oidc | None = None


CONSOLE: web.AppKey[Console] = web.AppKey("console", Console)
ROUTES: web.AppKey[dict[tuple[str, str], Route]] = web.AppKey("routes", dict)

API_DOCUMENT: web.AppKey[dict[str, Any]] = web.AppKey("api-document", dict)

CALLER: web.RequestKey[Caller | None] = web.RequestKey("caller", Caller)
SESSION: web.RequestKey[Session | None] = web.RequestKey("session", Session)


def console(request: web.Request) -> Console:
    return request.app[CONSOLE]


def caller(request: web.Request) -> Caller:
    """Of a route that needs one: the guard has seen to it."""
    found = request[CALLER]
    assert found is not None
    return found
