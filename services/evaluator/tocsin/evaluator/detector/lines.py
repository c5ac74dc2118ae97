"""Which messages of a batch can be read as columns: one plain JSON object each, flat or with one list of flat objects.

The proof is by counting bytes, a few vectorised passes for the whole batch:

1. Joined by newlines, the only control characters are those newlines: no message holds one, so lines are messages.
2. Every line starts with `{` and ends with `}`. Without another brace it is one object with nothing nested in it;
   with as many braces as its list of readings asks for, and one `[`, nothing else is nested in it (proving.py).
3. No backslash, so every quote is a quote.

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

    def at(self, rows: Ints) -> Lines:
        """Some of them."""
        messages = self.text.split(b"\n")
        return select(messages, rows)

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


def plain(lines: Lines) -> tuple[Bools, Bools]:
    """Which lines are flat objects, and which may be reports."""
    if not len(lines):
        return np.zeros(0, np.bool_), np.zeros(0, np.bool_)
    sizes = lines.ends - lines.starts
    good = (sizes >= 2) & (sizes <= MAX_REPORT_BYTES)
    # An empty line's neighbours stand in for its ends; it is out already.
    good &= lines.bytes[np.minimum(lines.starts, len(lines.bytes) - 1)] == _OPEN
    good &= lines.bytes[lines.ends - 1] == _CLOSE
    if lines.total(_BACKSLASH):
        good &= lines.per_line(_BACKSLASH) == 0
    brackets = lines.total(_BRACKET)
    if good.all() and not brackets and lines.total(_OPEN) == len(lines) == lines.total(_CLOSE):
        return good, np.zeros(len(lines), np.bool_)
    in_line = lines.per_line(_BRACKET)
    flat = good & (in_line == 0)
    if flat.any():
        flat &= (lines.per_line(_OPEN) == 1) & (lines.per_line(_CLOSE) == 1)
    return flat, good & (in_line == 1)


def with_braces(lines: Lines, braces: Ints) -> Bools:
    """Which lines have exactly this many braces of each kind."""
    if lines.total(_OPEN) == lines.total(_CLOSE) == int(braces.sum()):
        # Fewer there cannot be: each reading that was read has a pair of its own.
        return np.ones(len(lines), np.bool_)
    return np.asarray((lines.per_line(_OPEN) == braces) & (lines.per_line(_CLOSE) == braces))
