"""`notification-systems`: the systems that match a notification now."""

from __future__ import annotations

from typing import Literal

from tocsin.shared.schemas.base import Time, Wire

UNTIL_HEADER = "until"
"""Of a tombstone: "now" of the partition when it was noticed that the system no longer matches, epoch ms."""


class MatchedSystem(Wire):
    """This system matches this notification; a tombstone of the key says that it no longer does."""

    schema_version: Literal[1] = 1
    notification_id: str
    system: str
    partition: int  # of sensor-readings: whose detector wrote it
    since: Time  # "now" of that partition when it was noticed: at most about a second late


def system_key(notification_id: str, system: str) -> bytes:
    """Ids hold no slash, so the first one parts the two."""
    return f"{notification_id}/{system}".encode()
