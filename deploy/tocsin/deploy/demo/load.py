"""CPU load: one busy loop a processor, at the lowest priority so that nothing else has to wait."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from datetime import timedelta

from tocsin.deploy.processes import Child, Supervisor

LONGEST_SECONDS = 90
"""A loop ends by itself after this, whatever happens to the demo."""

_BUSY = f"import os,time; os.nice(19); end=time.time()+{LONGEST_SECONDS}\nwhile time.time()<end:\n sum(range(10000))"


class CpuLoad:
    """Processes that keep every processor busy until stopped."""

    def __init__(self, supervisor: Supervisor, environment: Mapping[str, str] | None = None) -> None:
        self._supervisor = supervisor
        self._environment = environment
        self._children: list[Child] = []

    def start(self) -> int:
        """How many processors are busy now."""
        usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        self._children = [
            self._supervisor.start("load", [sys.executable, "-I", "-S", "-c", _BUSY], env=self._environment)
            for _ in range(usable)
        ]
        return usable

    def stop(self) -> None:
        for child in self._children:
            child.ask_to_stop()
        for child in self._children:
            child.stop(timedelta(seconds=2))
        self._children = []
