"""When a recorded reading happens again. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from tocsin.ingest.core.recordings import Recorded
from tocsin.shared.errors import UsageError

_SPEED = re.compile(r"(\d+(?:\.\d+)?)x?", re.ASCII)
_LOOP_GAP_MS = 1000
"""Recorded time between the end of one pass and the start of the next."""


@dataclass(frozen=True, slots=True)
class Speed:
    """Recorded seconds in a second; None: as fast as the broker takes them."""

    factor: float | None


def parse_speed(text: str) -> Speed:
    """`60x`, `60`, `0.5x` or `max`. Raises UsageError."""
    if text.strip().casefold() == "max":
        return Speed(None)
    match = _SPEED.fullmatch(text.strip().casefold())
    if match is None or float(match.group(1)) <= 0:
        raise UsageError(f"--speed {text!r}: must be such as 60x, 0.5x or max")
    return Speed(float(match.group(1)))


@dataclass(frozen=True, slots=True)
class Schedule:
    """Times of one pass over a recording, all in epoch ms.

    At a speed, the first reading happens at `start` and the others follow, closer together by the speed. As fast as
    possible, all are shifted alike, so that the newest happened at `start`: their distances stay as recorded.
    """

    oldest: int
    newest: int
    start: int
    speed: Speed
    keep_times: bool

    def due(self, time: int) -> int:
        """When to send what was recorded at `time`."""
        return self.start if self.speed.factor is None else self.start + round((time - self.oldest) / self.speed.factor)

    def event_time(self, time: int) -> int:
        """What to say it was."""
        if self.keep_times:
            return time
        return self.start - (self.newest - time) if self.speed.factor is None else self.due(time)

    def again(self) -> Schedule:
        """The next pass, after this one."""
        gap = 0 if self.speed.factor is None else max(1, round(_LOOP_GAP_MS / self.speed.factor))
        return replace(self, start=self.due(self.newest) + gap)

    def moved(self, recorded: Recorded) -> Recorded:
        """The same readings at the times they are said to happen."""
        if self.keep_times:
            return recorded
        good = tuple(
            type(one)(one.system, one.metric, one.instance, one.value, self.event_time(one.time), one.unit, one.tags)
            for one in recorded.good
        )
        return Recorded(self.event_time(recorded.time), good, recorded.is_report)
