"""What a sensor's rule can ask for, as records: conditions, levels, windows and the rest of the options."""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, PlainSerializer, WithJsonSchema

from tocsin.shared.configuration.condition import Condition, parse_condition
from tocsin.shared.schemas.base import Duration, Wire

MAX_LEVELS = 16
MAX_BREACHES = 1_000
MAX_COUNT = 10_000
"""Readings of a count window; each series keeps them."""
MAX_OVERRIDES = 100
MAX_HISTORY = 1_000
MAX_DURATION = 3_660 * 86_400_000
"""Milliseconds: ten years, so that no due time ever leaves the calendar."""
MAX_WINDOW = 31 * 86_400_000
"""Milliseconds: each series keeps the readings of its window."""

Function = Literal["avg", "min", "max", "sum", "count", "stddev", "p50", "p90", "p95", "p99", "rate", "delta"]
Then = Literal["no-data", "trigger", "clear", "hold"]

_BREACHES = re.compile(r"(\d{1,9})\s+of\s+(\d{1,9})", re.ASCII)


@dataclass(frozen=True, slots=True)
class Breaches:
    """`3 of 5`: the trigger holds while it holds for at least this many of that many judged values."""

    least: int
    among: int

    def __str__(self) -> str:
        return f"{self.least} of {self.among}"


def parse_breaches(text: str) -> Breaches:
    """Raises ValueError, saying what it looks like."""
    match = _BREACHES.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"{text[:64]!r} must be two numbers, such as '3 of 5'")
    least, among = int(match.group(1)), int(match.group(2))
    if not 1 <= least <= among:
        raise ValueError(f"{text[:64]!r} must have a first number from 1 up to the second")
    if among > MAX_BREACHES:
        raise ValueError(f"{text[:64]!r} looks back too far: at most {MAX_BREACHES} values are possible")
    return Breaches(least, among)


def _condition(value: Any) -> Condition:
    if isinstance(value, Condition):
        return value
    if isinstance(value, str):
        return parse_condition(value)
    raise ValueError("must be a condition in quotes, such as '> 90'")


def _breaches(value: Any) -> Breaches:
    if isinstance(value, Breaches):
        return value
    if isinstance(value, str):
        return parse_breaches(value)
    raise ValueError("must be two numbers, such as '3 of 5'")


ConditionText = Annotated[
    Condition,
    BeforeValidator(_condition),
    PlainSerializer(str, return_type=str),
    WithJsonSchema({"type": "string", "examples": ["> 90", "between 10 and 20"]}),
]

BreachesText = Annotated[
    Breaches,
    BeforeValidator(_breaches),
    PlainSerializer(str, return_type=str),
    WithJsonSchema({"type": "string", "examples": ["3 of 5"]}),
]


class LevelSpec(Wire):
    """One of several levels, in rising severity. What is None is as the sensor says."""

    name: str
    trigger: ConditionText
    clear: ConditionText | None = None  # none: not trigger
    for_: Duration | None = Field(default=None, alias="for")
    keep: Duration | None = None
    breaches: BreachesText | None = None


class AggregateSpec(Wire):
    """A function of a window is judged instead of the reading; exactly one of the windows is given."""

    function: Function
    window: Duration | None = None  # slides, both ends in
    tumbling: Duration | None = None  # aligned to the epoch, start in, end out
    count: int | None = None  # the last readings


class NoDataSpec(Wire):
    """What happens when a series falls silent."""

    after: Duration
    then: Then = "hold"


class FlappingSpec(Wire):
    """Percentages of weighted changes among the last judgements."""

    enter: Decimal = Decimal(50)
    leave: Decimal = Decimal(25)
    history: int = 21


class OverrideSpec(Wire):
    """Other options on some systems. What is None is as the sensor says."""

    systems: tuple[str, ...]
    trigger: ConditionText | None = None
    clear: ConditionText | None = None
    levels: tuple[LevelSpec, ...] | None = None
    for_: Duration | None = Field(default=None, alias="for")
    keep: Duration | None = None
    breaches: BreachesText | None = None
    aggregate: AggregateSpec | None = None
    no_data: NoDataSpec | None = None
    hold: Duration | None = None
    lateness: Duration | None = None
    flapping: FlappingSpec | None = None

    def given(self) -> dict[str, Any]:
        """The options it has, by field name."""
        names = [name for name in type(self).model_fields if name != "systems"]
        return {name: value for name in names if (value := getattr(self, name)) is not None}
