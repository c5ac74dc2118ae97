"""Compiled: names by their bytes."""

from __future__ import annotations

import numpy as np

from tocsin.evaluator.detector.compiling import compiled, long_at, part, put_long, put_word, word_at

PADDING = 16
"""Bytes that must follow every text: they are read, and never used."""

T_SLOTS, T_MASK, T_HASHES, T_STARTS, T_LETTERS, T_FIELDS = range(6)
"""A table of names: open addressing over numbers, -1 where there is none. Addresses, but for the mask. `starts` has one
more entry than there are names, `letters` are padded."""

_LONG = 8
_MASKS = np.array([(1 << 8 * count) - 1 for count in range(9)], np.uint64)
_MIX, _29, _32 = np.uint64(0x9E3779B97F4A7C15), np.uint64(29), np.uint64(32)


@part
def _masked(at: int, size: int) -> np.uint64:
    """The last bytes of a name, fewer than eight."""
    return np.uint64(word_at(at) & _MASKS[size])


@part
def _hash(at: int, size: int) -> np.uint64:
    h = np.uint64(size) * _MIX
    while size >= 8:
        h = (h ^ word_at(at)) * _MIX
        h ^= h >> _29
        at += 8
        size -= 8
    if size > 0:
        h = (h ^ _masked(at, size)) * _MIX
        h ^= h >> _29
    return h ^ (h >> _32)


@part
def same_bytes(left: int, right: int, size: int) -> bool:
    while size >= 8:
        if word_at(left) != word_at(right):
            return False
        left += 8
        right += 8
        size -= 8
    return size <= 0 or _masked(left, size) == _masked(right, size)


@part
def find_name(table: int, at: int, size: int) -> int:
    """The name's number, -1: not known."""
    slots, hashes = long_at(table + T_SLOTS * _LONG), long_at(table + T_HASHES * _LONG)
    starts, letters = long_at(table + T_STARTS * _LONG), long_at(table + T_LETTERS * _LONG)
    mask = long_at(table + T_MASK * _LONG)
    h = _hash(at, size)
    slot = np.int64(h) & mask
    while True:
        number = long_at(slots + slot * _LONG)
        if number < 0:
            return -1
        if word_at(hashes + number * _LONG) == h:
            start = long_at(starts + number * _LONG)
            if long_at(starts + number * _LONG + _LONG) - start == size and same_bytes(at, letters + start, size):
                return int(number)
        slot = slot + 1 & mask


@compiled
def place_names(table: int, first: int, last: int) -> None:
    """Put names into the table; none of them is there yet."""
    slots, hashes = long_at(table + T_SLOTS * _LONG), long_at(table + T_HASHES * _LONG)
    starts, letters = long_at(table + T_STARTS * _LONG), long_at(table + T_LETTERS * _LONG)
    mask = long_at(table + T_MASK * _LONG)
    for number in range(first, last):
        start = long_at(starts + number * _LONG)
        h = _hash(letters + start, long_at(starts + number * _LONG + _LONG) - start)
        put_word(hashes + number * _LONG, h)
        slot = np.int64(h) & mask
        while long_at(slots + slot * _LONG) >= 0:
            slot = slot + 1 & mask
        put_long(slots + slot * _LONG, number)
