"""Which systems a group holds. Pure."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable, Mapping

from tocsin.shared.configuration.records import Group


def group_matcher(group: Group | None) -> Callable[[str, Mapping[str, str]], bool]:
    """`matches(system, tags)`: any of the patterns (`*`, `?`, `[abc]`, case counts) and all of the tags."""
    if group is None:
        return lambda system, tags: True
    wanted = dict(group.tags)
    # One expression for all patterns; translate() makes every star atomic, so none can explode.
    pattern = re.compile("|".join(fnmatch.translate(text) for text in group.systems)) if group.systems else None

    def matches(system: str, tags: Mapping[str, str]) -> bool:
        if pattern is not None and pattern.match(system) is None:
            return False
        return all(tags.get(name) == value for name, value in wanted.items())

    return matches
