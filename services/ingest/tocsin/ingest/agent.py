"""`tocsin agent`: this host's own sensors, published every second."""

from __future__ import annotations

import json
import socket
from dataclasses import dataclass
from urllib.parse import urlsplit

import click

from tocsin.ingest.core.backlog import Backlog
from tocsin.ingest.core.processes import Followed, ProcessUse, Sweep, top_processes
from tocsin.ingest.core.sampling import Look, capacity, measure
from tocsin.ingest.core.wire import encode_report
from tocsin.ingest.host import Host
from tocsin.ingest.outlet import Outlet, OutletPolicy
from tocsin.ingest.settings import AgentSettings
from tocsin.ingest.sinks import MAX_WAITING, HttpSink, KafkaSink, Sink, Status
from tocsin.shared.clock import Clock, SystemClock
from tocsin.shared.errors import BrokerError, TopicError, UsageError
from tocsin.shared.kafka import check_topics
from tocsin.shared.lifecycle import Lifecycle
from tocsin.shared.readings import check
from tocsin.shared.settings import KafkaSettings
from tocsin.shared.telemetry import logs, metrics
from tocsin.shared.telemetry.health import Health, HealthServer
from tocsin.shared.times import parse_duration
from tocsin.shared.topics import SENSOR_READINGS

_MAX_QUEUE_BYTES = 64 << 20
_STATUS_EVERY_SECONDS = 60.0
_BEHIND_REPORTS = 5

_log = logs.logger(__name__)


@dataclass(frozen=True, slots=True)
class Identity:
    """Whose readings these are."""

    system: str
    tags: dict[str, str] | None


class Sampler:
    """Remembers the last look, so that the next one tells rates."""

    def __init__(self, host: Host, clock: Clock, identity: Identity) -> None:
        self._host = host
        self._clock = clock
        self._identity = identity
        self._followed = Followed()
        self._sweep: Sweep | None = host.processes(now=True)
        self._look: Look = host.look()

    def report(self) -> tuple[list[bytes], int, int]:
        """(messages, their time in epoch ms, how many readings they hold), from the last look to now."""
        now = self._host.look()
        time = self._clock.now_ms()
        measured = measure(self._look, now, self._top(capacity(now)))
        self._look = now
        readings = [one.reading(self._identity.system, time, self._identity.tags) for one in measured]
        return encode_report(readings, time), time, len(readings)

    def _top(self, cpus: float) -> list[ProcessUse]:
        sweep, before = self._host.processes(), self._sweep
        if sweep is None:
            return []
        self._sweep = sweep
        if before is None:
            return []
        top, self._followed = top_processes(before, sweep, cpus, self._followed)
        return top


@click.command()
@click.option("--every", default="1s", show_default=True, help="Time between two reports, such as 1s or 500ms.")
@click.option("--system", envvar="TOCSIN_AGENT_SYSTEM", help="Name of this system.  [default: the host's name]")
@click.option("--tag", "tags", multiple=True, metavar="KEY=VALUE", help="A tag of this system; may be given often.")
@click.option("--url", envvar="TOCSIN_AGENT_URL", help="Send through the gateway at this URL instead of to Kafka.")
@click.option("--api-key", envvar="TOCSIN_AGENT_API_KEY", help="The gateway's API key; better in TOCSIN_AGENT_API_KEY.")
@click.option("--once", is_flag=True, help="Print one report as JSON and exit; nothing is sent.")
def agent(
    every: str, system: str | None, tags: tuple[str, ...], url: str | None, api_key: str | None, once: bool
) -> None:
    """Publish this host's own sensors every second, until SIGTERM.

    CPU (of what this system may use: its quota, if it has one), cores, load, memory, swap, disks, network, processes,
    and temperatures and battery where there are any.
    """
    period = _period(every)
    identity = _identity(system, tags)
    with Lifecycle() as life:
        life.install_signals()
        sampler = Sampler(Host(), SystemClock(), identity)
        if once:
            life.stopping.wait(period)
            messages, _, _ = sampler.report()
            for message in messages:
                click.echo(json.dumps(json.loads(message), indent=2, ensure_ascii=False))
            return
        settings = _settings(url)
        logs.configure("agent", settings.log_level, settings.log_format)
        health = Health("broker")
        server = HealthServer(health, settings.http_host, settings.http_port)
        life.add("health endpoint", server.close)
        _log.info("health endpoint listening", port=server.port)
        sink = _http_sink(settings, health, url, api_key) if url else _kafka_sink(settings, health, identity.system)
        life.add("sink", lambda: _close(sink, settings.shutdown_grace / 1000))
        to = urlsplit(url).netloc.rpartition("@")[2] if url else settings.kafka.bootstrap_servers
        _log.info("agent started", system=identity.system, every=every, to=to)
        _run(life, sampler, sink, health, period)


def _run(life: Lifecycle, sampler: Sampler, sink: Sink, health: Health, period: float) -> None:
    clock = SystemClock()
    behind = False
    due = clock.monotonic() + period
    status_at = clock.monotonic() + _STATUS_EVERY_SECONDS
    while not life.stopping.wait(max(0.0, due - clock.monotonic())):
        messages, time, count = sampler.report()
        for message in messages:
            sink.put(message, time)
        metrics.AGENT_READINGS.inc(count)
        # A host that slept does not make up for the reports it missed.
        due = max(due + period, clock.monotonic())
        behind = _tell_if_behind(sink.status().waiting, health, behind)
        if clock.monotonic() >= status_at:
            _log_status(sink.status())
            status_at += _STATUS_EVERY_SECONDS


def _tell_if_behind(waiting: int, health: Health, behind: bool) -> bool:
    """Once when reports begin to pile up, once when they have gone; whether they are piled up now."""
    if not behind and waiting > _BEHIND_REPORTS:
        _log.warning("reports are not taken; they wait", waiting=waiting)
        health.waiting("reports", "they are not taken")
        return True
    if behind and waiting <= 1:
        _log.info("reports are taken again")
        health.ready("reports")
        return False
    return behind


def _log_status(status: Status) -> None:
    log = _log.warning if status.dropped else _log.info
    log("agent status", sent=status.sent, waiting=status.waiting, dropped=status.dropped)


def _close(sink: Sink, grace_seconds: float) -> None:
    sink.close(grace_seconds)
    status = sink.status()
    _log.info("agent stopped", sent=status.sent, waiting=status.waiting, dropped=status.dropped)


def _settings(url: str | None) -> AgentSettings:
    if url is None:
        return AgentSettings.load()
    if urlsplit(url).scheme not in ("http", "https") or not urlsplit(url).netloc:
        raise UsageError(f"--url {url!r} is not a gateway's address, such as http://gateway.example:8460")
    return AgentSettings.load(kafka=KafkaSettings({"bootstrap.servers": "not-used"}))


def _kafka_sink(settings: AgentSettings, health: Health, system: str) -> KafkaSink:
    try:
        check_topics(settings, [SENSOR_READINGS])
    except TopicError:
        raise
    except BrokerError as error:
        # A host often starts before its network does; what is measured until then is kept.
        _log.warning("broker does not answer yet", because=str(error))
    policy = OutletPolicy(settings.agent_max_age, MAX_WAITING, _MAX_QUEUE_BYTES)
    topic = settings.topic(SENSOR_READINGS)
    return KafkaSink(Outlet(settings.kafka, policy, health, topic), topic, system)


def _http_sink(settings: AgentSettings, health: Health, url: str, api_key: str | None) -> HttpSink:
    return HttpSink(url, api_key, Backlog(settings.agent_max_age, MAX_WAITING), SystemClock(), health)


def _period(every: str) -> float:
    """Seconds."""
    try:
        period = parse_duration(every)
    except ValueError as error:
        raise UsageError(f"--every: {error}") from None
    if period < 100:
        raise UsageError("--every: at least 100ms")
    return period / 1000


def _identity(system: str | None, tags: tuple[str, ...]) -> Identity:
    """Checked by the same rules as every reading. Raises UsageError."""
    given = dict(tag.partition("=")[::2] for tag in tags)
    name = system or socket.gethostname() or "localhost"
    probe = json.dumps({"system": name, "metric": "probe", "value": 0, "time": 0, "tags": given}).encode()
    if rejected := check(probe).rejected:
        raise UsageError(f"{rejected[0].field}: {rejected[0].detail}")
    if bad := [tag for tag in tags if "=" not in tag]:
        raise UsageError(f"--tag {bad[0]}: must be KEY=VALUE")
    return Identity(name, given or None)
