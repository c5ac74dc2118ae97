"""Who is watching, and what has changed: notices for server-sent events, numbered so that a stream can resume."""

from __future__ import annotations

import asyncio
import secrets
from collections import deque
from collections.abc import AsyncGenerator, Collection
from contextlib import aclosing
from dataclasses import dataclass, field

REMEMBERED = 300
MOST_TOPICS = 500
"""In one notice; beyond it, all of a family are named at once: `delivery:*`."""

GATHER_SECONDS = 0.15
"""What changes together is told together."""

LOADS_A_SECOND = 20.0
"""A page that is told loads itself: so many together. The more pages watch, the rarer are notices."""

LONGEST_PAUSE_SECONDS = 5.0
KEEPALIVE_SECONDS = 20.0
RELOAD = "reload"
"""For whoever watches, whatever it is."""


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
    _watching: int = 0
    _published_at: float = float("-inf")
    _due: bool = False
    closing: bool = False

    def changed(self, topics: set[str]) -> None:
        if not self.loop.is_closed():
            self.loop.call_soon_threadsafe(self._gather, set(topics))

    def _gather(self, topics: set[str]) -> None:
        self._pending |= topics
        if len(self._pending) > MOST_TOPICS:
            self._pending = {f"{topic.partition(':')[0]}:*" if ":" in topic else topic for topic in self._pending}
        if not self._due:
            self._due = True
            pause = min(LONGEST_PAUSE_SECONDS, self._watching / LOADS_A_SECOND)
            self.loop.call_at(max(self.loop.time() + GATHER_SECONDS, self._published_at + pause), self._publish)

    def _publish(self) -> None:
        self._due = False
        self._published_at = self.loop.time()
        self._number += 1
        self._past.append((self._number, tuple(sorted(self._pending))))
        self._pending = set()
        self._wake()

    def _wake(self) -> None:
        moved, self._moved = self._moved, asyncio.Event()
        moved.set()

    def close(self) -> None:
        """Every stream ends."""
        self.closing = True
        self._wake()

    async def watch(self, last_id: str, wanted: Collection[str] = ()) -> AsyncGenerator[Notice | None]:
        """Notices after that one, of wanted topics (none: of all); None now and then, to be sent as a sign of life."""
        self._watching += 1
        try:
            async with aclosing(self._follow(last_id, wanted)) as notices:
                async for notice in notices:
                    yield notice
        finally:
            self._watching -= 1

    async def _follow(self, last_id: str, wanted: Collection[str]) -> AsyncGenerator[Notice | None]:
        number = self._resume(last_id)
        if number is None:
            number = self._number
            if last_id:
                yield Notice(f"{self._boot}-{number}", None)
        silent_until = self.loop.time() + KEEPALIVE_SECONDS  # however much happens that is not wanted here
        while not self.closing:
            missed = [(one, topics) for one, topics in self._past if one > number]
            if missed:
                number = missed[-1][0]
                everything = sorted({topic for _, topics in missed for topic in topics})
                told = tuple(topic for topic in everything if _is_wanted(topic, wanted))
                if told:
                    yield Notice(f"{self._boot}-{number}", told)
                    silent_until = self.loop.time() + KEEPALIVE_SECONDS
                continue
            try:
                async with asyncio.timeout_at(silent_until):
                    await self._moved.wait()
            except TimeoutError:
                yield None
                silent_until = self.loop.time() + KEEPALIVE_SECONDS

    def _resume(self, last_id: str) -> int | None:
        boot, _, text = last_id.partition("-")
        if boot != self._boot or not text.isdecimal():
            return None
        number = int(text)
        oldest = self._past[0][0] if self._past else self._number + 1
        return number if oldest - 1 <= number <= self._number else None


def _is_wanted(topic: str, wanted: Collection[str]) -> bool:
    if not wanted or topic in wanted or topic == RELOAD:
        return True
    return topic.endswith(":*") and any(one.startswith(topic[:-1]) for one in wanted)
