"""Readings that are still in Kafka, in the order in which they arrived."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from itertools import islice

import numpy as np
from confluent_kafka import Consumer, KafkaException, Message, TopicPartition

from tocsin.dispatcher.reading import ASK_TIMEOUT, PartitionKey, ends_of, read_with, reader_of
from tocsin.evaluator.backtest.recording import Block, Recording, Tagged
from tocsin.evaluator.detector.batch import Batch
from tocsin.evaluator.detector.columns import Ints, Known
from tocsin.evaluator.detector.parsing import Parsed, Parser
from tocsin.evaluator.detector.settings import DetectorSettings
from tocsin.shared import kafka
from tocsin.shared.clock import SystemClock
from tocsin.shared.errors import BrokerError
from tocsin.shared.topics import SENSOR_READINGS

BATCH = 16_384
LARGEST_STEP = 8 * BATCH
"""Between two of which a run may be stopped; the first is one batch, each other one twice the one before."""

FETCHED_BYTES = 512 << 10
"""Of each partition at once: what a step leaves over is fetched again for the next."""

_CLOSE_ENOUGH_MS = 1_000
"""How near to the earliest time from which on no more than so many readings arrived a search has to come."""

Ends = Mapping[PartitionKey, tuple[int, int]]


@dataclass(frozen=True, slots=True)
class Portion:
    """How much to read."""

    each: int | None = None  # only so many messages of each partition, the newest
    total: int | None = None  # no more messages than this: begin later, in all partitions at the same time
    stopping: Callable[[], bool] | None = None  # asked between steps: whether the time is up


@dataclass
class FromTopic:
    """What has been read. `refused`: messages that are no readings, wholly or in part."""

    since: int = 0  # epoch ms: what arrived earlier was not asked for, or was left out
    until: int | None = None  # reading was stopped: what arrived later is not all there
    blocks: list[Block] = field(default_factory=list)
    arrived: list[Ints] = field(default_factory=list)  # of each reading, by the broker's clock
    refused: int = 0
    count: int = 0

    def add(self, block: Block, arrived: Ints, refused: int) -> None:
        self.blocks.append(block)
        self.arrived.append(arrived)
        self.refused += refused
        self.count += len(block)

    def recording(self) -> Recording:
        """Of equal arrivals, the lower partition comes first."""
        return Recording.by_arrival(self.blocks, np.concatenate([np.zeros(0, np.int64), *self.arrived]), self.until)


def read_topic(
    settings: DetectorSettings,
    since: int,
    known: Known,
    on_read: Callable[[int], None] = lambda count: None,
    portion: Portion = Portion(),
) -> FromTopic:
    """Readings that arrived at or after `since` (epoch ms), up to now.

    They are checked as the detector checks them. `on_read` is told how many have been read. Raises BrokerError, or
    TopicError when there is no such topic.
    """
    partitions = kafka.check_topics(settings, [SENSOR_READINGS])[SENSOR_READINGS]
    places = [(settings.topic(SENSOR_READINGS), number) for number in range(partitions)]
    parser = Parser(partitions, settings.detector_clock_ahead)
    found = FromTopic()
    try:
        ends = ends_of(settings, places)
        found.since, starts = _starts(settings, ends, since, portion)
        reached = _Reached(found.since, {place[1]: ends[place][1] for place in starts})
        with closing(reader_of(settings, fetch_message_max_bytes=FETCHED_BYTES)) as reader:
            for number, step in enumerate(_steps(starts, ends, portion)):
                if number and portion.stopping is not None and portion.stopping():
                    found.until = reached.by_all()
                    break
                messages = _messages(reader, step)
                while batch := list(islice(messages, BATCH)):
                    reached.note(batch)
                    found.add(*_block(parser.parse(Batch.of(batch, 0), known), known))
                    on_read(found.count)
    except KafkaException as error:
        raise BrokerError(f"the readings cannot be read: {error.args[0].str()}") from None
    return found


def _steps(starts: Mapping[PartitionKey, int], ends: Ends, portion: Portion) -> Iterator[Ends]:
    """Where to read from and to, a step at a time: in each, every partition comes equally far in what it holds.

    The client brings one partition's messages before it brings another's. What has been read of some and not of others
    cannot be judged, so whoever stops in the middle would be left with nothing.
    """
    total = _size(starts, ends)
    size = total if portion.stopping is None else BATCH
    done, before = 0, dict(starts)
    while done < total:
        done, size = min(total, done + size), min(2 * size, LARGEST_STEP)
        # Rounded up: the last step ends with the last message.
        after = {place: start - (start - ends[place][1]) * done // total for place, start in starts.items()}
        yield {place: (before[place], after[place]) for place in starts}
        before = after


def _messages(reader: Consumer, step: Ends) -> Iterator[Message]:
    """Those of a step; what the client has brought from beyond it belongs to the next one."""
    for message in read_with(reader, {place: start for place, (start, _) in step.items()}, step):
        if (message.offset() or 0) < step[message.topic() or "", message.partition() or 0][1]:
            yield message


class _Reached:
    """Up to when everything that arrived has been read, by partition."""

    def __init__(self, since: int, ends: Mapping[int, int]) -> None:
        self._ends = ends
        self._arrived = dict.fromkeys(ends, since)

    def note(self, messages: Sequence[Message]) -> None:
        for message in {message.partition(): message for message in messages}.values():  # the last of each
            partition, offset = message.partition() or 0, message.offset() or 0
            self._arrived[partition] = message.timestamp()[1]
            if offset + 1 >= self._ends[partition]:
                del self._arrived[partition]

    def by_all(self) -> int | None:
        """None: to the end."""
        return min(self._arrived.values(), default=None)


def _starts(
    settings: DetectorSettings, ends: Ends, since: int, portion: Portion
) -> tuple[int, Mapping[PartitionKey, int]]:
    """The time to begin with, and offsets of the partitions in which something has arrived since."""
    asker = kafka.consumer(settings.kafka, "backtest")  # never joined
    try:
        starts = _starts_at(asker, ends, since)
        if portion.total is not None and _size(starts, ends) > portion.total:
            since, starts = _later(asker, ends, since, portion.total)
    finally:
        asker.close()
    if portion.each is not None:
        starts = {place: max(start, ends[place][1] - portion.each) for place, start in starts.items()}
    return since, starts


def _starts_at(asker: Consumer, ends: Ends, since: int) -> Mapping[PartitionKey, int]:
    answers = asker.offsets_for_times([TopicPartition(*place, since) for place in ends], timeout=ASK_TIMEOUT)
    return {(answer.topic, answer.partition): answer.offset for answer in answers if answer.offset >= 0}


def _later(asker: Consumer, ends: Ends, since: int, total: int) -> tuple[int, Mapping[PartitionKey, int]]:
    """The earliest time after which no more than `total` messages arrived, nearly, by bisection."""
    early, late = since, SystemClock().now_ms() + 1
    best: Mapping[PartitionKey, int] = {}
    while late - early > _CLOSE_ENOUGH_MS:
        middle = (early + late) // 2
        starts = _starts_at(asker, ends, middle)
        if _size(starts, ends) > total:
            early = middle
        else:
            late, best = middle, starts
    return late, best


def _size(starts: Mapping[PartitionKey, int], ends: Ends) -> int:
    return sum(max(0, ends[place][1] - start) for place, start in starts.items())


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
