"""Bringing the topics on the broker to what the table says."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from dataclasses import dataclass

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, NewTopic, ResourceType

from tocsin.shared import kafka
from tocsin.shared.errors import BrokerError
from tocsin.shared.settings import CommonSettings
from tocsin.shared.topics import Topic


@dataclass(frozen=True, slots=True)
class TopicsApplied:
    """Names on the broker."""

    created: tuple[str, ...]
    changed: tuple[str, ...]  # settings that differed
    unchanged: int


def apply_topics(settings: CommonSettings, client: AdminClient | None = None, timeout: float = 60.0) -> TopicsApplied:
    """Create what is missing, and set what differs; never deletes, never changes a partition count.

    Raises BrokerError naming the topic and the broker's answer.
    """
    client = client or kafka.admin(settings.kafka)
    topics = settings.topics()
    existing = kafka.existing_partitions(client)
    missing = [topic for topic in topics if settings.topic(topic.name) not in existing]
    _create(settings, client, missing)
    changed = _alter(settings, client, [topic for topic in topics if topic not in missing])
    _wait_until_listed(settings, client, missing, timeout)
    created = tuple(settings.topic(topic.name) for topic in missing)
    return TopicsApplied(created, changed, len(topics) - len(created) - len(changed))


def _create(settings: CommonSettings, client: AdminClient, topics: Iterable[Topic]) -> None:
    partitions = settings.partitions()
    new = [
        NewTopic(
            settings.topic(topic.name),
            num_partitions=partitions.of(topic),
            replication_factor=settings.replication_factor,
            config=topic.config(),
        )
        for topic in topics
    ]
    if new:
        settle("create", client.create_topics(new, request_timeout=30).items(), KafkaError.TOPIC_ALREADY_EXISTS)


def _alter(settings: CommonSettings, client: AdminClient, topics: Iterable[Topic]) -> tuple[str, ...]:
    wanted = {settings.topic(topic.name): topic.config() for topic in topics}
    present = kafka.describe_configs(client, wanted)
    resources = []
    for name, config in wanted.items():
        different = {key: value for key, value in config.items() if present[name].get(key) != value}
        if different:
            entries = [
                ConfigEntry(key, value, incremental_operation=AlterConfigOpType.SET) for key, value in different.items()
            ]
            resources.append(ConfigResource(ResourceType.TOPIC, name, incremental_configs=entries))
    if resources:
        answers = client.incremental_alter_configs(resources, request_timeout=30)
        settle("change", [(resource.name, future) for resource, future in answers.items()])
    return tuple(resource.name for resource in resources)


def settle(verb: str, answers: Iterable[tuple[str, Future[None]]], *fine: int) -> None:
    """Wait for the broker's answers. Raises BrokerError naming the topic."""
    for name, future in answers:
        try:
            future.result()
        except KafkaException as error:
            if error.args[0].code() not in fine:
                raise BrokerError(f"cannot {verb} topic {name}: {error.args[0].str()}") from None


def _wait_until_listed(
    settings: CommonSettings,
    client: AdminClient,
    topics: Iterable[Topic],
    timeout: float,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    # A topic just created may be unknown to the next metadata request for a moment.
    names = {settings.topic(topic.name) for topic in topics}
    until = time.monotonic() + timeout
    while missing := names - set(kafka.existing_partitions(client)):
        if time.monotonic() > until:
            raise BrokerError(f"topics created but not listed after {timeout:.0f} s: {', '.join(sorted(missing))}")
        sleep(0.1)
