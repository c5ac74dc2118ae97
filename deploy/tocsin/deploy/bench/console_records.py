"""What a large deployment has defined: the size of the world that a console is measured in."""

from __future__ import annotations

import random
import uuid
from dataclasses import dataclass, field
from decimal import Decimal
from functools import cached_property

from tocsin.shared.configuration.records import (
    Group,
    Notification,
    Recipient,
    Record,
    Schedule,
    Sensor,
    SensorUse,
    Silence,
    ThresholdSpec,
    Token,
    Webhook,
)
from tocsin.shared.tokens import token_hash

DAY_MS = 86_400_000
TOKEN = "tocsin_bench"  # noqa: S105  of a broker that is gone afterwards
METRICS = ("cpu.percent", "memory.percent", "disk.percent", "network.rate")
PER_EVENT = 10
"""Recipients of a notification."""


@dataclass(frozen=True)
class World:
    """Its size, and when it is."""

    systems: int
    recipients: int
    deliveries: int
    now: int
    random: random.Random = field(default_factory=lambda: random.Random(1))  # noqa: S311  the same every time

    @cached_property
    def receivers(self) -> list[Recipient]:
        return [
            Recipient(
                id=self.new_id(),
                name=f"Receiver {number:04d}",
                type="system",
                webhook=Webhook(url=f"https://hooks.example.com/{number}"),
            )
            for number in range(self.recipients)
        ]

    @cached_property
    def sensors(self) -> list[Sensor]:
        count = max(4, self.recipients // 10)
        return [
            Sensor.model_validate(
                {
                    "id": self.new_id(),
                    "name": f"{METRICS[number % 4]} above {90 + number // 4 / 10}",
                    "metric": METRICS[number % 4],
                    "trigger": f"> {90 + number // 4 / 10}",
                }
            )
            for number in range(count)
        ]

    @cached_property
    def groups(self) -> list[Group]:
        count = max(2, self.recipients // 20)
        return [Group(id=self.new_id(), name=f"Group {n:03d}", systems=(f"PC-{n:02d}*",)) for n in range(count)]

    @cached_property
    def notifications(self) -> list[Notification]:
        count = max(2, self.recipients // 5)
        return [
            Notification(
                id=self.new_id(),
                name=f"Notification {number:04d}",
                sensors=(SensorUse(sensor_id=self.sensors[number % len(self.sensors)].id),),
                group_id=self.groups[number % len(self.groups)].id if number else None,
                threshold=ThresholdSpec(value=Decimal(25), is_percent=True),
                recipient_ids=tuple(
                    self.receivers[(number * 5 + place) % self.recipients].id
                    for place in range(min(PER_EVENT, self.recipients))
                ),
            )
            for number in range(count)
        ]

    @cached_property
    def others(self) -> list[Record]:
        week = {"mon-fri": ["08:00-18:00"]}
        end = self.now + DAY_MS
        schedules = [
            Schedule.model_validate(
                {"id": self.new_id(), "name": f"Schedule {n:02d}", "time_zone": "Europe/Berlin", "slots": week}
            )
            for n in range(10)
        ]
        silences = [
            Silence.model_validate(
                {
                    "id": self.new_id(),
                    "name": f"Silence {n:02d}",
                    "matchers": [{"field": "notification", "pattern": f"Notification {n:03d}?"}],
                    "starts_at": self.now,
                    "until": end,
                }
            )
            for n in range(20)
        ]
        token = Token(id=self.new_id(), name="bench", scope="admin", token_hash=token_hash(TOKEN))
        return [*schedules, *silences, token]

    def new_id(self) -> str:
        return str(uuid.UUID(int=self.random.getrandbits(128), version=4))

    def system(self, number: int) -> str:
        return f"PC-{number:06d}"
