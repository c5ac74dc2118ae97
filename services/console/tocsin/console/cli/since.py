"""Points in time on the command line: `2h` (ago), or an RFC 3339 time."""

from __future__ import annotations

import click

from tocsin.shared.clock import SystemClock
from tocsin.shared.times import parse_duration, parse_rfc3339


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


SINCE = _Since()
