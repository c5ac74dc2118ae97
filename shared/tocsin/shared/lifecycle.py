"""Starting and stopping: teardown is registered when a thing is made, has a name, and runs last-in first-out."""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections.abc import Callable
from types import FrameType, TracebackType

EXIT_RESTART = 70
"""EX_SOFTWARE of sysexits.h. A process that ends with it asks its supervisor to start it anew."""

_log = logging.getLogger(__name__)


def nowhere(point: str) -> None:
    """What a process does at a point that has a name: nothing. Tests let it end there."""


class Lifecycle:
    """A stack of named teardowns, and the wish to stop. `at` is told the named points that the process passes."""

    def __init__(self, at: Callable[[str], None] = nowhere) -> None:
        self.at = at
        self._teardowns: list[tuple[str, Callable[[], object]]] = []
        self._listeners: list[Callable[[], None]] = []
        self.stopping = threading.Event()

    def add(self, name: str, teardown: Callable[[], object]) -> None:
        self._teardowns.append((name, teardown))

    def on_stop(self, listener: Callable[[], None]) -> None:
        """Called in the signal handler's thread: keep it to setting a flag or `call_soon_threadsafe`."""
        self._listeners.append(listener)

    def stop(self) -> None:
        """Ask everything to drain; returns at once."""
        if not self.stopping.is_set():
            self.stopping.set()
            for listener in self._listeners:
                listener()

    def close(self) -> None:
        """Run the teardowns; one that fails is logged and does not keep the others from running."""
        while self._teardowns:
            name, teardown = self._teardowns.pop()
            try:
                teardown()
            except Exception:  # noqa: BLE001  every other teardown still has to run
                _log.exception("teardown of %s failed", name)

    def install_signals(self) -> None:
        """SIGTERM and SIGINT drain; a second one leaves at once."""

        def handle(number: int, frame: FrameType | None) -> None:
            if self.stopping.is_set():
                os._exit(128 + number)
            self.stop()

        signal.signal(signal.SIGTERM, handle)
        signal.signal(signal.SIGINT, handle)

    def __enter__(self) -> Lifecycle:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()
