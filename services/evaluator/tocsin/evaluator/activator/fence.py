"""A process that stood still longer than its session ends itself: its partitions may have another owner by now."""

from __future__ import annotations

import logging
import os
import sys
import threading
from collections.abc import Callable
from typing import NoReturn

from tocsin.shared.clock import Clock
from tocsin.shared.lifecycle import EXIT_RESTART
from tocsin.shared.telemetry.logs import logger

log = logger(__name__)

_BEAT_S = 0.5


def end_at_once(why: str, error: BaseException | None = None, code: int = EXIT_RESTART) -> NoReturn:
    """Leave without any clean-up: what is not acknowledged is done again by whoever comes next."""
    log.critical("activator ends at once", why=why, exit_code=code, exc_info=error)
    for handler in logging.getLogger().handlers:
        handler.flush()
    sys.stderr.flush()
    os._exit(code)


class Fence:
    """Beats on a thread of its own; a missing beat means that the whole process was stopped."""

    def __init__(self, clock: Clock, limit_s: float, end: Callable[[str], object] = end_at_once) -> None:
        self._clock = clock
        self._limit = limit_s
        self._end = end
        self._last = clock.monotonic()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="fence", daemon=True)

    def start(self) -> None:
        self._last = self._clock.monotonic()
        self._thread.start()

    def close(self) -> None:
        self._closing.set()

    def check(self) -> None:
        """Call before anything leaves the process."""
        gap = self._clock.monotonic() - self._last
        if gap > self._limit and not self._closing.is_set():
            self._end(f"stood still for {gap:.1f} s: another process may own its partitions")

    def _run(self) -> None:
        while not self._closing.wait(_BEAT_S):
            self.check()
            self._last = self._clock.monotonic()
