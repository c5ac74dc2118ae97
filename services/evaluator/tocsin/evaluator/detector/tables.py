"""What the detector knows of systems and series, as columns; a row's number never changes within an assignment."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from tocsin.evaluator.core.sensor import NEVER, Pauses, SensorState
from tocsin.evaluator.core.steps import NO_STANCE, Steps
from tocsin.evaluator.core.windows import Window
from tocsin.evaluator.detector.columns import Bools, Floats, Ints, Stances
from tocsin.evaluator.detector.locating import INSTANCE_BITS, METRIC_BITS, SPREAD
from tocsin.evaluator.detector.names import Names
from tocsin.evaluator.detector.rings import Rings

NO_TIME = -1
"""Before every time there is."""

NO_SILENCE = 1 << 61
"""A silence that does not come, and that can be added to any time."""

Numbers = array
"""Of series or systems: a list would keep an object for each."""


class Columns:
    """Arrays of one length that grow together."""

    def __init__(self, **defaults: tuple[type[np.generic], object]) -> None:
        self.size = 0
        self._defaults = defaults
        for name, (kind, default) in defaults.items():
            setattr(self, name, np.full(1024, default, kind))

    def extend(self, size: int) -> None:
        """At least this many rows; what is new has the defaults."""
        for name, (kind, default) in self._defaults.items():
            array = getattr(self, name)
            if size > len(array):
                grown = np.full(max(size, 2 * len(array)), default, kind)
                grown[: len(array)] = array
                setattr(self, name, grown)
        self.size = max(self.size, size)


class Systems(Columns):
    """One row a system."""

    partition: Ints
    slot: Ints  # its place among the systems of its partition
    heard: Ints  # the newest time of any of its readings
    tags_at: Ints  # time of the report its tags are from
    dirty: Bools  # heard or tags_at differ from the last checkpoint

    def __init__(self, place: Callable[[str], int]) -> None:
        """`place`: the partition a system belongs to."""
        super().__init__(
            partition=(np.int64, 0),
            slot=(np.int64, 0),
            heard=(np.int64, NO_TIME),
            tags_at=(np.int64, NO_TIME),
            dirty=(np.bool_, False),
        )
        self._place = place
        self.names = Names()
        self.tags: dict[int, Mapping[str, str]] = {}
        self.of_partition: dict[int, Numbers[int]] = {}

    def add(self, name: str, partition: int | None = None) -> int:
        """Its number. `partition`: where it belongs, if that is known."""
        number = self.names.add(name)
        if partition is not None and number == self.size:
            self._settle(number, partition)
        self.adopt()
        return number

    def adopt(self) -> None:
        """Names that were added elsewhere get their rows."""
        for number in range(self.size, len(self.names)):
            self._settle(number, self._place(self.names.names[number]))

    def _settle(self, number: int, partition: int) -> None:
        self.extend(number + 1)
        members = self.of_partition.setdefault(partition, Numbers("q"))
        self.partition[number] = partition
        self.slot[number] = len(members)
        self.dirty[number] = True
        members.append(number)

    def describe(self, number: int) -> tuple[str, Mapping[str, str]]:
        """Name and tags."""
        return self.names.names[number], self.tags.get(number, _NO_TAGS)


_NO_TAGS: Mapping[str, str] = MappingProxyType({})


class SeriesTable(Columns):
    """One row a series. `low` to `silence` are as in core.series; low > high: not drawn yet."""

    system: Ints
    metric: Ints
    instance: Ints  # -1: none
    slot: Ints
    newest: Ints
    last: Floats  # the value judged last at that time
    low: Floats
    high: Floats
    deadline: Ints
    due: Ints
    silence: Ints
    stance: Stances  # as in core.steps, by which what the next reading changes is looked up
    tied: Bools  # more than one value has been seen at the newest time: all of them are in `ties`
    dirty: Bools

    def __init__(self) -> None:
        super().__init__(
            system=(np.int64, 0),
            metric=(np.int64, 0),
            instance=(np.int64, -1),
            slot=(np.int64, 0),
            newest=(np.int64, NO_TIME),
            last=(np.float64, 0.0),
            low=(np.float64, -np.inf),
            high=(np.float64, np.inf),
            deadline=(np.int64, NEVER),
            due=(np.int64, NEVER),
            silence=(np.int64, NO_SILENCE),
            stance=(np.int32, NO_STANCE),
            tied=(np.bool_, False),
            dirty=(np.bool_, False),
        )
        self.steps = Steps()
        self.ties: dict[int, tuple[float, ...]] = {}
        self.states: dict[int, dict[int, SensorState]] = {}  # of series with a sensor that is not as at the start
        self.windows: dict[int, dict[int, Window]] = {}  # of series whose metric has sensors with windows
        self.rings = Rings()  # of the windows that are columns
        self.windowed = False  # whether there is any
        self.silences = False  # whether any series has a silence
        self.pauses_of: Callable[[int], Pauses] | None = None  # of a series, where there are any
        self.of_partition: dict[int, Numbers[int]] = {}
        self._index = KeyIndex()

    @property
    def index(self) -> tuple[NDArray[np.uint64], Ints]:
        """Keys and numbers, as locating.py reads them."""
        return self._index.tables

    def find(self, systems: Ints, metrics: Ints, instances: Ints) -> Ints:
        """Numbers, -1 where there is none yet."""
        return self._index.find(pack(systems, metrics, instances))

    def add(self, systems: Ints, metrics: Ints, instances: Ints, partitions: Ints) -> None:
        """New series, each given once."""
        first, count = self.size, len(systems)
        self.extend(first + count)
        new = slice(first, first + count)
        self.system[new], self.metric[new], self.instance[new] = systems, metrics, instances
        self.dirty[new] = True
        for partition in np.unique(partitions).tolist():
            numbers = first + np.flatnonzero(partitions == partition)
            members = self.of_partition.setdefault(partition, Numbers("q"))
            self.slot[numbers] = np.arange(len(members), len(members) + len(numbers))
            members.frombytes(numbers.tobytes())
        self._index.add(pack(systems, metrics, instances), np.arange(first, first + count, dtype=np.int64))


def fits(systems: int, metrics: int, instances: int) -> bool:
    """Whether so many names all have room in a series' number."""
    return not (systems >> 64 - INSTANCE_BITS - METRIC_BITS or metrics >> METRIC_BITS or instances >> INSTANCE_BITS)


def pack(systems: Ints, metrics: Ints, instances: Ints) -> NDArray[np.uint64]:
    """One number for a series. Raises OverflowError beyond 16.7 million systems or instances, or 65,536 metrics."""
    for numbers, bits in ((systems, 64 - INSTANCE_BITS - METRIC_BITS), (metrics, METRIC_BITS)):
        if len(numbers) and int(numbers.max()) >> bits:
            raise OverflowError("too many names for one detector; run more of them")
    if len(instances) and int(instances.max()) + 1 >> INSTANCE_BITS:
        raise OverflowError("too many instances for one detector; run more of them")
    packed = systems << (INSTANCE_BITS + METRIC_BITS) | metrics << INSTANCE_BITS | (instances + 1)
    return packed.astype(np.uint64)


class KeyIndex:
    """Numbers by 64-bit key: open addressing over arrays, so that a whole batch is looked up at once."""

    def __init__(self) -> None:
        self._bits = 11
        self._used = 0
        self._keys = np.zeros(1 << self._bits, np.uint64)
        self._numbers = np.full(1 << self._bits, -1, np.int64)

    @property
    def tables(self) -> tuple[NDArray[np.uint64], Ints]:
        """A key's number is at its slot, or one of those behind it up to the first that is free."""
        return self._keys, self._numbers

    def _slots(self, keys: NDArray[np.uint64]) -> Ints:
        return (keys * SPREAD >> np.uint64(64 - self._bits)).astype(np.int64)

    def find(self, keys: NDArray[np.uint64]) -> Ints:
        slots = self._slots(keys)
        found = self._numbers[slots]
        wrong = np.flatnonzero((self._keys[slots] != keys) & (found >= 0))
        mask = (1 << self._bits) - 1
        while len(wrong):
            slots[wrong] = slots[wrong] + 1 & mask
            found[wrong] = self._numbers[slots[wrong]]
            wrong = wrong[(self._keys[slots[wrong]] != keys[wrong]) & (found[wrong] >= 0)]
        return found

    def add(self, keys: NDArray[np.uint64], numbers: Ints) -> None:
        """Keys that are not there yet."""
        self._used += len(keys)
        if self._used * 2 > 1 << self._bits:
            taken = self._numbers >= 0
            keys = np.concatenate([self._keys[taken], keys])
            numbers = np.concatenate([self._numbers[taken], numbers])
            while self._used * 2 > 1 << self._bits:
                self._bits += 1
            self._keys = np.zeros(1 << self._bits, np.uint64)
            self._numbers = np.full(1 << self._bits, -1, np.int64)
        slots = self._slots(keys)
        left = np.arange(len(keys))
        mask = (1 << self._bits) - 1
        while len(left):
            free = left[self._numbers[slots[left]] < 0]
            # Where two want one slot, the write that came last has it; the others go on.
            self._numbers[slots[free]] = numbers[free]
            won = self._numbers[slots[left]] == numbers[left]
            self._keys[slots[left[won]]] = keys[left[won]]
            left = left[~won]
            slots[left] = slots[left] + 1 & mask


def chunk_of(members: Mapping[int, Numbers[int]], partition: int, chunk: int, size: int) -> Ints:
    """Those of one row: so many, but for the last row of a partition."""
    return np.array(members.get(partition, Numbers("q"))[chunk * size : (chunk + 1) * size], np.int64)
