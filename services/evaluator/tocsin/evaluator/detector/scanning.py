"""The compiled scanner of readings: JSON bytes in, columns out, in one pass and without an object a reading.

It takes what is plain and understands all of it; whatever else it meets, it leaves the whole message to
`tocsin.shared.readings`, which alone decides. Plain is a message that

1. is one object of the fields it knows, each given once: a reading, or a report with one list of readings;
2. has no backslash in a text, no control character, and nothing but spaces between its parts;
3. has a system that equals its key; names it knows (unknown ones are reported, learned, and scanned again);
4. has numbers and times in their usual forms. A number that a product of two exact floats does not give is handed out
   as a place, to be converted by Python.

Its functions know places by their addresses, and give the place after what they have read, or a negative number.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from tocsin.evaluator.detector.compiling import address_of
from tocsin.evaluator.detector.scan_messages import (
    C_FIELDS,
    C_HARD_AT,
    LEFT,
    LONG,
    N_AHEAD,
    N_COLUMN,
    N_END,
    N_FIELDS,
    N_ROOM_UNKNOWN,
    N_ROW,
    N_TABLES,
    N_UNKNOWN,
    N_UNKNOWNS,
    U_AT,
    U_FIELDS,
    scan_messages,
)
from tocsin.evaluator.detector.scan_names import PADDING
from tocsin.shared.times import MAX_EPOCH_MS

Ints = NDArray[np.int64]
Bytes = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Texts:
    """Messages: `text` holds keys and values, padded. `places`: KEY_AT and so on, by message; a size of -1: none."""

    text: Bytes
    places: Ints
    keyed: bool = True  # the system has to be the key

    KEY_AT: ClassVar[int] = 0
    KEY_SIZE: ClassVar[int] = 1
    VALUE_AT: ClassVar[int] = 2
    VALUE_SIZE: ClassVar[int] = 3
    ARRIVED: ClassVar[int] = 4  # at the broker, epoch ms
    FIELDS: ClassVar[int] = 5

    @classmethod
    def of_lines(cls, lines: Sequence[bytes]) -> Texts:
        """Messages that came without keys, and just now."""
        places = np.zeros((cls.FIELDS, len(lines)), np.int64)
        places[cls.VALUE_SIZE] = sizes = np.fromiter(map(len, lines), np.int64, len(lines))
        places[cls.VALUE_AT] = np.cumsum(sizes) - sizes
        places[cls.KEY_SIZE], places[cls.ARRIVED] = -1, MAX_EPOCH_MS
        return cls(np.frombuffer(bytearray().join([*lines, bytes(PADDING)]), np.uint8), places, keyed=False)

    def __len__(self) -> int:
        return int(self.places.shape[1])

    @property
    def arrived(self) -> Ints:
        """At the broker, epoch ms."""
        row: Ints = self.places[self.ARRIVED]
        return row

    def part(self, at: int, size: int) -> bytes:
        """Some of the text."""
        return self.text[at : at + size].tobytes()


@dataclass(frozen=True, slots=True)
class Scanned:
    """`columns`: C_…; `verdict`: by message, of those that were scanned; `unknown`: U_…, a row a name."""

    columns: Ints
    verdict: Bytes
    unknown: Ints
    ahead: int  # readings further before their arrival than they may be: given its time


def scan(texts: Texts, which: Ints, ahead: int, tables: Ints, room: tuple[int, int]) -> Scanned:
    """These messages, one after the other. `ahead`: how far before its arrival a reading may be, ms.

    `tables`: of each kind of name, as in scan_names. `room`: for readings, for unknown names; what finds none is left.
    """
    readings, names = room
    columns = np.empty((C_FIELDS, readings), np.int64)
    unknown = np.empty((names, U_FIELDS), np.int64)
    verdict = np.full(len(texts), LEFT, np.uint8)
    now = np.zeros(N_FIELDS, np.int64)
    first = address_of(columns)
    now[N_TABLES], now[N_UNKNOWNS], now[N_ROOM_UNKNOWN] = address_of(tables), address_of(unknown), names
    now[N_COLUMN], now[N_ROW], now[N_END] = readings * LONG, first, first + readings * LONG
    scan_messages(
        (address_of(texts.text), address_of(texts.places), len(texts) * LONG),
        (address_of(which), len(which)),
        ahead,
        address_of(now),
        address_of(verdict),
        texts.keyed,
    )
    columns, unknown = columns[:, : (now[N_ROW] - first) // LONG], unknown[: now[N_UNKNOWN]]
    columns[C_HARD_AT] -= address_of(texts.text)
    unknown[:, U_AT] -= address_of(texts.text)
    return Scanned(columns, verdict, unknown, int(now[N_AHEAD]))
