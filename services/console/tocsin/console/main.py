"""The console's composition root: settings in, objects wired, run until SIGTERM."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from aiohttp import web
from confluent_kafka import KafkaException

from tocsin.console.pages.render import error_page
from tocsin.console.routes import all_routes, api_document, api_routes
from tocsin.console.settings import ConsoleSettings
from tocsin.console.web.app import application
from tocsin.console.web.context import Console
from tocsin.console.wiring import build_console
from tocsin.shared.configuration.follower import ConfigurationFollower
from tocsin.shared.errors import TocsinError
from tocsin.shared.event_loop import listen, new_event_loop, stop_event
from tocsin.shared.kafka import check_topics
from tocsin.shared.lifecycle import Lifecycle
from tocsin.shared.telemetry import logs
from tocsin.shared.telemetry.health import Health, HealthServer
from tocsin.shared.topics import CONFIGURATION, CONFIGURATION_AUDIT

log = logs.logger(__name__)

DRAIN_SECONDS = 5.0
"""For requests that are being answered; live streams end at once."""


def run_console() -> int:
    """Exit code: 0 after a clean stop, 2 when it cannot start."""
    try:
        settings = ConsoleSettings.load()
        logs.configure("console", settings.log_level, settings.log_format)
        with Lifecycle() as life:
            life.install_signals()
            with asyncio.Runner(loop_factory=new_event_loop) as runner:
                runner.run(_serve(settings, life))
    except (TocsinError, KafkaException) as error:
        why = error.args[0].str() if isinstance(error, KafkaException) else error
        print(f"tocsin: the console cannot start: {why}", file=sys.stderr)
        return 2
    return 0


@dataclass(frozen=True)
class Running:
    """A console that answers."""

    console: Console
    port: int
    close: Callable[[], Awaitable[None]]


async def _serve(settings: ConsoleSettings, life: Lifecycle) -> None:
    health = Health("configuration", "http")
    health_server = HealthServer(health, settings.http_host, settings.http_port)
    life.add("health endpoint", health_server.close)
    stop = stop_event(life)
    running = await start_console(settings, health)
    log.info("console listening", url=f"http://{settings.console_host}:{running.port}")
    await stop.wait()
    log.info("console is stopping")
    await running.close()


async def start_console(settings: ConsoleSettings, health: Health | None = None) -> Running:
    """Reads the configuration to its end, then listens. Raises TocsinError."""
    health = health or Health("configuration", "http")
    life = Lifecycle()
    try:
        await asyncio.to_thread(check_topics, settings, [CONFIGURATION, CONFIGURATION_AUDIT])
        follower = ConfigurationFollower(settings)
        life.add("configuration", follower.close)
        await asyncio.to_thread(follower.start)
        health.ready("configuration")
        console = build_console(settings, follower, health, life)
        console.keys()  # without keys no session can be made: say so now
        api = api_routes()
        document = api_document(api)
        runner = await _start_http(settings, application(console, all_routes(api, document), document, error_page))
    except BaseException:
        await asyncio.to_thread(life.close)
        raise
    health.ready("http")

    async def close() -> None:
        health.waiting("http", "stopping")
        console.hub.close()
        await runner.cleanup()
        await asyncio.to_thread(life.close)

    return Running(console, int(runner.addresses[0][1]), close)


async def _start_http(settings: ConsoleSettings, app: web.Application) -> web.AppRunner:
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=DRAIN_SECONDS)
    await listen(runner, settings.console_host, settings.console_port, "TOCSIN_CONSOLE_PORT")
    return runner
