"""What several suites need: settings for a broker, records put straight into `configuration`, topics read back."""

from __future__ import annotations

import itertools
import time
import uuid
from collections.abc import Callable, Iterable
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

import psutil
from confluent_kafka import Message, Producer, TopicPartition

from tocsin.deploy.stack.ports import wait_until
from tocsin.shared import kafka
from tocsin.shared.configuration.codec import change_headers, encode_record
from tocsin.shared.configuration.records import Record
from tocsin.shared.settings import CommonSettings, KafkaSettings
from tocsin.shared.topic_admin import apply_topics
from tocsin.shared.topics import CONFIGURATION

S = TypeVar("S", bound=CommonSettings)
_changes = itertools.count(int(time.time() * 1000))
_written: list[int] = []


def settings_for(bootstrap_servers: str, state_dir: Path, kind: type[S] = CommonSettings, **given: Any) -> S:  # type: ignore[assignment]
    """Settings on topics of their own: a fresh prefix each time."""
    given.setdefault("topic_prefix", f"t{uuid.uuid4().hex[:8]}.")
    return kind.load({}, state_dir=state_dir, kafka=KafkaSettings({"bootstrap.servers": bootstrap_servers}), **given)


def with_topics(settings: S) -> S:
    """The same settings, the topics created."""
    apply_topics(settings)
    return settings


def newest_change() -> int:
    """The number of the last change that `put_records` wrote; 0 before the first."""
    return _written[-1] if _written else 0


def quick_producer(settings: CommonSettings) -> Producer:
    """In order, but not idempotent: asking the broker for an id takes half a second each time."""
    return kafka.producer(settings.kafka, enable_idempotence=False, max_in_flight=1)


def put_records(settings: CommonSettings, *records: Record, delete: Iterable[str] = ()) -> int:
    """Write one change to `configuration`, as the console would; returns its number. `delete` holds keys."""
    change = next(_changes)
    _written.append(change)
    headers = change_headers(change, len(records) + len(list(delete)))
    producer = quick_producer(settings)
    for record in records:
        key, value = encode_record(record.model_copy(update={"revision": change}))
        producer.produce(settings.topic(CONFIGURATION), key=key, value=value, headers=headers, partition=0)
    for gone in delete:
        producer.produce(settings.topic(CONFIGURATION), key=gone.encode(), value=None, headers=headers, partition=0)
    assert producer.flush(60) == 0
    return change


def produce(producer: Producer, topic: str, values: Iterable[tuple[bytes | None, bytes | None]]) -> None:
    """Keyed values, acknowledged before this returns."""
    for key, value in values:
        producer.produce(topic, key=key, value=value)
        producer.poll(0)
    assert producer.flush(30) == 0


def read_all(settings: CommonSettings, topic: str, isolation: str = "read_committed") -> list[Message]:
    """Every record that is there now, partition by partition."""
    consumer = kafka.consumer(
        settings.kafka,
        f"test-{uuid.uuid4()}",
        isolation_level=isolation,
        enable_partition_eof=True,
        fetch_wait_max_ms=10,  # a fetch that waits for more never shows the end of a topic that is being written
    )
    name = settings.topic(topic)
    partitions = consumer.list_topics(name, 10).topics[name].partitions
    consumer.assign([TopicPartition(name, partition, 0) for partition in partitions])
    found: list[Message] = []
    ended: set[int | None] = set()
    until = time.monotonic() + 60
    while len(ended) < len(partitions):
        assert time.monotonic() < until, f"{name} could not be read to its end"
        for message in consumer.consume(1000, 0.02):  # it waits for all thousand, or so long
            if message.error() is None:
                found.append(message)
            else:
                ended.add(message.partition())
    consumer.close()
    return found


def eventually(check: Callable[[], Any], within: float = 30.0, every: float = 0.1) -> Any:
    """The first truthy answer. Fails with the last one when the time runs out."""
    until = time.monotonic() + within
    while True:
        answer = check()
        if answer:
            return answer
        assert time.monotonic() < until, f"not within {within} s; last answer: {answer!r}"
        time.sleep(every)


def becomes_true(condition: Callable[[], bool], within: float = 20.0) -> bool:
    """Whether it comes true in so many seconds."""
    return wait_until(condition, timedelta(seconds=within))


def is_running(pid: int) -> bool:
    """A process that only waits to be collected is not."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
