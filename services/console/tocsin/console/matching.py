"""Which systems a notification matches now, and which sensors are triggered on a system."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence

from tocsin.console.web.context import Console
from tocsin.shared.configuration.groups import group_matcher
from tocsin.shared.configuration.records import Group, Notification

Matches = Callable[[str, Mapping[str, str]], bool]


async def systems_now(services: Console, notification_id: str, limit: int, after: str = "") -> tuple[list[str], int]:
    """Some of those the detectors count as matched, sorted, and how many there are; of one that is gone, none."""
    if services.directory.get(Notification.kind, notification_id) is None:
        return [], 0
    names = await services.queries.matched_systems(notification_id, after, limit)
    return names, await services.queries.matched_count(notification_id)


async def notifications_matched(services: Console, system: str) -> list[tuple[Notification, int]]:
    """The notifications that a system matches now, each with the time since when (epoch ms), the newest first."""
    rows = await services.queries.matches_of_systems([system])
    found = ((services.directory.get(Notification.kind, row["notification_id"]), row["since"]) for row in rows)
    kept = [(one, since) for one, since in found if isinstance(one, Notification)]
    return sorted(kept, key=lambda one: -one[1])


async def triggered_by_system(services: Console, systems: Sequence[str]) -> dict[str, set[str]]:
    """Ids of the sensors that are triggered on each of these.

    What sensors have published is kept for some days only. A system that matches a notification has all of its sensors
    triggered, however long ago that began.
    """
    found: dict[str, set[str]] = {}
    for row in await services.queries.triggered_on_systems(systems):
        found.setdefault(row["system"], set()).add(row["sensor_id"])
    for row in await services.queries.matches_of_systems(systems):
        notification = services.directory.get(Notification.kind, row["notification_id"])
        if isinstance(notification, Notification):
            found.setdefault(row["system"], set()).update(use.sensor_id for use in notification.sensors)
    return found


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
