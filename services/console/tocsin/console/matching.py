"""Which systems a notification matches now, from what sensors have published and what systems have reported."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

from tocsin.console.web.context import Console
from tocsin.shared.configuration.groups import group_matcher
from tocsin.shared.configuration.records import Group, Notification

Matches = Callable[[str, Mapping[str, str]], bool]


async def systems_now(services: Console, notification_id: str) -> list[str]:
    """On which all of its sensors are triggered, in its group; sorted. Empty when there is no such notification."""
    found = services.directory.get(Notification.kind, notification_id)
    if not isinstance(found, Notification):
        return []
    matched: set[str] | None = None
    for use in found.sensors:
        on = await services.queries.triggered_on(use.sensor_id, use.instance)
        matched = on if matched is None else matched & on
    matches = matcher_of(services, found.group_id)
    return sorted(name for name in matched or () if matches(name, tags_of(services, name)))


def matcher_of(services: Console, group_id: str | None) -> Matches:
    group = services.directory.get(Group.kind, group_id) if group_id else None
    return group_matcher(group if isinstance(group, Group) else None)


def tags_of(services: Console, system: str) -> Mapping[str, str]:
    view = services.systems.by_name.get(system)
    return view.tags if view is not None else {}


async def systems_in(services: Console, matches: Matches) -> list[str]:
    """Of those heard lately; sorted."""

    def find() -> list[str]:
        return [name for name in services.systems.names() if matches(name, tags_of(services, name))]

    return await asyncio.to_thread(find)
