"""How often, as text: `10/s`, `100/m`, `5/h`."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import BeforeValidator, WithJsonSchema

_RATE = re.compile(r"(\d{1,6})\s*/\s*(s|m|h)", re.ASCII)
_UNIT_MS = {"s": 1_000, "m": 60_000, "h": 3_600_000}
MOST_A_SECOND = 10_000


def parse_rate(text: str) -> str:
    """The text without blanks. Raises ValueError when it is no rate."""
    match = _RATE.fullmatch(text.strip())
    if match is None or int(match.group(1)) == 0:
        raise ValueError(f"{text[:64]!r} is not a rate, such as 10/s, 100/m or 5/h")
    if interval_ms(f"{match.group(1)}/{match.group(2)}") < 1000 / MOST_A_SECOND:
        raise ValueError(f"{text[:64]!r} is more than {MOST_A_SECOND}/s: leave the rate out")
    return f"{int(match.group(1))}/{match.group(2)}"


def interval_ms(rate: str) -> float:
    """Milliseconds from one to the next."""
    count, _, unit = rate.partition("/")
    return _UNIT_MS[unit] / int(count)


def _checked(value: Any) -> str:
    if isinstance(value, str):
        return parse_rate(value)
    raise ValueError("must be a rate, such as 10/s")


Rate = Annotated[
    str, BeforeValidator(_checked), WithJsonSchema({"type": "string", "examples": ["10/s", "100/m", "5/h"]})
]
