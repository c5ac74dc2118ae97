"""Writes settlements: audit, retries, dead letters and offsets of one batch in one transaction, on a thread of its own.

After any failure:
1. The producer is thrown away and a new one initialised under the same transactional id, which ends what the old one
   left open, one way or the other.
2. The group's committed offsets and their metadata are read: they say of each settlement of the batch whether it was
   committed after all.
3. Those that were are done; the others are written again. So no result is lost and none is written twice.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition

from tocsin.dispatcher.fence import Fence
from tocsin.dispatcher.handover import Handover
from tocsin.dispatcher.partitions import Partition, PartitionKey, Partitions
from tocsin.dispatcher.producing import produce
from tocsin.dispatcher.settings import DispatcherSettings
from tocsin.dispatcher.stages.steps import Settled
from tocsin.shared import kafka
from tocsin.shared.bounded import BoundedCalls
from tocsin.shared.telemetry import metrics
from tocsin.shared.telemetry.logs import logger

log = logger(__name__)

CALL_TIMEOUT = 15.0
"""Longer than a transaction may last, so that the broker answers first."""

OVERRUN = CALL_TIMEOUT + 5.0
"""After this a call that ignores its own timeout is given up."""

OFFSETS_WITHIN = kafka.SESSION_TIMEOUT_MS / 1000
"""By then the broker has ended the transaction: what comes later is worth nothing. This is the call that gets stuck."""

PAUSE_AFTER_FAILURE = 0.25

MOST_AT_ONCE, MOST_BYTES = 1_000, 16 << 20
"""Settlements in one transaction, however many have come: it has to be over within its ten seconds."""


@dataclass(frozen=True, slots=True)
class _Flush:
    """Everything put before this is to be settled now."""

    done: threading.Event


class _Stop:
    """Nothing comes after this."""


class Settler:
    """`put` and `flush` are for other threads."""

    def __init__(
        self,
        settings: DispatcherSettings,
        partitions: Partitions,
        fence: Fence,
        on_durable: Callable[[Sequence[Settled]], None],
        at: Callable[[str], None],
    ) -> None:
        self._settings = settings
        self._partitions = partitions
        self._fence = fence
        self._on_durable = on_durable
        self._at = at
        self._inbox: Handover[Settled | _Flush | _Stop] = Handover()
        self._producer: Producer | None = None
        self._group_metadata: Any = None
        self._calls = BoundedCalls("transaction")
        self._giving_up = threading.Event()
        self._joined = threading.Event()
        self._broken = threading.Event()
        self._thread = threading.Thread(target=self._run, name="settler", daemon=True)

    def start(self, stopping: Callable[[], bool]) -> bool:
        """Ends what a predecessor of the same name left open; waits for the broker until `stopping`."""
        if not self._renew_producer("start", stopping):
            return False
        self._thread.start()
        return True

    def put(self, settled: Settled) -> None:
        self._inbox.put(settled)

    def joined(self, group_metadata: Any) -> None:
        """The consumer's membership, taken in its own thread after each assignment."""
        self._group_metadata = group_metadata
        self._joined.set()

    def flush(self, timeout: float) -> bool:
        """Whether everything put before is durable within this time."""
        barrier = _Flush(threading.Event())
        self._inbox.put_urgent(barrier)
        return barrier.done.wait(timeout)

    def close(self, timeout: float) -> None:
        self._inbox.put_urgent(_Stop())
        if self._thread.is_alive():
            self._thread.join(timeout)
        self._giving_up.set()

    @property
    def broken(self) -> bool:
        """Nothing is settled any more: the process has to start anew."""
        return self._broken.is_set()

    def _run(self) -> None:
        while not self.broken:
            batch, end = self._collect()
            try:
                self._settle(batch)
            except Exception:
                # Going on would commit past results that are not written. They are read again by whoever comes next.
                log.exception("settling failed in a way it should not")
                self._broken.set()
            if isinstance(end, _Flush):
                end.done.set()
            elif isinstance(end, _Stop):
                return

    def _collect(self) -> tuple[list[Settled], _Flush | _Stop | None]:
        """Whatever comes within the batch's time from its first, or until it is full or has to be written.

        What has come meanwhile is taken beyond that: it makes fewer transactions.
        """
        self._inbox.wait(1)
        self._inbox.wait(self._settings.settle_batch, self._settings.settle_every / 1000)
        batch: list[Settled] = []
        size = 0
        while len(batch) < MOST_AT_ONCE and size < MOST_BYTES and (item := self._inbox.take()) is not None:
            if not isinstance(item, Settled):
                return batch, item
            batch.append(item)
            size += sum([len(out.value or b"") for out in item.records])
        return batch, None

    def _settle(self, batch: list[Settled]) -> None:
        # What is parked is read beside the consumer, and may have ended before the first assignment is through.
        while batch and not self._joined.wait(0.05):
            if self._giving_up.is_set():
                return
        batch = [one for one in batch if self._partitions.settle(one.partition, one.offset)]
        if not batch:
            return
        while batch:
            self._fence.waiting()
            # Before the look at who is active: if partitions leave from here on, this membership is refused.
            membership = self._group_metadata
            batch = [one for one in batch if one.partition.active]
            failed = self._try(batch, membership) if batch else None
            if failed is None:
                break
            metrics.TRANSACTIONS_FAILED.labels(failed).inc()
            if not self._renew_producer(failed):
                return
            went_through = self._committed_after_all(batch)
            self._durable([one for one in batch if went_through[one.partition.key](one.offset)])
            batch = [one for one in batch if not went_through[one.partition.key](one.offset)]
        # Written, or nobody's business here any more: either way nothing waits for the broker now.
        self._fence.confirmed()
        self._durable(batch)

    def _durable(self, settled: Sequence[Settled]) -> None:
        for kind, count in Counter(one.terminal for one in settled if one.terminal).items():
            metrics.DELIVERIES_SETTLED.labels(kind).inc(count)
        self._on_durable(settled)

    def _try(self, batch: Sequence[Settled], membership: Any) -> str | None:
        """One transaction. The step that failed, or None."""
        producer = self._producer
        assert producer is not None
        step = "begin"
        try:
            producer.begin_transaction()
            step = "produce"
            for one in batch:
                for out in one.records:
                    produce(producer, self._settings, out)
            step = "offsets"
            offsets = self._offsets(batch)
            send = partial(producer.send_offsets_to_transaction, offsets, membership, CALL_TIMEOUT)
            self._calls(step, send, OFFSETS_WITHIN)
            self._at("before_commit")
            step = "commit"
            self._calls(step, lambda: producer.commit_transaction(CALL_TIMEOUT), OVERRUN)
            self._at("committed")
        except KafkaException as error:
            log.warning("a transaction failed and begins anew", step=step, error=str(error))
            return step
        return None

    def _offsets(self, batch: Sequence[Settled]) -> list[TopicPartition]:
        touched: dict[PartitionKey, Partition] = {one.partition.key: one.partition for one in batch}
        commits = self._partitions.commits(touched.values())
        return [
            TopicPartition(topic, number, offset, metadata) for (topic, number), (offset, metadata) in commits.items()
        ]

    def _renew_producer(self, why: str, stopping: Callable[[], bool] | None = None) -> bool:
        """A new producer under the same id; tries until the broker is back. False when the process is to end."""
        stopping = stopping or self._giving_up.is_set
        self._producer = None
        name = f"{self._settings.dispatcher_group}-{self._settings.instance}"
        while not stopping():
            producer = kafka.transactional_producer(self._settings.kafka, name)
            try:
                self._calls("init", partial(producer.init_transactions, CALL_TIMEOUT), OVERRUN)
            except KafkaException as error:
                log.warning("the broker does not take a producer yet", why=why, error=str(error))
                time.sleep(PAUSE_AFTER_FAILURE)
            else:
                self._producer = producer
                return True
        return False

    def _committed_after_all(self, batch: Sequence[Settled]) -> dict[PartitionKey, Callable[[int | None], bool]]:
        """Whether the failed transaction committed a record after all, by its partition and offset."""
        partitions = {one.partition.key: one.partition for one in batch}
        found: dict[PartitionKey, Callable[[int | None], bool]] = dict.fromkeys(partitions, lambda offset: False)
        for answer in self._committed([TopicPartition(*key) for key in partitions]):
            key = (answer.topic, answer.partition)
            if answer.offset >= 0:
                found[key] = partitions[key].progress.judge(answer.offset, answer.metadata or "")
        return found

    def _committed(self, partitions: list[TopicPartition]) -> list[TopicPartition]:
        """Waits for the broker as long as it takes; nothing when the process is to end."""
        while not self._giving_up.is_set():
            # A consumer of its own: the joined one is busy on its thread. It never joins, it only asks.
            asker: Consumer = kafka.consumer(self._settings.kafka, self._settings.dispatcher_group)
            try:
                return asker.committed(partitions, timeout=CALL_TIMEOUT)
            except KafkaException as error:
                log.warning("committed offsets cannot be read yet", error=str(error))
                time.sleep(PAUSE_AFTER_FAILURE)
            finally:
                asker.close()
        return []
