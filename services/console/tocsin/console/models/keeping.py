"""What the read models keep, and for how long: as long as the topics that they are made from.

Without it, a console that runs for months would show what a restarted one has never seen, in a file that only grows.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from tocsin.console.models.database import Database
from tocsin.shared import kafka
from tocsin.shared.settings import CommonSettings
from tocsin.shared.topics import (
    ACTIVATIONS,
    CONFIGURATION_AUDIT,
    DAY,
    DELIVERY_AUDIT,
    DELIVERY_DEAD_LETTER,
    NOTIFICATION_EVENTS,
    NOTIFICATION_SYSTEMS,
    SENSOR_CHANGES,
)

AT_ONCE = 2_000
"""Rows of one transaction: the next batch of what comes in does not wait long."""

MATCHES_MS = 7 * DAY
"""Of systems that match no longer: whoever looks back in an activation finds them so long."""

_OLD = "SELECT rowid FROM deliveries INDEXED BY deliveries_by_time WHERE routed_at < ? ORDER BY routed_at LIMIT ?"
_KEYS = {
    "activations": ("id", "activated_at"),
    "events": ("id", "time"),
    "changes": ("id", "time"),
    "letters": ("delivery_id, replay", "time"),
    "states": ("sensor_id, system, instance", "time"),
    "matched": ("notification_id, system, place", "until"),
}


def _oldest_of(table: str) -> str:
    key, time = _KEYS[table]
    oldest = f"SELECT {key} FROM {table} WHERE {time} < ? ORDER BY {time} LIMIT ?"  # noqa: S608  names of ours
    return f"DELETE FROM {table} WHERE ({key}) IN ({oldest})"  # noqa: S608


STATEMENTS: Mapping[str, tuple[str, ...]] = {
    DELIVERY_AUDIT: (
        f"DELETE FROM steps WHERE delivery IN ({_OLD})",  # noqa: S608
        f"DELETE FROM deliveries WHERE rowid IN ({_OLD})",  # noqa: S608
    ),
    ACTIVATIONS: (_oldest_of("activations"),),
    NOTIFICATION_EVENTS: (_oldest_of("events"),),
    CONFIGURATION_AUDIT: (_oldest_of("changes"),),
    DELIVERY_DEAD_LETTER: (_oldest_of("letters"),),
    SENSOR_CHANGES: (_oldest_of("states"),),
    NOTIFICATION_SYSTEMS: (_oldest_of("matched"),),
}
"""The oldest rows made from each topic."""


def retentions(settings: CommonSettings) -> dict[str, int]:
    """How long each topic keeps what it has (ms), as the broker has it set; without those that keep it for ever."""
    names = {settings.topic(name): name for name in STATEMENTS}
    found = kafka.describe_configs(kafka.admin(settings.kafka), names)
    kept = {names[topic]: int(configured.get("retention.ms") or -1) for topic, configured in found.items()}
    return {**{name: lasts for name, lasts in kept.items() if lasts > 0}, NOTIFICATION_SYSTEMS: MATCHES_MS}


def forget(database: Database, kept: Mapping[str, int], now: int) -> Iterator[int]:
    """Rows deleted, transaction by transaction; other writes may go between two."""
    for topic, lasts in kept.items():
        while True:
            count = database.delete(STATEMENTS[topic], (now - lasts, AT_ONCE))
            if count:
                yield count
            if count < AT_ONCE:
                break
