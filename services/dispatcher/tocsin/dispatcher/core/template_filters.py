"""The filters and tests of body templates, and how a value is printed where it stands. Pure.

Our own instead of Jinja's, so that each one's work is known: every filter spends the length of its text from the
rendering's budget.
"""

from __future__ import annotations

import html
import json.encoder
import math
from collections.abc import Callable, Iterable, Iterator
from decimal import Decimal
from typing import Any
from urllib.parse import quote

from jinja2 import Undefined, pass_context
from jinja2.runtime import Context

from tocsin.dispatcher.core.variables import JsonText

WORK = 500_000
"""Characters and loop steps one rendering may touch: a few milliseconds, well below the 50 allowed."""

STEP_WORK = 10
"""What each node of a loop's body costs at each step: as much as copying so many characters."""

MAX_TEXT = 100_000
"""Characters of any one text on its way; a body has no more bytes than that."""

BUDGET = "_budget"

_encode = json.encoder.encode_basestring


class TooMuchWorkError(Exception):
    """The template makes more work than a rendering may."""


class Budget:
    """What is left of one rendering's work."""

    __slots__ = ("left",)

    def __init__(self, work: int = WORK) -> None:
        self.left = work

    def spend(self, work: int) -> None:
        self.left -= work
        if self.left < 0:
            raise TooMuchWorkError


def as_text(value: Any) -> str:
    """As a person would write it."""
    match value:
        case str():
            return value
        case bool():
            return "true" if value else "false"
        case None:
            return ""
        case Decimal():
            return f"{value:f}"
        case _:
            return str(value)


def printable(value: Any) -> str:
    """As text that may still fit into a body: escaping a larger one would only burn memory."""
    text = as_text(value)
    if len(text) > MAX_TEXT:
        raise TooMuchWorkError
    return text


def in_json_string(value: Any) -> str:
    """Between quotes that the template wrote."""
    return _encode(printable(value))[1:-1]


def as_json(value: Any) -> str:
    """Where JSON expects a value."""
    match value:
        case JsonText():
            return printable(value)
        case bool() | int() | Decimal():
            return as_text(value)
        case None:
            return "null"
        case float() if math.isfinite(value):
            return repr(value)
        case _:
            return _encode(printable(value))


def as_html(value: Any) -> str:
    return html.escape(printable(value))


def _bounded(length: int) -> None:
    if length > MAX_TEXT:
        raise TooMuchWorkError


def _replace(text: str, old: Any, new: Any) -> str:
    before, after = as_text(old), as_text(new)
    if not before:
        return text
    _bounded(len(text) + text.count(before) * (len(after) - len(before)))
    return text.replace(before, after)


def _join(text: str, separator: Any = "") -> str:
    between = as_text(separator)
    _bounded(len(text) * (1 + len(between)))
    return between.join(text)


def _truncate(text: str, length: int = 255) -> str:
    """At most so many characters, the last one a sign that there were more."""
    if not isinstance(length, int):  # said when it is saved, and not by the first text that is long enough
        raise TypeError("the filter 'truncate' takes a whole number")
    return text if len(text) <= length else text[: max(length - 1, 0)] + "…"


def _mrkdwn(text: str) -> str:
    """For Slack: the three characters that would make links, mentions and entities."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


_TEXT_FILTERS: dict[str, Callable[..., Any]] = {
    "upper": str.upper,
    "lower": str.lower,
    "title": str.title,
    "capitalize": str.capitalize,
    "trim": lambda text: text.strip(),
    "length": len,
    "count": len,
    "replace": _replace,
    "join": _join,
    "truncate": _truncate,
    "mrkdwn": _mrkdwn,
    "e": html.escape,
    "escape": html.escape,
    "urlencode": lambda text: quote(text, safe="/"),
}


_WEIGHTS = {"urlencode": 12, "upper": 3, "lower": 3, "title": 3, "capitalize": 3, "join": 3}
"""Work a character, where it is more than copying: measured with texts beyond Latin."""


def _metered(name: str, apply: Callable[..., Any]) -> Callable[..., Any]:
    weight = _WEIGHTS.get(name, 1)

    @pass_context
    def metered(context: Context, value: Any, *arguments: Any) -> Any:
        text = printable(value)
        context[BUDGET].spend(len(text) * weight + 1)
        return apply(text, *arguments)

    return metered


@pass_context
def _spend(context: Context, value: Any) -> Any:
    """Around what `~`, `+`, comparisons and tests work on: each reads or copies the whole text."""
    if isinstance(value, str):
        context[BUDGET].spend(len(value))
    return value


@pass_context
def _tojson(context: Context, value: Any) -> JsonText:
    text = as_json(value)
    context[BUDGET].spend(len(text) + 1)
    return JsonText(text)


def _default(value: Any, other: Any = "", empty_too: bool = False) -> Any:
    return other if isinstance(value, Undefined) or (empty_too and not value) else value


@pass_context
def metered_loop(context: Context, values: Any, weight: int) -> Iterator[Any]:
    """Each step of a loop costs as much as its body is large."""
    budget: Budget = context[BUDGET]
    letters: Iterable[Any] = values if isinstance(values, range) else as_text(values)
    for value in letters:
        budget.spend(weight)
        yield value


def _of_numbers(name: str, test: Callable[..., bool]) -> Callable[..., bool]:
    """Jinja's own take a text, too: their `%` would then fill it in as a format, of whatever width it names."""

    def checked(*values: Any) -> bool:
        if not all(isinstance(value, int | float | Decimal) for value in values):
            raise TypeError(f"the test {name!r} is for numbers")
        return test(*values)

    return checked


NUMBER_TESTS: dict[str, Callable[..., bool]] = {
    "even": _of_numbers("even", lambda value: value % 2 == 0),
    "odd": _of_numbers("odd", lambda value: value % 2 == 1),
    "divisibleby": _of_numbers("divisibleby", lambda value, by: value % by == 0),
}


FILTER_TABLE: dict[str, Callable[..., Any]] = {
    **{name: _metered(name, apply) for name, apply in _TEXT_FILTERS.items()},
    "tojson": _tojson,
    "default": _default,
    "d": _default,
    # Put in by the compiler; a template cannot name them, because no filter it may name begins with an underscore.
    "_text": as_text,
    "_in_string": in_json_string,
    "_json": as_json,
    "_html": as_html,
    "_loop": metered_loop,
    "_spend": _spend,
}
