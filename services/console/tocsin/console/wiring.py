"""How the console's parts hang together; the same for the service and for tests."""

from __future__ import annotations

from functools import cache

from tocsin.console.access.sessions import Sessions
from tocsin.console.access.throttle import Throttle
from tocsin.console.cli.configuration import egress_policy, key_ring
from tocsin.console.directory import Directory
from tocsin.console.editor import Editor
from tocsin.console.settings import ConsoleSettings
from tocsin.console.web.context import Console
from tocsin.console.yaml_recipients import Rules
from tocsin.shared.clock import Clock, SystemClock
from tocsin.shared.configuration.follower import ConfigurationFollower
from tocsin.shared.secrets import KeyRing
from tocsin.shared.telemetry.health import Health


def build_console(
    settings: ConsoleSettings, follower: ConfigurationFollower, health: Health, clock: Clock | None = None
) -> Console:
    """Opens nothing; the follower is started by the caller."""
    clock = clock or SystemClock()

    @cache
    def keys() -> KeyRing:
        return key_ring(settings)

    directory = Directory(follower)
    rules = Rules(egress_policy(settings), settings.retry_tiers)
    return Console(
        settings=settings,
        clock=clock,
        health=health,
        directory=directory,
        editor=Editor(settings, rules, directory, keys, clock),
        sessions=Sessions(keys, settings.console_session),
        throttle=Throttle(),
        keys=keys,
        rules=rules,
    )
