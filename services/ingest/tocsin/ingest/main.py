"""The gateway's composition root: settings in, objects wired, run until SIGTERM."""

from __future__ import annotations

import asyncio
import sys

from aiohttp import web
from confluent_kafka import KafkaException

from tocsin.ingest.core.access import parse_keys, require_keys
from tocsin.ingest.core.admission import MESSAGE_BYTES, Admission, Limits
from tocsin.ingest.gateway import Gateway, GatewayPolicy, application
from tocsin.ingest.outlet import Outlet, OutletPolicy
from tocsin.ingest.settings import GatewaySettings
from tocsin.ingest.tokens import IngestTokens
from tocsin.shared.clock import SystemClock
from tocsin.shared.configuration.follower import ConfigurationFollower
from tocsin.shared.errors import TocsinError
from tocsin.shared.event_loop import listen, new_event_loop, stop_event
from tocsin.shared.kafka import check_topics_when_there
from tocsin.shared.lifecycle import Lifecycle
from tocsin.shared.telemetry import logs
from tocsin.shared.telemetry.health import Health, HealthServer
from tocsin.shared.topics import CONFIGURATION, SENSOR_READINGS, SENSOR_READINGS_REJECTED

_log = logs.logger(__name__)


def run_gateway() -> int:
    """Exit code: 0 after a clean stop, 2 when it cannot start."""
    try:
        settings = GatewaySettings.load()
        logs.configure("gateway", settings.log_level, settings.log_format)
        with Lifecycle() as life:
            life.install_signals()
            with asyncio.Runner(loop_factory=new_event_loop) as runner:
                runner.run(_serve(settings, life))
    except (TocsinError, KafkaException) as error:  # the client's own: a TOCSIN_KAFKA__… setting it does not know
        why = error.args[0].str() if isinstance(error, KafkaException) else error
        print(f"tocsin: the gateway cannot start: {why}", file=sys.stderr)
        return 2
    return 0


async def _serve(settings: GatewaySettings, life: Lifecycle) -> None:
    keys = parse_keys(settings.gateway_api_keys.get_secret_value() if settings.gateway_api_keys else None)
    require_keys(keys, is_open=settings.gateway_open, tokens=settings.gateway_tokens)
    health = Health("broker", "http")
    health_server = HealthServer(health, settings.http_host, settings.http_port)
    life.add("health endpoint", health_server.close)
    _log.info("health endpoint listening", port=health_server.port)
    topics = [SENSOR_READINGS, SENSOR_READINGS_REJECTED, *([CONFIGURATION] if settings.gateway_tokens else [])]
    if await asyncio.to_thread(check_topics_when_there, settings, topics, life.stopping) is None:
        return
    tokens = await _tokens(settings, life) if settings.gateway_tokens else None
    outlet = Outlet(settings.kafka, _outlet_policy(settings), health, settings.topic(SENSOR_READINGS))
    limits = Limits(settings.gateway_max_in_flight_requests, settings.gateway_max_in_flight_bytes)
    gateway = Gateway(_gateway_policy(settings, keys), Admission(limits), outlet, SystemClock(), tokens)
    stop = stop_event(life)
    try:
        runner = await _start_http(settings, application(gateway, health))
        health.ready("http")
        if not keys and tokens is None:
            _log.warning("gateway is open: anyone who can reach it may send readings")
        await stop.wait()
        await _drain(runner, gateway, health, settings.shutdown_grace / 1000)
    finally:
        left = await asyncio.to_thread(outlet.close, settings.shutdown_grace / 1000)
        _log.info("gateway stopped", unsettled=left)


async def _tokens(settings: GatewaySettings, life: Lifecycle) -> IngestTokens:
    """As of the configuration's end; changes are followed."""
    follower = ConfigurationFollower(settings)
    life.add("configuration", follower.close)
    await asyncio.to_thread(follower.start)
    return IngestTokens(follower, SystemClock())


async def _drain(runner: web.AppRunner, gateway: Gateway, health: Health, grace_seconds: float) -> None:
    _log.info("gateway is draining")
    health.waiting("http", "stopping")
    gateway.stopping = True
    for site in list(runner.sites):
        await site.stop()
    # By itself the server would read no further from requests that are still coming in.
    await gateway.idle(grace_seconds)
    await runner.cleanup()


def _outlet_policy(settings: GatewaySettings) -> OutletPolicy:
    return OutletPolicy(
        delivery_timeout_ms=settings.gateway_delivery_timeout,
        # Admission refuses before these are reached.
        max_messages=settings.gateway_max_in_flight_bytes // MESSAGE_BYTES + settings.gateway_max_in_flight_requests,
        max_bytes=2 * settings.gateway_max_in_flight_bytes,
    )


def _gateway_policy(settings: GatewaySettings, keys: tuple[bytes, ...]) -> GatewayPolicy:
    return GatewayPolicy(
        keys=keys,
        max_body_bytes=settings.gateway_max_body_bytes,
        read_timeout_seconds=settings.gateway_read_timeout / 1000,
        delivery_timeout_seconds=settings.gateway_delivery_timeout / 1000,
        readings_topic=settings.topic(SENSOR_READINGS),
        rejected_topic=settings.topic(SENSOR_READINGS_REJECTED),
    )


async def _start_http(settings: GatewaySettings, app: web.Application) -> web.AppRunner:
    # auto_decompress: the gateway inflates by itself, within bounds.
    runner = web.AppRunner(app, auto_decompress=False, access_log=None, shutdown_timeout=settings.shutdown_grace / 1000)
    port = await listen(runner, settings.gateway_host, settings.gateway_port, "TOCSIN_GATEWAY_PORT")
    _log.info("gateway listening", host=settings.gateway_host, port=port)
    return runner
