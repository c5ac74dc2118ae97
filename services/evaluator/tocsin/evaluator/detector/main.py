"""The detector's process: settings in, parts wired, run until SIGTERM."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable

from tocsin.evaluator.detector.settings import DetectorSettings
from tocsin.evaluator.detector.warm import warm
from tocsin.evaluator.detector.worker import Worker
from tocsin.shared import kafka
from tocsin.shared.clock import SystemClock
from tocsin.shared.configuration.follower import ConfigurationFollower
from tocsin.shared.errors import BrokerError, TocsinError, TopicError
from tocsin.shared.lifecycle import Lifecycle, nowhere
from tocsin.shared.telemetry import logs
from tocsin.shared.telemetry.health import Health, HealthServer
from tocsin.shared.topics import (
    CONFIGURATION,
    DETECTOR_STATE,
    NOTIFICATION_SYSTEMS,
    NOTIFICATION_TALLIES,
    SENSOR_CHANGES,
    SENSOR_READINGS,
    SENSOR_READINGS_REJECTED,
)

TOPICS = (
    SENSOR_READINGS,
    SENSOR_READINGS_REJECTED,
    SENSOR_CHANGES,
    NOTIFICATION_TALLIES,
    NOTIFICATION_SYSTEMS,
    DETECTOR_STATE,
    CONFIGURATION,
)

RETRY_AFTER = 1.0

log = logs.logger(__name__)


def run_detector(at: Callable[[str], None] = nowhere) -> int:
    """Exit code: 0 drained, 2 could not start, or its name is another's now."""
    with Lifecycle(at) as lifecycle:
        try:
            settings = DetectorSettings.load()
            logs.configure("detector", settings.log_level, settings.log_format)
            lifecycle.install_signals()
            serve(settings, lifecycle)
        except TocsinError as error:
            print(f"detector: {error}", file=sys.stderr)
            return 2
    return 0


def serve(settings: DetectorSettings, lifecycle: Lifecycle) -> None:
    """Until the lifecycle stops. Raises TocsinError when it cannot start."""
    health = Health("configuration", "assignment")
    server = HealthServer(health, settings.http_host, settings.http_port)
    lifecycle.add("health", server.close)
    log.info("health endpoint listening", host=settings.http_host, port=server.port)
    warm()
    started = _with_a_broker(settings, lifecycle)
    if started is None:
        return
    partitions, follower = started
    health.ready("configuration")
    # Each message is an object the collector tracks, and none is ever part of a cycle.
    gc.freeze()
    gc.set_threshold(200_000, 20, 100)
    Worker(settings, partitions, follower, SystemClock(), health, lifecycle).run()


def _with_a_broker(settings: DetectorSettings, lifecycle: Lifecycle) -> tuple[int, ConfigurationFollower] | None:
    """Partitions and configuration, as soon as a broker answers; None when told to stop before. Raises TopicError."""
    while not lifecycle.stopping.is_set():
        try:
            found = kafka.check_topics_when_there(settings, TOPICS, lifecycle.stopping)
            if found is None:
                break
            follower = ConfigurationFollower(settings)
            lifecycle.add("configuration", follower.close)
            follower.start()
            return found[SENSOR_READINGS], follower
        except TopicError:
            raise
        except BrokerError as error:
            log.warning("no broker yet; trying again", why=str(error))
            lifecycle.stopping.wait(RETRY_AFTER)
    return None
