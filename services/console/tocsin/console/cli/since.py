"""Points in time on the command line: `2h` (ago, or from now on), or an RFC 3339 time."""

from __future__ import annotations

from dataclasses import dataclass

import click

from tocsin.shared.clock import SystemClock
from tocsin.shared.times import MAX_EPOCH_MS, parse_duration, parse_rfc3339


class _Since(click.ParamType):
    """Epoch milliseconds."""

    name = "time"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, int):
            return value
        text = str(value)
        try:
            return max(0, SystemClock().now_ms() - parse_duration(text))
        except ValueError:
            pass
        try:
            return parse_rfc3339(text)
        except ValueError:
            self.fail(f"{text!r} is neither a duration such as 2h nor a time such as 2026-11-23T10:00:00Z", param, ctx)


@dataclass(frozen=True, slots=True)
class Moment:
    """A time, or so much later than something."""

    time: int | None
    later: int = 0

    def after(self, begin: int) -> int:
        """Epoch ms."""
        return min(begin + self.later, MAX_EPOCH_MS) if self.time is None else self.time


class _Moment(click.ParamType):
    """A moment that may be to come."""

    name = "time"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> Moment:
        if isinstance(value, Moment):
            return value
        text = str(value)
        try:
            return Moment(None, parse_duration(text))
        except ValueError:
            pass
        try:
            return Moment(parse_rfc3339(text))
        except ValueError:
            self.fail(f"{text!r} is neither a duration such as 2h nor a time such as 2026-11-23T10:00:00Z", param, ctx)


SINCE = _Since()
MOMENT = _Moment()
