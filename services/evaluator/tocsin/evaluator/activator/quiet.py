"""Lets the Kafka clients say a thing once in a while instead of ten times a second while the broker is away."""

from __future__ import annotations

import logging
import re

from tocsin.shared.clock import Clock

REPEAT_AFTER_S = 10.0

_CLIENTS = ("aiokafka", "librdkafka", "faust", "mode")
_CHANGING = re.compile(r"\d+")


class SayOnce(logging.Filter):
    """Drops what a client's logger has said within the last seconds, numbers aside."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self._clock = clock
        self._said: dict[tuple[str, str], float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        if not record.name.startswith(_CLIENTS) or record.levelno < logging.WARNING:
            return True
        now = self._clock.monotonic()
        key = (record.name, _CHANGING.sub("#", record.getMessage())[:120])
        if now - self._said.get(key, -REPEAT_AFTER_S) < REPEAT_AFTER_S:
            return False
        if len(self._said) > 1_000:
            self._said.clear()
        self._said[key] = now
        return True


def quieten(level: str, clock: Clock) -> None:
    """What the clients say at info is about themselves; what they say at warning matters, once."""
    for name in _CLIENTS:
        logging.getLogger(name).setLevel("DEBUG" if level.lower() == "debug" else "WARNING")
    for handler in logging.getLogger().handlers:
        handler.addFilter(SayOnce(clock))
