"""Which messages of a batch can be read as columns: one flat JSON object each, in plain characters.

The proof is by counting bytes, a few vectorised passes for the whole batch:

1. Joined by newlines, the only control characters are those newlines: no message holds one, so lines are messages.
2. Every line starts with `{`, ends with `}` and has no other brace: it is one object with nothing nested in it.
3. No backslash, so every quote is a quote; no `[`.

What does not fit is not wrong: it is read one by one (`tocsin.shared.readings`), which decides alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tocsin.shared.schemas.reading import MAX_REPORT_BYTES

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
Bytes = NDArray[np.uint8]

_OPEN, _CLOSE, _BACKSLASH, _BRACKET, _SPACE = ord("{"), ord("}"), ord("\\"), ord("["), ord(" ")


@dataclass(frozen=True)
class Lines:
    """Messages joined by newlines, none of which holds a newline itself."""

    text: bytes
    bytes: Bytes
    starts: Ints
    ends: Ints

    def __len__(self) -> int:
        return len(self.starts)

    def total(self, letter: int) -> int:
        """How often the character occurs."""
        return int(np.count_nonzero(self.bytes == letter))

    def per_line(self, letter: int) -> Ints:
        """How often it occurs in each line."""
        places = np.flatnonzero(self.bytes == letter)
        return np.bincount(np.searchsorted(self.ends, places), minlength=len(self))


def join(messages: list[bytes]) -> tuple[Lines, Ints]:
    """The lines, and which messages they are."""
    text = b"\n".join(messages)
    everything = np.frombuffer(text, np.uint8)
    controls = np.flatnonzero(everything < _SPACE)
    if len(controls) == len(messages) - 1:
        return _lines(text, everything, controls), np.arange(len(messages))
    sizes = np.fromiter(map(len, messages), np.int64, len(messages))
    ends = np.cumsum(sizes + 1) - 1
    inside = controls[~np.isin(controls, ends)]
    clean = np.ones(len(messages), np.bool_)
    clean[np.searchsorted(ends, inside)] = False
    which = np.flatnonzero(clean)
    return select(messages, which), which


def select(messages: list[bytes], which: Ints) -> Lines:
    """Some of the messages, known to be lines."""
    text = b"\n".join([messages[at] for at in which.tolist()])
    everything = np.frombuffer(text, np.uint8)
    return _lines(text, everything, np.flatnonzero(everything < _SPACE) if len(which) else np.zeros(0, np.int64))


def _lines(text: bytes, everything: Bytes, newlines: Ints) -> Lines:
    if not text:
        return Lines(text, everything, np.zeros(0, np.int64), np.zeros(0, np.int64))
    starts = np.concatenate([np.zeros(1, np.int64), newlines + 1])
    return Lines(text, everything, starts, np.append(newlines, len(text)))


def flat(lines: Lines) -> Bools:
    """Which lines are one object with nothing nested in it, and plain."""
    if not len(lines):
        return np.zeros(0, np.bool_)
    sizes = lines.ends - lines.starts
    good = (sizes >= 2) & (sizes <= MAX_REPORT_BYTES)
    # An empty line's neighbours stand in for its ends; it is out already.
    good &= lines.bytes[np.minimum(lines.starts, len(lines.bytes) - 1)] == _OPEN
    good &= lines.bytes[lines.ends - 1] == _CLOSE
    for letter in (_OPEN, _CLOSE):
        if not good.all() or lines.total(letter) != len(lines):
            good &= lines.per_line(letter) == 1
    for letter in (_BACKSLASH, _BRACKET):
        if lines.total(letter):
            good &= lines.per_line(letter) == 0
    return good
