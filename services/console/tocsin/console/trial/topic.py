"""Readings that are still in Kafka, in the order in which they arrived."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import islice

import numpy as np
from confluent_kafka import KafkaException, TopicPartition

from tocsin.dispatcher.reading import ASK_TIMEOUT, PartitionKey, ends_of, read_until
from tocsin.evaluator.backtest.recording import Block, Recording, Tagged
from tocsin.evaluator.detector.batch import Batch
from tocsin.evaluator.detector.columns import Ints, Known
from tocsin.evaluator.detector.parsing import Parsed, Parser
from tocsin.evaluator.detector.settings import DetectorSettings
from tocsin.shared import kafka
from tocsin.shared.errors import BrokerError
from tocsin.shared.topics import SENSOR_READINGS

BATCH = 16_384


@dataclass
class FromTopic:
    """What has been read. `refused`: messages that are no readings, wholly or in part."""

    blocks: list[Block] = field(default_factory=list)
    arrived: list[Ints] = field(default_factory=list)  # of each reading, by the broker's clock
    refused: int = 0

    def recording(self) -> Recording:
        """Of equal arrivals, the lower partition comes first."""
        return Recording.by_arrival(self.blocks, np.concatenate([np.zeros(0, np.int64), *self.arrived]))


def read_topic(
    settings: DetectorSettings,
    since: int,
    known: Known,
    on_read: Callable[[int], None] = lambda count: None,
    most: int | None = None,
) -> FromTopic:
    """All readings that arrived at or after `since` (epoch ms), up to now; `most`: only the newest of each partition.

    They are checked as the detector checks them. `on_read` is told how many have been read. Raises BrokerError, or
    TopicError when there is no such topic.
    """
    partitions = kafka.check_topics(settings, [SENSOR_READINGS])[SENSOR_READINGS]
    places = [(settings.topic(SENSOR_READINGS), number) for number in range(partitions)]
    parser = Parser(partitions, settings.detector_clock_ahead)
    found = FromTopic()
    count = 0
    try:
        ends = ends_of(settings, places)
        starts = _starts(settings, places, since)
        if most is not None:
            starts = {place: max(start, ends[place][1] - most) for place, start in starts.items()}
        messages = read_until(settings, starts, {place: ends[place] for place in starts})
        while batch := list(islice(messages, BATCH)):
            block, arrived, refused = _block(parser.parse(Batch.of(batch, 0), known), known)
            found.blocks.append(block)
            found.arrived.append(arrived)
            found.refused += refused
            count += len(block)
            on_read(count)
    except KafkaException as error:
        raise BrokerError(f"the readings cannot be read: {error.args[0].str()}") from None
    return found


def _starts(settings: DetectorSettings, places: list[PartitionKey], since: int) -> Mapping[PartitionKey, int]:
    """Of the partitions in which something has arrived since."""
    asker = kafka.consumer(settings.kafka, "backtest")  # never joined
    try:
        answers = asker.offsets_for_times([TopicPartition(*place, since) for place in places], timeout=ASK_TIMEOUT)
    finally:
        asker.close()
    return {(answer.topic, answer.partition): answer.offset for answer in answers if answer.offset >= 0}


def _block(parsed: Parsed, known: Known) -> tuple[Block, Ints, int]:
    columns, slow = parsed.columns, parsed.slow
    plain = Block(columns.system, columns.metric, columns.instance, columns.value, columns.time)
    tags: dict[int, Tagged] = {
        row: (one.tags_at, one.reading.tags)
        for row, one in enumerate(slow)
        if one.tags_at is not None and one.reading.tags
    }
    readings = [one.reading for one in slow]
    other = Block(
        np.array([known.systems.add(one.system) for one in readings], np.int64),
        np.array([known.metrics.add(one.metric) for one in readings], np.int64),
        np.array([-1 if one.instance is None else known.instances.add(one.instance) for one in readings], np.int64),
        np.array([one.value for one in readings], np.float64),
        np.array([one.time for one in slow], np.int64),
        tags,
    )
    message = np.concatenate([columns.message, np.array([one.message for one in slow], np.int64)])
    order = np.argsort(message, kind="stable")
    arrived = parsed.batch.texts.arrived[message[order]]
    return Block.joined([plain, other]).reordered(order), arrived, len(parsed.rejected)
