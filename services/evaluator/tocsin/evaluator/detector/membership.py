"""Who has a detector's place in the group: asked of the broker when the client says that it is not us."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from typing import Protocol

from confluent_kafka import KafkaException

from tocsin.evaluator.detector.settings import DetectorSettings
from tocsin.shared import kafka
from tocsin.shared.telemetry.logs import logger

ASKED_WITHIN = 10.0
RETRY_AFTER = 1.0

log = logger(__name__)


class Member(Protocol):
    """As the client describes one."""

    @property
    def member_id(self) -> str: ...

    @property
    def group_instance_id(self) -> str | None: ...


def taken(members: Iterable[Member], instance: str, ours: str | None) -> bool:
    """Whether the member of this name is another than the one we were."""
    return any(one.group_instance_id == instance and one.member_id != ours for one in members)


def is_taken(settings: DetectorSettings, ours: str | None, stopping: threading.Event) -> bool:
    """As soon as the broker says so; False when told to stop before."""
    client = kafka.admin(settings.kafka)
    while not stopping.is_set():
        try:
            asked = client.describe_consumer_groups([settings.group], request_timeout=ASKED_WITHIN)
            return taken(asked[settings.group].result().members, settings.instance, ours)
        except KafkaException as error:
            log.warning("it is not known yet who has our place in the group", why=str(error))
            stopping.wait(RETRY_AFTER)
    return False
