"""`notification-tallies`: absolute counts of one input partition, and the ticks that let time pass."""

from __future__ import annotations

from typing import Literal

from tocsin.shared.schemas.base import Time, Wire

MAX_SYSTEMS_LISTED = 100


class Tally(Wire):
    """How many systems of one input partition match one notification, out of how many reporting.

    (epoch, counter) is the version: the epoch is raised at each assignment of the partition, the counter at each
    tally. One that is not newer than what is known of its partition, or not of the current revision, changes nothing.
    """

    schema_version: Literal[1] = 1
    kind: Literal["tally"] = "tally"
    notification_id: str
    revision: str  # of the notification's rule
    partition: int  # of sensor-readings
    partitions: int  # how many there are
    epoch: int
    counter: int
    matched: int
    reporting: int
    systems: tuple[str, ...] = ()  # up to 100 of the matched ones
    total: int = 0
    truncated: bool = False
    time: Time  # "now" of the input partition, event time
    sent_at: Time  # wall clock of the detector


class Tick(Wire):
    """Time has passed: sent each second by the activator into each tally partition it owns."""

    schema_version: Literal[1] = 1
    kind: Literal["tick"] = "tick"
    time: Time
