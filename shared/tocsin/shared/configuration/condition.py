"""Conditions: `> 90`, `between 10 and 20`. Pure."""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable
from dataclasses import dataclass

_NUMBER = r"([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)"
_COMPARISON = re.compile(rf"(>=|<=|==|!=|>|<)\s*{_NUMBER}", re.ASCII)
_RANGE = re.compile(rf"(between|outside)\s+{_NUMBER}\s+and\s+{_NUMBER}", re.ASCII)

COMPARISONS: dict[str, Callable[[float, float], bool]] = {
    ">": operator.gt,
    ">=": operator.ge,
    "<": operator.lt,
    "<=": operator.le,
    "==": operator.eq,
    "!=": operator.ne,
}


@dataclass(frozen=True, slots=True)
class Condition:
    """A comparison (`low` alone is used) or a range. `outside` is exactly not `between`."""

    op: str  # > >= < <= == != between outside
    low: float
    high: float = 0.0

    def holds(self, value: float) -> bool:
        if self.op == "between":
            return self.low <= value <= self.high
        if self.op == "outside":
            return value < self.low or value > self.high
        return COMPARISONS[self.op](value, self.low)

    def boundaries(self) -> tuple[float, ...]:
        """The values at which it can change, ascending."""
        return (self.low, self.high) if self.op in ("between", "outside") else (self.low,)

    def __str__(self) -> str:
        if self.op in ("between", "outside"):
            return f"{self.op} {_text(self.low)} and {_text(self.high)}"
        return f"{self.op} {_text(self.low)}"


def _text(number: float) -> str:
    return str(int(number)) if number.is_integer() and abs(number) < 1e15 else repr(number)


def parse_condition(text: str) -> Condition:
    """Raises ValueError, saying what a condition looks like."""
    stripped = text.strip()
    if match := _COMPARISON.fullmatch(stripped):
        condition = Condition(match.group(1), float(match.group(2)))
    elif match := _RANGE.fullmatch(stripped):
        condition = Condition(match.group(1), float(match.group(2)), float(match.group(3)))
        if condition.low > condition.high:
            raise ValueError(f"{text!r} has its ends the wrong way round: the smaller number comes first")
    else:
        raise ValueError(
            f"{text[:64]!r} is not a condition; write one of > >= < <= == != and a number, "
            "'between A and B' or 'outside A and B'"
        )
    if not all(math.isfinite(number) for number in condition.boundaries()):
        raise ValueError(f"{text[:64]!r} has a number too large for a 64-bit float")
    return condition
