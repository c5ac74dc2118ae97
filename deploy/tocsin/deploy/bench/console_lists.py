"""Every list of the console, of its pages and its API: the first page, one far in, with filters and searches."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Protocol
from urllib.parse import urlencode

from tocsin.deploy.bench.console_records import World

DEEP = 40
"""Pages of 500."""


class Getting(Protocol):
    """Whoever asks the console."""

    def get(self, path: str) -> bytes: ...


def lists_of(client: Getting, world: World) -> Iterator[tuple[str, str]]:
    """What it is, and its path."""
    for api in (True, False):
        kind, root = ("api", "/api/v1") if api else ("page", "")
        for name, filters in _lists(world):
            yield f"{kind}: {name.replace('-', ' ')}", f"{root}/{name}"
            for filter_ in filters:
                shown = ", ".join(f"{key}={_short(value)}" for key, value in filter_.items())
                yield f"{kind}: {name.replace('-', ' ')}, {shown}", f"{root}/{name}?{urlencode(filter_)}"
    for name in ("deliveries", "activations", "systems", "dead-letters", "audit", "recipients"):
        cursor = far_in(client, f"/api/v1/{name}")
        yield f"api: {name.replace('-', ' ')}, far in", f"/api/v1/{name}?cursor={cursor}"
        yield f"page: {name.replace('-', ' ')}, far in", f"/{name}?cursor={cursor}"
    busiest, alarm = world.receivers[0].id, world.notifications[0].id
    active = json.loads(client.get("/api/v1/activations?state=active&limit=1"))["items"][0]["id"]
    yield "page: overview", "/"
    yield "page: the busiest recipient", f"/recipients/{busiest}"
    yield "page: the busiest recipient, state=cancelled", f"/recipients/{busiest}?state=cancelled"
    yield "page: notification that matches the most systems", f"/notifications/{alarm}"
    yield "page: group", f"/groups/{world.groups[0].id}"
    yield "page: active activation", f"/activations/{active}"
    yield "api: systems affected now", f"/api/v1/activations/{active}/systems"
    yield "page: systems, show=triggered", "/systems?show=triggered"
    yield "api: tokens", "/api/v1/tokens"
    yield "page: tokens", "/tokens"
    yield "api: users", "/api/v1/users"
    yield "page: users", "/users"


def _lists(world: World) -> list[tuple[str, list[dict[str, str]]]]:
    busiest, quiet = world.receivers[0].id, world.receivers[-1].id
    alarm = world.notifications[0].id
    rare = world.notifications[-1].id
    none = [{"search": "nothing is called so"}]
    return [
        (
            "deliveries",
            [
                {"state": "delivered"},
                {"state": "retrying"},
                {"state": "cancelled"},
                {"recipient": busiest},
                {"recipient": quiet, "state": "dead-lettered"},
                {"notification": alarm, "state": "cancelled"},
                {"recipient": busiest, "notification": rare},
                {"recipient": busiest, "notification": alarm, "state": "dead-lettered"},
            ],
        ),
        ("activations", [{"state": "dismissed"}, {"notification": alarm}, {"notification": rare, "state": "active"}]),
        ("dead-letters", [{"recipient": busiest}, {"recipient": quiet}, {"recipient": busiest, "notification": rare}]),
        ("audit", [{"kind": "schedule"}, {"record": alarm}]),
        ("systems", [{"search": "pc-0999"}, *none]),
        ("recipients", [{"search": "receiver 09"}, *none]),
        ("notifications", [{"search": "notification 01"}, *none]),
        ("sensors", [{"search": "cpu"}]),
        ("groups", []),
        ("schedules", []),
        ("silences", []),
    ]


def _short(value: str) -> str:
    return f"{value[:8]}…" if len(value) == 36 else value


def far_in(client: Getting, path: str) -> str:
    """The cursor of a page DEEP pages on, or of the last."""
    cursor = ""
    for _ in range(DEEP):
        found = json.loads(client.get(f"{path}?limit=500&cursor={cursor}"))["next"]
        if found is None:
            break
        cursor = found
    return cursor
