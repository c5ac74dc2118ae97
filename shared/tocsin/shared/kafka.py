"""Clients for the broker, set as the guarantees need them, and the checks at start."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer
from confluent_kafka.admin import AdminClient, ConfigResource, ResourceType

from tocsin.shared.errors import BrokerError, SettingsError, TopicError
from tocsin.shared.partitioning import PARTITIONER
from tocsin.shared.settings import CommonSettings, KafkaSettings
from tocsin.shared.telemetry.repeats import RepeatFilter
from tocsin.shared.topics import MAX_RECORD_BYTES, Topic

SESSION_TIMEOUT_MS = 10_000
"""Of groups and of transactions: how long a dead process holds up its successor."""

ASK_AGAIN_MS = 500
"""The longest pause of an admin client between two connections: what waits for a broker shall notice it soon."""

RETRY_BACKOFF_MS = 10
"""Of transactions: one begun right after another is refused while the broker still ends that one, a matter of
milliseconds. The client's own 100 would be most of what a transaction takes."""

NOTICED_SOON = {
    # The client waits a minute for an answer on a connection whose other end has gone without a word.
    "socket.timeout.ms": 20_000,
    # It asks every five minutes what topics there are: so long would a group do without one that could not be seen.
    "topic.metadata.refresh.interval.ms": 15_000,
}
"""Of consumers. A transactional producer's own timeouts follow from its transaction's."""

_log = logging.getLogger("librdkafka")

# The client marks errors as retriable in its transactional calls only.
_NO_LEADER_YET = frozenset(
    {
        KafkaError.LEADER_NOT_AVAILABLE,
        KafkaError.NOT_LEADER_FOR_PARTITION,
        KafkaError.UNKNOWN_TOPIC_OR_PART,
        # The same of a group's coordinator.
        KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
        KafkaError.COORDINATOR_NOT_AVAILABLE,
        KafkaError.NOT_COORDINATOR,
    }
)
_SETTING = {
    "deliveries": "PARTITIONS_DELIVERIES",
    "router": "PARTITIONS_DEFAULT",
    "activator": "PARTITIONS_DEFAULT",
}
"""Which setting a group's partition count comes from."""

_REFUSALS = frozenset({KafkaError._AUTHENTICATION, KafkaError._SSL})  # noqa: SLF001 - librdkafka's own codes are named so
_log.addFilter(RepeatFilter())  # it reports every failed connection, several a second while a broker is away


def client_config(kafka: KafkaSettings, **settings: Any) -> dict[str, Any]:
    """Given properties first, ours over them: what a guarantee rests on cannot be set away."""
    ours = {name if name.endswith("_cb") else name.replace("_", "."): value for name, value in settings.items()}
    return {"log_level": 4, "logger": _log, **kafka.properties, **ours}


def consumer(kafka: KafkaSettings, group: str, **settings: Any) -> Consumer:
    """Reads committed records only, and commits only when told to."""
    defaults: dict[str, Any] = {
        "group_id": group,
        "enable_auto_commit": False,
        "enable_auto_offset_store": False,
        "auto_offset_reset": "earliest",
        "isolation_level": "read_committed",
        "session_timeout_ms": SESSION_TIMEOUT_MS,
        "heartbeat_interval_ms": 2_000,
        "fetch_message_max_bytes": MAX_RECORD_BYTES,
    }
    defaults |= {name: value for name, value in NOTICED_SOON.items() if name not in kafka.properties}
    return Consumer(client_config(kafka, **{**defaults, **settings}))


def arrived(consumer: Consumer, most: int, timeout: float) -> list[Message]:
    """At most so many messages; waits for the first only. `Consumer.consume` would wait until it has them all."""
    first = consumer.poll(timeout)
    return [] if first is None else [first, *consumer.consume(most - 1, 0)]


def producer(kafka: KafkaSettings, **settings: Any) -> Producer:
    """Idempotent, acks=all, keys where every other producer puts them."""
    defaults = {
        "enable_idempotence": True,
        "acks": "all",
        "partitioner": PARTITIONER,
        "compression_type": "lz4",
        "linger_ms": 5,
        "message_max_bytes": MAX_RECORD_BYTES,
    }
    return Producer(client_config(kafka, **{**defaults, **settings}))


def transactional_producer(kafka: KafkaSettings, transactional_id: str, **settings: Any) -> Producer:
    """As `producer`, with a transactional id: the process's own lasting name. Not yet initialised."""
    defaults = {
        "transactional_id": transactional_id,
        "transaction_timeout_ms": SESSION_TIMEOUT_MS,
        "retry_backoff_ms": RETRY_BACKOFF_MS,
    }
    return producer(kafka, **{**defaults, **settings})


class Admin(AdminClient):
    """Remembers why the broker cannot be reached: a call that runs out of time says only that it did."""

    def __init__(self, kafka: KafkaSettings) -> None:
        self.refusal: str | None = None
        self.servers = kafka.bootstrap_servers
        super().__init__(client_config(kafka, error_cb=self._remember, reconnect_backoff_max_ms=ASK_AGAIN_MS))

    def _remember(self, error: KafkaError) -> None:
        if error.code() in _REFUSALS:
            self.refusal = error.str()


def admin(kafka: KafkaSettings) -> Admin:
    """Raises SettingsError for a property the client does not know: what every process meets first."""
    try:
        return Admin(kafka)
    except KafkaException as error:
        raise SettingsError(f"TOCSIN_KAFKA__…: the Kafka client refuses a setting: {error.args[0].str()}") from None


def is_retriable(error: KafkaError) -> bool:
    """Whether the same call may go through later."""
    return (bool(error.retriable()) or error.code() in _NO_LEADER_YET) and not error.fatal()


def existing_partitions(client: AdminClient, timeout: float = 10.0) -> dict[str, int]:
    """Partition counts of all topics there are. Raises BrokerError when the broker does not answer."""
    try:
        metadata = client.list_topics(timeout=timeout)
    except KafkaException as error:
        client.poll(0)  # what it has to say about its connections
        if isinstance(client, Admin) and client.refusal is not None:
            raise BrokerError(f"the broker refuses us: {client.refusal}; see TOCSIN_KAFKA__…") from None
        where = f" at {client.servers}" if isinstance(client, Admin) else ""
        way_out = "start it, or name another in KAFKA_BOOTSTRAP_SERVERS"
        raise BrokerError(f"the broker{where} does not answer: {way_out} ({error.args[0].str()})") from None
    return {name: len(topic.partitions) for name, topic in metadata.topics.items() if topic.error is None}


def describe_configs(client: AdminClient, names: Iterable[str]) -> dict[str, dict[str, str]]:
    """Settings of topics. Raises BrokerError."""
    resources = [ConfigResource(ResourceType.TOPIC, name) for name in names]
    if not resources:
        return {}
    found: dict[str, dict[str, str]] = {}
    for resource, future in client.describe_configs(resources, request_timeout=10).items():
        try:
            found[resource.name] = {name: entry.value for name, entry in future.result().items()}
        except KafkaException as error:
            raise BrokerError(f"cannot read the settings of {resource.name}: {error.args[0].str()}") from None
    return found


def check_topics(settings: CommonSettings, names: Iterable[str], client: AdminClient | None = None) -> dict[str, int]:
    """Partition counts of these topics (unprefixed names). Raises TopicError naming each problem and its fix."""
    wanted = set(names)
    topics = [topic for topic in settings.topics() if topic.name in wanted]
    problems, partitions = topic_problems(settings, topics, client or admin(settings.kafka))
    if problems:
        raise TopicError("\n".join(problems))
    return {topic.name: partitions[settings.topic(topic.name)] for topic in topics}


def check_topics_when_there(
    settings: CommonSettings, names: Iterable[str], stopping: threading.Event
) -> dict[str, int] | None:
    """As `check_topics`, once a broker answers, however long that takes; None when told to stop before.

    Raises TopicError, and BrokerError when the broker refuses us: no waiting helps against these.
    """
    client = admin(settings.kafka)
    while not stopping.is_set():
        try:
            existing_partitions(client, ASK_AGAIN_MS / 1000)
        except BrokerError:
            if client.refusal is not None:
                raise
            continue
        return check_topics(settings, names, client)
    return None


def _way_out(topic: Topic, name: str, count: int) -> str:
    if topic.group == "readings":
        return f"stop all detectors, then run: tocsin topics grow --to {count} --start-over"
    return (
        f"stop the services, delete topic {name}, then run: TOCSIN_{_SETTING[topic.group]}={count} tocsin topics apply"
    )


def topic_problems(
    settings: CommonSettings, topics: Iterable[Topic], client: AdminClient
) -> tuple[list[str], dict[str, int]]:
    """What is wrong with these topics on the broker, a line each with the fix; and all partition counts there."""
    topics = list(topics)
    existing = existing_partitions(client)
    there = [settings.topic(topic.name) for topic in topics if settings.topic(topic.name) in existing]
    configs = describe_configs(client, there)
    problems: list[str] = []
    counts: dict[str, tuple[str, int]] = {}
    for topic in topics:
        name = settings.topic(topic.name)
        if name not in existing:
            problems.append(f"topic {name} does not exist; run: tocsin topics apply")
            continue
        policy = ",".join(sorted((configs[name].get("cleanup.policy") or "").split(",")))
        if policy != topic.cleanup:
            problems.append(
                f"topic {name} has cleanup.policy={policy} but needs {topic.cleanup}; run: tocsin topics apply"
            )
        timestamps = topic.extra.get("message.timestamp.type")
        if timestamps and configs[name].get("message.timestamp.type") != timestamps:
            problems.append(f"topic {name} needs message.timestamp.type={timestamps}; run: tocsin topics apply")
        if topic.group == "one" and existing[name] != 1:
            problems.append(f"topic {name} has {existing[name]} partitions but must have 1; delete and create it anew")
        if topic.group in ("readings", "deliveries", "router", "activator"):
            first, count = counts.setdefault(topic.group, (name, existing[name]))
            if existing[name] != count:
                problems.append(
                    f"topic {name} has {existing[name]} partitions but {first} has {count}; both need the same: "
                    + _way_out(topic, name, count)
                )
    return problems, existing
