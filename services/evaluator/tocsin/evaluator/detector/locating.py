"""Compiled: whose readings these are, and who has been heard, in one pass each over a batch."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tocsin.evaluator.detector.columns import Bools, Ints
from tocsin.evaluator.detector.compiling import compiled

INSTANCE_BITS = 24
METRIC_BITS = 16
SPREAD = np.uint64(0x9E3779B97F4A7C15)
"""Fibonacci hashing. Source: Knuth, The Art of Computer Programming 3, section 6.4."""

_ONE = np.uint64(1)
_SYSTEM_AT = INSTANCE_BITS + METRIC_BITS


@compiled
def locate(
    names: tuple[Ints, Ints, Ints],
    index: tuple[NDArray[np.uint64], Ints],
    places: tuple[Ints, Ints, Ints],
    found: tuple[Ints, Ints],
) -> tuple[int, int]:
    """How many readings belong to no series there is, and how many are in another partition than their system.

    `names`: numbers of system, metric and instance of each reading. `index`: keys and numbers of tables.KeyIndex.
    `places`: the message of each reading, the partition of each message and of each system. `found` is filled: series
    (-1: none) and partition of each reading.
    """
    system, metric, instance = names
    keys, numbers = index
    message, of_message, of_system = places
    series, partition = found
    mask = np.uint64(len(keys) - 1)
    shift = np.uint64(64)
    while _ONE << (np.uint64(64) - shift) < np.uint64(len(keys)):
        shift -= _ONE
    new, misplaced = 0, 0
    for at in range(len(system)):
        one = system[at]
        partition[at] = of_message[message[at]]
        misplaced += partition[at] != of_system[one]
        key = np.uint64(one << _SYSTEM_AT | metric[at] << INSTANCE_BITS | (instance[at] + 1))
        slot = key * SPREAD >> shift
        while numbers[slot] >= 0 and keys[slot] != key:
            slot = (slot + _ONE) & mask
        series[at] = numbers[slot]
        new += series[at] < 0
    return new, misplaced


@compiled
def hear(readings: tuple[Ints, Ints, Ints], systems: tuple[Ints, Bools], newest: Ints) -> None:
    """Readings have come: `readings` are system, time and partition of each; `systems` the newest time of each, and
    whether it has changed; `newest` the newest time by partition."""
    system, time, partition = readings
    heard, dirty = systems
    for at in range(len(system)):
        one, moment = system[at], time[at]
        heard[one] = max(heard[one], moment)
        dirty[one] = True
        newest[partition[at]] = max(newest[partition[at]], moment)


def warm_locating() -> None:
    """Compile both, or load them."""
    none, some = np.zeros(0, np.int64), np.full(1, -1, np.int64)
    locate((none, none, none), (np.zeros(1, np.uint64), some), (none, none, none), (none, none))
    hear((none, none, none), (none, np.zeros(0, np.bool_)), none)
