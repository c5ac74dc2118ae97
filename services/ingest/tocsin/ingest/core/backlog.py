"""Reports that wait to be sent: bounded by age and by number. Pure."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Waiting:
    """One message and when it was made, epoch ms."""

    made: int
    message: bytes


class Backlog:
    """First in, first out; the oldest are dropped first."""

    def __init__(self, max_age_ms: int, max_messages: int) -> None:
        self._max_age = max_age_ms
        self._max_messages = max_messages
        self._waiting: deque[Waiting] = deque()
        self.dropped = 0

    def __len__(self) -> int:
        return len(self._waiting)

    def put(self, waiting: Waiting) -> None:
        self._waiting.append(waiting)
        while len(self._waiting) > self._max_messages:
            self._drop()

    def first(self, count: int, now: int) -> list[Waiting]:
        """The oldest that are still young enough; they stay until `sent`."""
        while self._waiting and now - self._waiting[0].made > self._max_age:
            self._drop()
        return [self._waiting[place] for place in range(min(count, len(self._waiting)))]

    def settle(self, batch: list[Waiting]) -> None:
        """These need not be sent any more. Some may have been dropped meanwhile."""
        newest = batch[-1].made
        while self._waiting and self._waiting[0].made <= newest and self._waiting[0] in batch:
            self._waiting.popleft()

    def _drop(self) -> None:
        self._waiting.popleft()
        self.dropped += 1
