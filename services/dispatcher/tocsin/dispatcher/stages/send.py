"""Stage 3: one attempt."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import lru_cache

from prometheus_client import Counter, Histogram

from tocsin.dispatcher.channels.base import Parcel
from tocsin.dispatcher.core.audit import Attempt, outcome_word
from tocsin.dispatcher.core.outcomes import Outcome, Unknown
from tocsin.dispatcher.stages.steps import Attempted, Ready
from tocsin.shared.clock import Clock
from tocsin.shared.telemetry import metrics
from tocsin.shared.telemetry.logs import logger

log = logger(__name__)


@lru_cache(maxsize=64)
def _count(channel: str, outcome: str) -> Counter:
    return metrics.ATTEMPTS.labels(channel, outcome)


@lru_cache(maxsize=64)
def _clock(channel: str) -> Histogram:
    return metrics.ATTEMPT_SECONDS.labels(channel)


class Send:
    """Whatever happens, it is an outcome; a cut off at the end of a drain is an unknown one."""

    def __init__(self, clock: Clock, at: Callable[[str], None]) -> None:
        self._clock = clock
        self._at = at

    async def __call__(self, ready: Ready) -> Attempted:
        channel = ready.addressed.channel
        started_ms, started = self._clock.now_ms(), self._clock.monotonic()
        outcome: Outcome
        try:
            outcome = await channel.send(Parcel(ready.delivery, ready.addressed.recipient, ready.delivery.rendered))  # type: ignore[arg-type]
        except asyncio.CancelledError:
            outcome = Unknown("shutdown")
        except Exception:
            log.exception("a channel failed", channel=channel.name, delivery=ready.delivery.id)
            outcome = Unknown("internal_error")
        self._at("answered")
        seconds = self._clock.monotonic() - started
        _count(channel.name, outcome_word(outcome)).inc()
        _clock(channel.name).observe(seconds)
        number = ready.delivery.attempts + 1
        return Attempted(
            ready.addressed,
            ready.delivery.model_copy(update={"attempts": number}),
            Attempt(number, started_ms, self._clock.now_ms(), seconds * 1000, outcome, channel.name),
        )
