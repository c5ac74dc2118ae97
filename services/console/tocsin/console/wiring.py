"""How the console's parts hang together; the same for the service and for tests."""

from __future__ import annotations

import asyncio
from functools import cache

from tocsin.console.access.oidc import Oidc, OidcPolicy
from tocsin.console.access.sessions import Sessions
from tocsin.console.access.throttle import Throttle
from tocsin.console.cli.configuration import key_ring
from tocsin.console.directory import Directory
from tocsin.console.dry_runs import DryRunPolicy, DryRuns
from tocsin.console.editor import Editor
from tocsin.console.lag import LagFeed
from tocsin.console.models.database import Database
from tocsin.console.models.feed import Feed
from tocsin.console.models.hub import Hub
from tocsin.console.models.queries import Queries
from tocsin.console.models.systems import Systems, SystemsFeed
from tocsin.console.settings import ConsoleSettings
from tocsin.console.tryout import Tryout
from tocsin.console.web.context import Console
from tocsin.console.yaml_recipients import Rules
from tocsin.shared.clock import Clock, SystemClock
from tocsin.shared.configuration.follower import ConfigurationFollower
from tocsin.shared.lifecycle import Lifecycle
from tocsin.shared.secrets import KeyRing
from tocsin.shared.telemetry.health import Health


def build_console(
    settings: ConsoleSettings,
    follower: ConfigurationFollower,
    health: Health,
    life: Lifecycle,
    clock: Clock | None = None,
) -> Console:
    """In a running loop. The follower is started by the caller; what is started here ends with `life`."""
    clock = clock or SystemClock()

    @cache
    def keys() -> KeyRing:
        return key_ring(settings)

    directory = Directory(follower)
    policy = settings.egress_policy
    rules = Rules(policy, settings.retry_tiers)
    hub = Hub(asyncio.get_running_loop())
    database, systems = Database(), Systems()
    feed = Feed(settings, database, health, clock, hub.changed)
    systems_feed = SystemsFeed(settings, systems, clock, hub.changed)
    provider = OidcPolicy.of(settings)
    policy_of_runs = DryRunPolicy(settings.console_dry_run_readings, settings.console_dry_run_time / 1000)
    dry_runs = DryRuns(settings, policy_of_runs)
    lag = LagFeed(settings, clock, hub.changed)
    # Last in, first out: what feeds stops before what it fills.
    life.add("read models", database.close)
    life.add("feed", feed.close)
    life.add("systems", systems_feed.close)
    life.add("dry runs", dry_runs.close)
    life.add("lag", lag.close)
    follower.listen(lambda configuration: hub.changed({"configuration"}))
    feed.start()
    systems_feed.start()
    lag.start()
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
        queries=Queries(database),
        systems=systems,
        tryout=Tryout(settings, policy, directory, clock),
        hub=hub,
        feed=feed,
        dry_runs=dry_runs,
        lag=lag,
        oidc=Oidc(provider, clock) if provider else None,
    )
