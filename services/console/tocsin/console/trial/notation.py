"""Values of a series in short: `a+bxn`, `a-bxn`, `axn`, `_`, `_xn`, `stale`; or with their times, `90s=5`.

The notation is promtool's, so that series can be carried over. Source: Prometheus documentation, unit testing rules.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator

from tocsin.shared.times import parse_duration

MOST_VALUES = 1_000_000
"""Of one series, missing ones counted too."""

_NUMBER = r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?"
_VALUE = re.compile(rf"({_NUMBER})(?:([+-])({_NUMBER}))?(?:x(\d{{1,18}}))?", re.ASCII)
_MISSING = re.compile(r"_(?:x(\d{1,18}))?", re.ASCII)
_STALE = "stale"

Value = float | None
"""None: no reading."""


def parse_values(text: str) -> list[Value]:
    """One value an interval. Raises ValueError naming the part that is wrong.

    `1+2x3` is 1 3 5 7: a start and three more; `5x2` is 5 5 5; `_x3` is three times nothing. `stale` is nothing, too.
    """
    found: list[Value] = []
    for part in text.split():
        found += _part(part)
        if len(found) > MOST_VALUES:
            raise ValueError(f"has more than {MOST_VALUES} values")
    if not found:
        raise ValueError("holds no value; write '1 2 3', '1+2x3' or '_x3'")
    return found


def _part(part: str) -> Iterator[Value]:
    if part == _STALE:
        return iter((None,))
    if missing := _MISSING.fullmatch(part):
        return iter((None,) * _times(missing.group(1) or "1"))
    match = _VALUE.fullmatch(part)
    if match is None:
        raise ValueError(f"{part[:64]!r} is no value; write a number, a+bxn, a-bxn, axn, _, _xn or stale")
    start, sign, step, times = match.groups()
    if step is not None and times is None:
        raise ValueError(f"{part[:64]!r} lacks how often: {part[:64]}x5")
    by = 0.0 if step is None else float(step) * (-1 if sign == "-" else 1)
    values = [float(start) + number * by for number in range(_times(times or "0") + 1)]
    if not all(map(math.isfinite, values)):
        raise ValueError(f"{part[:64]!r} has a number too large for a 64-bit float")
    return iter(values)


def _times(digits: str) -> int:
    if int(digits) > MOST_VALUES:
        raise ValueError(f"x{digits} is more than {MOST_VALUES} values")
    return int(digits)


def parse_points(text: str) -> list[tuple[int, float]]:
    """`0s=22 20m=2`: (milliseconds since the start, value), in the order written. Raises ValueError."""
    found = []
    for part in text.split():
        time, equals, value = part.partition("=")
        if not equals or not re.fullmatch(_NUMBER, value, re.ASCII) or not math.isfinite(float(value)):
            raise ValueError(f"{part[:64]!r} is no value with its time, such as 90s=5")
        found.append((parse_duration(time), float(value)))
    if not found:
        raise ValueError("holds no value; write '0s=5 90s=7'")
    return found
