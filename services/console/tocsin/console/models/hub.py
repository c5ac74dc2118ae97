"""Who is watching, and what has changed: notices for server-sent events, numbered so that a stream can resume."""

from __future__ import annotations

import asyncio
import secrets
from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

REMEMBERED = 2_000
GATHER_SECONDS = 0.15
"""What changes together is told together."""
KEEPALIVE_SECONDS = 20.0


@dataclass(frozen=True, slots=True)
class Notice:
    """`topics` None: too much was missed, load everything."""

    id: str
    topics: tuple[str, ...] | None


@dataclass
class Hub:
    """Of one event loop; `changed` may be called from any thread."""

    loop: asyncio.AbstractEventLoop
    _boot: str = field(default_factory=lambda: secrets.token_hex(4))
    _number: int = 0
    _past: deque[tuple[int, tuple[str, ...]]] = field(default_factory=lambda: deque(maxlen=REMEMBERED))
    _pending: set[str] = field(default_factory=set)
    _moved: asyncio.Event = field(default_factory=asyncio.Event)
    closing: bool = False

    def changed(self, topics: set[str]) -> None:
        if not self.loop.is_closed():
            self.loop.call_soon_threadsafe(self._gather, set(topics))

    def _gather(self, topics: set[str]) -> None:
        if not self._pending:
            self.loop.call_later(GATHER_SECONDS, self._publish)
        self._pending |= topics

    def _publish(self) -> None:
        self._number += 1
        self._past.append((self._number, tuple(sorted(self._pending))))
        self._pending.clear()
        self._wake()

    def _wake(self) -> None:
        moved, self._moved = self._moved, asyncio.Event()
        moved.set()

    def close(self) -> None:
        """Every stream ends."""
        self.closing = True
        self._wake()

    async def watch(self, last_id: str) -> AsyncIterator[Notice | None]:
        """Notices after that one; None now and then, to be sent as a sign of life."""
        number = self._resume(last_id)
        if number is None:
            number = self._number
            if last_id:
                yield Notice(f"{self._boot}-{number}", None)
        while not self.closing:
            missed = [(one, topics) for one, topics in self._past if one > number]
            if missed:
                number = missed[-1][0]
                everything = sorted({topic for _, topics in missed for topic in topics})
                yield Notice(f"{self._boot}-{number}", tuple(everything))
                continue
            try:
                async with asyncio.timeout(KEEPALIVE_SECONDS):
                    await self._moved.wait()
            except TimeoutError:
                yield None

    def _resume(self, last_id: str) -> int | None:
        boot, _, text = last_id.partition("-")
        if boot != self._boot or not text.isdecimal():
            return None
        number = int(text)
        oldest = self._past[0][0] if self._past else self._number + 1
        return number if oldest - 1 <= number <= self._number else None
