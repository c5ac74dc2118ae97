"""The composition roots of the router and of the dispatcher: settings in, objects wired, run."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from tocsin.dispatcher.channels.base import Channel
from tocsin.dispatcher.channels.clients import http_client
from tocsin.dispatcher.channels.email import EmailChannel
from tocsin.dispatcher.channels.vault import Vault
from tocsin.dispatcher.channels.webhook import WebhookChannel
from tocsin.dispatcher.fence import Fence
from tocsin.dispatcher.intake import Intake
from tocsin.dispatcher.parked_reader import ParkedReader
from tocsin.dispatcher.partitions import Partitions
from tocsin.dispatcher.pipeline import Pipeline
from tocsin.dispatcher.router import Router
from tocsin.dispatcher.sender import Sender
from tocsin.dispatcher.sender_parts import SenderParts
from tocsin.dispatcher.settings import DispatcherSettings, RouterSettings
from tocsin.dispatcher.settler import Settler
from tocsin.dispatcher.stages.address import Address
from tocsin.dispatcher.stages.conclude import Conclude
from tocsin.dispatcher.stages.expire import Expire
from tocsin.dispatcher.stages.render import Render
from tocsin.dispatcher.stages.send import Send
from tocsin.dispatcher.stages.steps import Settled, terminals_of
from tocsin.dispatcher.standings import Standings
from tocsin.dispatcher.suppression import NoSuppression, RedisSuppression, Suppression
from tocsin.shared import kafka
from tocsin.shared.clock import Clock, SystemClock
from tocsin.shared.configuration.follower import ConfigurationFollower, ConfigurationSource
from tocsin.shared.configuration.snapshot import Configuration
from tocsin.shared.errors import SettingsError, TocsinError
from tocsin.shared.lifecycle import Lifecycle, nowhere
from tocsin.shared.settings import CommonSettings
from tocsin.shared.telemetry import logs
from tocsin.shared.telemetry.health import Health, HealthServer
from tocsin.shared.topics import (
    CONFIGURATION,
    DELIVERIES,
    DELIVERY_AUDIT,
    DELIVERY_DEAD_LETTER,
    DELIVERY_PARKED,
    NOTIFICATION_EVENTS,
    RECIPIENT_STATE,
    ROUTER_STATE,
    retry_topic,
)

log = logs.logger(__name__)

S = TypeVar("S", bound=CommonSettings)


@dataclass(frozen=True, slots=True)
class Dispatcher:
    """The parts that run, wired."""

    intake: Intake
    sender: Sender
    parked: ParkedReader
    settler: Settler
    fence: Fence


def build_dispatcher(
    settings: DispatcherSettings,
    configuration: ConfigurationSource,
    *,
    clock: Clock | None = None,
    channels: Mapping[str, Channel] | None = None,
    at: Callable[[str], None] = nowhere,
) -> Dispatcher:
    """Nothing is opened yet."""
    clock = clock or SystemClock()
    channels = channels or {
        "webhook": WebhookChannel(settings.egress_policy, Vault(settings), clock, http_client(settings)),
        "email": EmailChannel(settings),
    }
    partitions = Partitions()
    fence = Fence(clock)

    def on_durable(settled: Sequence[Settled]) -> None:
        if done := [one.done_key for one in settled if one.done_key]:
            sender.remember(done)
            sender.publish(terminals_of(settled))
        sender.resume()

    settler = Settler(settings, partitions, fence, on_durable, at)
    standings = Standings(configuration, settings.circuit, settings.instance)
    parked = ParkedReader(settings, partitions, settler.put)
    pipeline = Pipeline(
        Address(configuration, channels, clock),
        Expire(standings, clock),
        Render(standings, clock),
        Send(clock, at),
        Conclude(settings.retry_tiers, standings),
    )
    parts = SenderParts(
        pipeline=pipeline,
        channels=channels,
        suppression=_suppression(settings, clock),
        standings=standings,
        configuration=configuration,
        partitions=partitions,
        fetcher=parked,
        fence=fence,
        clock=clock,
        settle=settler.put,
    )
    sender = Sender(parts, settings.desk)
    return Dispatcher(Intake(settings, partitions, sender, parked, settler, clock), sender, parked, settler, fence)


def _suppression(settings: CommonSettings, clock: Clock) -> Suppression:
    url = settings.redis_url or settings.local_stack().get("redis_url")
    try:
        return RedisSuppression(url, settings.topic_prefix, clock) if url else NoSuppression()
    except ValueError as error:
        raise SettingsError(f"TOCSIN_REDIS_URL: {error}") from None


def run_dispatcher(at: Callable[[str], None] = nowhere) -> int:
    """Until SIGTERM; the exit code."""
    return _run("dispatcher", DispatcherSettings, lambda settings, parts: _dispatch(settings, parts, at))


def run_router(at: Callable[[str], None] = nowhere) -> int:
    """Until SIGTERM; the exit code."""
    return _run("router", RouterSettings, lambda settings, parts: _route(settings, parts, at))


@dataclass(frozen=True, slots=True)
class _Parts:
    """What both processes have."""

    lifecycle: Lifecycle
    health: Health
    configuration: ConfigurationFollower


def _dispatch(settings: DispatcherSettings, parts: _Parts, at: Callable[[str], None]) -> int:
    dispatcher = build_dispatcher(settings, parts.configuration, at=at)
    _spare_the_collector()
    intake, sender, settler = dispatcher.intake, dispatcher.sender, dispatcher.settler
    parts.lifecycle.add("settler", lambda: settler.close(5.0))
    if not settler.start(parts.lifecycle.stopping.is_set):
        return 0
    parts.lifecycle.add("sender", sender.close)
    sender.start()
    parts.lifecycle.add("parked reader", dispatcher.parked.close)
    dispatcher.parked.start(sender)
    intake.join()
    while not parts.lifecycle.stopping.is_set() and not settler.broken:
        intake.step()
        _show(parts.health, "partitions", intake.assigned, "not assigned by the group yet")
        _show(parts.health, "broker", not dispatcher.fence.closed, "results cannot be written: nothing new is sent")
    if settler.broken:
        return 1
    parts.health.waiting("partitions", "stopping")
    intake.drain(settings.grace(parts.configuration.current.recipients.values()) / 1000)
    return 0


def _spare_the_collector() -> None:
    """Thousands of deliveries are alive at a time and hardly any is part of a cycle: looking for cycles every 700 new
    objects, in everything that was ever imported, was a tenth of a delivery's cost."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 50, 100)


def _route(settings: RouterSettings, parts: _Parts, at: Callable[[str], None]) -> int:
    def configuration_of(change: int) -> Configuration:
        if not parts.configuration.wait_for(change, settings.router_configuration_wait / 1000):
            log.warning(
                "the configuration an event was made under has not come; routing by what there is", change=change
            )
        return parts.configuration.current

    router = Router(settings, configuration_of, SystemClock(), parts.lifecycle.stopping.is_set, at)
    parts.lifecycle.add("consumer", router.close)
    router.join()
    while not parts.lifecycle.stopping.is_set():
        router.step()
        _show(parts.health, "partitions", router.assigned, "not assigned by the group yet")
    parts.health.waiting("partitions", "stopping")
    return 0


def _show(health: Health, name: str, fine: bool, why: str) -> None:
    if fine:
        health.ready(name)
    else:
        health.waiting(name, why)


_TOPICS = {
    "router": (NOTIFICATION_EVENTS, ROUTER_STATE, DELIVERIES, DELIVERY_AUDIT, CONFIGURATION),
    "dispatcher": (
        DELIVERIES,
        DELIVERY_PARKED,
        RECIPIENT_STATE,
        DELIVERY_DEAD_LETTER,
        DELIVERY_AUDIT,
        CONFIGURATION,
    ),
}


def _topics(service: str, settings: CommonSettings) -> Iterable[str]:
    retries = (retry_topic(tier) for tier in settings.retry_tiers)
    return (*_TOPICS[service], *(retries if service == "dispatcher" else ()))


def _run(service: str, kind: type[S], work: Callable[[S, _Parts], int]) -> int:
    lifecycle = Lifecycle()
    with lifecycle:
        try:
            settings = kind.load()
            logs.configure(service, settings.log_level, settings.log_format)
            lifecycle.install_signals()
            health = Health("partitions")
            server = HealthServer(health, settings.http_host, settings.http_port)
            lifecycle.add("health", server.close)
            log.info("health endpoint listening", host=settings.http_host, port=server.port)
            if kafka.check_topics_when_there(settings, _topics(service, settings), lifecycle.stopping) is None:
                return 0
            configuration = ConfigurationFollower(settings)
            lifecycle.add("configuration", configuration.close)
            configuration.start()
            code = work(settings, _Parts(lifecycle, health, configuration))
        except TocsinError as error:
            print(f"Error: {error}", file=sys.stderr)
            return 2
        log.info("stopped", exit_code=code)
        return code
