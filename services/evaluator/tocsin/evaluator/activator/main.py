"""`tocsin run activator`: settings in, objects wired, run."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import partial

from tocsin.evaluator.activator.broker import broker_of
from tocsin.evaluator.activator.fence import end_at_once
from tocsin.evaluator.activator.offsets import LogView
from tocsin.evaluator.activator.progress import Progress, ProgressWatch
from tocsin.evaluator.activator.quiet import quieten
from tocsin.evaluator.activator.settings import ActivatorSettings
from tocsin.evaluator.core.notification import Rulebook
from tocsin.shared import kafka
from tocsin.shared.clock import Clock, SystemClock
from tocsin.shared.configuration.follower import ConfigurationFollower
from tocsin.shared.configuration.snapshot import Configuration
from tocsin.shared.errors import BrokerError, TocsinError, TopicError
from tocsin.shared.lifecycle import Lifecycle, nowhere
from tocsin.shared.telemetry import logs
from tocsin.shared.telemetry.health import Health, HealthServer
from tocsin.shared.topics import (
    ACTIVATIONS,
    ACTIVATOR_CHANGELOG,
    CONFIGURATION,
    NOTIFICATION_EVENTS,
    NOTIFICATION_TALLIES,
)

log = logs.logger(__name__)

ASK_S = 1.0
RETRY_AFTER_S = 0.5

TOPICS = (CONFIGURATION, NOTIFICATION_TALLIES, NOTIFICATION_EVENTS, ACTIVATIONS, ACTIVATOR_CHANGELOG)


def run_activator(at: Callable[[str], None] = nowhere) -> int:
    """Until SIGTERM. Returns the exit code: 0 drained, 2 cannot start. 70 is for the supervisor: start me anew."""
    try:
        settings = ActivatorSettings.load()
        logs.configure("activator", settings.log_level, settings.log_format)
        with Lifecycle(at) as lifecycle:
            lifecycle.install_signals()
            asyncio.run(_run(settings, lifecycle))
    except TocsinError as error:
        sys.stderr.write(f"tocsin run activator: {error}\n")
        return 2
    return 0


class _Book:
    """The rules in effect; the follower's thread puts in the next."""

    def __init__(self, console_url: str) -> None:
        self._console_url = console_url
        self.current = Rulebook()
        self.then: Callable[[], object] = lambda: None

    def take(self, configuration: Configuration) -> None:
        self.current = Rulebook.of(configuration, self._console_url)
        self.then()


class _Readiness:
    """Says on the health page, and once in the log, whether the partitions are being worked on."""

    def __init__(self, health: Health, clock: Clock) -> None:
        self._health = health
        self._clock = clock
        self._since = clock.monotonic()
        self._working = False

    def show(self, working: bool) -> None:
        if working == self._working:
            return
        self._working = working
        if working:
            self._health.ready("partitions")
            log.info("activator ready", seconds=round(self._clock.monotonic() - self._since, 2))
        else:
            self._since = self._clock.monotonic()
            self._health.waiting("partitions", "joining the group, recovering, without a broker, or stopping")
            log.info("activator not ready")


def _with_a_broker(settings: ActivatorSettings, lifecycle: Lifecycle, health: Health, book: _Book) -> int | None:
    """Partitions, the rules read, as soon as a broker answers; None when told to stop before.

    Raises TopicError, and BrokerError when the broker refuses us.
    """
    client = kafka.admin(settings.kafka)
    while not lifecycle.stopping.is_set():
        try:
            kafka.existing_partitions(client, ASK_S)  # soon, to be able to stop and to say what it waits for
            partitions = kafka.check_topics(settings, TOPICS)[NOTIFICATION_TALLIES]
            follower = ConfigurationFollower(settings, book.take)
            lifecycle.add("configuration", follower.close)
            book.take(follower.start())
        except TopicError:
            raise
        except BrokerError as error:
            if isinstance(client, kafka.Admin) and client.refusal is not None:
                raise
            health.waiting("broker", str(error))
            log.warning("no broker yet; trying again", why=str(error))
            lifecycle.stopping.wait(RETRY_AFTER_S)
        else:
            health.ready("broker")
            return partitions
    return None


def _soon(loop: asyncio.AbstractEventLoop, call: Callable[[], object]) -> None:
    """From any thread; after the loop has ended there is nothing left to call."""
    with suppress(RuntimeError):
        loop.call_soon_threadsafe(call)


async def _run(settings: ActivatorSettings, lifecycle: Lifecycle) -> None:
    clock = SystemClock()
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    lifecycle.on_stop(partial(_soon, loop, stop.set))
    quieten(settings.log_level, clock)
    broker = broker_of(settings.kafka)
    if broker.ignored:
        log.info("settings without a counterpart in Faust are ignored there", settings=broker.ignored)

    health = Health("broker", "partitions")
    readiness = _Readiness(health, clock)
    server = HealthServer(health, settings.http_host, settings.http_port)
    lifecycle.add("health", server.close)
    log.info("health endpoint listening", host=settings.http_host, port=server.port)

    book = _Book(settings.console_url)
    partitions = await asyncio.to_thread(_with_a_broker, settings, lifecycle, health, book)
    if partitions is None:
        return

    # Faust takes half a second to import: after everything that can refuse to start.
    from tocsin.evaluator.activator.faust_shell import APP_ID, FaustShell  # noqa: PLC0415

    view = LogView(settings.kafka, settings.topic(APP_ID), settings.topic(NOTIFICATION_TALLIES))
    lifecycle.add("view of the log", view.close)
    shell = FaustShell(settings, broker, partitions, view, lambda: book.current, clock)
    shell.engine.at = lifecycle.at
    book.then = partial(_soon, loop, shell.poke)
    patience = Progress(settings.activator_stalled_after / 1000)
    watch = ProgressWatch(view, patience, clock, owned=shell.owned, step=shell.step, stuck=end_at_once)
    lifecycle.add("progress watch", watch.close)
    await shell.run(stop, lambda working: readiness.show(working and watch.broker_answers))
    log.info("drained")
