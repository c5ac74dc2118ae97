"""The only place that reads a clock. Times inside are integer epoch milliseconds, UTC."""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """What a shell needs of time; tests pass their own."""

    def now_ms(self) -> int:
        """Wall clock, epoch milliseconds."""
        ...

    def monotonic(self) -> float:
        """Seconds that never step back."""
        ...


class SystemClock:
    """The machine's clock."""

    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000

    def monotonic(self) -> float:
        return time.monotonic()
