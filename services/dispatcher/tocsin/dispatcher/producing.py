"""Putting records into a producer, however full its queue is."""

from __future__ import annotations

from confluent_kafka import Producer

from tocsin.dispatcher.stages.steps import Out
from tocsin.shared.settings import CommonSettings


def produce(producer: Producer, settings: CommonSettings, out: Out) -> None:
    """Waits while the producer's queue is full. Raises KafkaException when the record can never be sent."""
    while True:
        try:
            producer.produce(settings.topic(out.topic), out.value, out.key, out.partition, headers=out.headers)
        except BufferError:
            producer.poll(0.1)  # let some go out
        else:
            return
