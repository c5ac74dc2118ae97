"""Which systems a group holds. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from tocsin.shared.configuration.patterns import name_matcher
from tocsin.shared.configuration.records import Group


def group_matcher(group: Group | None) -> Callable[[str, Mapping[str, str]], bool]:
    """`matches(system, tags)`: any of the patterns (`*`, `?`, `[abc]`, case counts) and all of the tags."""
    if group is None:
        return lambda system, tags: True
    wanted = dict(group.tags)
    named = name_matcher(group.systems) if group.systems else None

    def matches(system: str, tags: Mapping[str, str]) -> bool:
        if named is not None and not named(system):
            return False
        return all(tags.get(name) == value for name, value in wanted.items())

    return matches
