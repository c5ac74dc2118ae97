"""Patterns of system names: `*`, `?`, `[abc]`; case counts. Pure."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable, Iterable

MAX_STARS = 16
"""Of one pattern; people need two. Each costs another walk over the name."""

_REPEATED_GROUP = re.compile(r"[+*}][)\]]?\)[+*{]|\)[+{]")


def check_pattern(pattern: str) -> str | None:
    """What is wrong with it, if anything."""
    if not pattern.strip():
        return "a pattern must not be empty"
    if pattern.count("*") > MAX_STARS:
        return f"{pattern[:64]!r} has {pattern.count('*')} stars, at most {MAX_STARS} are possible"
    if _REPEATED_GROUP.search(pattern):
        return f"{pattern[:64]!r} looks like a regular expression; a pattern knows only *, ? and [abc]"
    return None


def name_matcher(patterns: Iterable[str]) -> Callable[[str], bool]:
    """`matches(name)`: any of the patterns; none of them: no name."""
    texts = tuple(patterns)
    if not texts:
        return lambda name: False
    # One expression for all patterns; translate() makes every star atomic, so none can explode.
    expression = re.compile("|".join(fnmatch.translate(text) for text in texts))
    return lambda name: expression.match(name) is not None
