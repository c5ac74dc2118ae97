"""In which order the readings of one series count: the newest decides; repeats and late ones change nothing."""

from __future__ import annotations

from enum import Enum

from msgspec import Struct

MOST_VALUES = 64
"""Different values remembered at one instant; a series with more of them forgets the first."""


class Verdict(Enum):
    """What becomes of a reading."""

    JUDGED = "judged"
    REPEATED = "repeated"  # its time and value were seen at the series' newest time
    LATE = "late"  # older than the newest


class Order(Struct, frozen=True, gc=False):
    """The newest time of a series, epoch ms, and the values seen at it, the last judged one last."""

    newest: int
    values: tuple[float, ...]


def take(order: Order | None, time: int, value: float) -> tuple[Verdict, Order]:
    """None: the series has no reading yet."""
    if order is None or time > order.newest:
        return Verdict.JUDGED, Order(time, (value,))
    if time < order.newest:
        return Verdict.LATE, order
    if value in order.values:
        return Verdict.REPEATED, order
    return Verdict.JUDGED, Order(time, (*order.values, value)[-MOST_VALUES:])
