"""The partitions this process has, and what of them is open: shared by three threads, each method is one lock long.

The consuming thread takes records, the sending loop starts and ends them, the settling thread settles them.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from dataclasses import dataclass, field

from tocsin.dispatcher.core.offsets import Progress, Turns

PartitionKey = tuple[str, int]
"""(topic as the broker calls it, partition)."""


@dataclass(eq=False)
class Partition:
    """One assignment of one partition; a new assignment is a new object, so that late results meet the old one."""

    key: PartitionKey
    progress: Progress | Turns
    active: bool = True  # False: somebody else's by now, results are dropped
    starting: bool = True  # False: being taken away, nothing new is started
    in_flight: int = 0  # being sent
    bytes: dict[int, int] = field(default_factory=dict)  # by offset, of what is open
    ended: set[int] = field(default_factory=set)  # of these, what only has to be written
    ready: bool = False  # of `delivery-parked`: it is known what waits there

    @property
    def unsent(self) -> int:
        """How many wait or are being sent."""
        return len(self.bytes) - len(self.ended)


class Partitions:
    """All of them."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._changed = threading.Condition(self._lock)
        self._partitions: dict[PartitionKey, Partition] = {}
        self.open_bytes = 0
        self.count = 0  # of each topic of deliveries; known when the group is joined

    def assign(self, key: PartitionKey, committed: int | None, metadata: str) -> None:
        self._assign(Partition(key, Progress(committed, metadata)))

    def assign_parked(self, key: PartitionKey, committed: int | None) -> Partition:
        partition = Partition(key, Turns(committed))
        self._assign(partition)
        return partition

    def _assign(self, partition: Partition) -> None:
        with self._lock:
            self._drop(partition.key)
            self._partitions[partition.key] = partition

    def get(self, key: PartitionKey) -> Partition | None:
        return self._partitions.get(key)

    def keys(self) -> list[PartitionKey]:
        return list(self._partitions)

    @property
    def open(self) -> int:
        """Deliveries that have been taken and have no durable successor yet."""
        with self._lock:
            return sum(len(partition.bytes) for partition in self._partitions.values())

    def stop_starting(self, keys: Iterable[PartitionKey]) -> None:
        with self._lock:
            for key in keys:
                if key in self._partitions:
                    self._partitions[key].starting = False

    def wait_until_idle(self, keys: Iterable[PartitionKey], timeout: float) -> bool:
        """Whether nothing of these is being sent any more."""
        watched = [self._partitions[key] for key in keys if key in self._partitions]
        with self._changed:
            return self._changed.wait_for(lambda: not any(one.in_flight for one in watched), timeout)

    def remove(self, keys: Iterable[PartitionKey]) -> None:
        with self._lock:
            for key in keys:
                self._drop(key)

    def _drop(self, key: PartitionKey) -> None:
        gone = self._partitions.pop(key, None)
        if gone is not None:
            gone.active = gone.starting = False
            self.open_bytes -= sum(gone.bytes.values())
            gone.bytes.clear()
            gone.ended.clear()

    def take(self, partition: Partition, offset: int, size: int) -> None:
        with self._lock:
            if partition.active:
                partition.progress.take(offset)
                partition.bytes[offset] = size
                self.open_bytes += size

    def start(self, partition: Partition) -> bool:
        """Whether one of this partition's deliveries may be sent; `end` must follow."""
        with self._lock:
            if not partition.starting:
                return False
            partition.in_flight += 1
            return True

    def end(self, partition: Partition, offset: int) -> None:
        with self._lock:
            if offset in partition.bytes:
                partition.ended.add(offset)
            partition.in_flight -= 1
            if not partition.in_flight:
                self._changed.notify_all()

    def give_back(self, partition: Partition, offset: int) -> None:
        """One of `delivery-parked` stays where it is."""
        with self._lock:
            self.open_bytes -= partition.bytes.pop(offset, 0)
            partition.ended.discard(offset)

    def settle(self, partition: Partition, offset: int | None) -> bool:
        """Mark one as settled for the next commit; False where it is not ours any more, or was marked before."""
        with self._lock:
            if offset is None:
                return partition.active
            if not partition.active or offset not in partition.bytes:
                return False
            partition.progress.settle(offset)
            partition.ended.discard(offset)
            self.open_bytes -= partition.bytes.pop(offset)
            return True

    def commits(self, partitions: Iterable[Partition]) -> dict[PartitionKey, tuple[int, str]]:
        """What to commit for these: offset and metadata."""
        with self._lock:
            return {one.key: one.progress.commit() for one in partitions}
