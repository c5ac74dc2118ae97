"""Lines of NDJSON as columns, by the detector's own reader; the numbers of the other lines are handed back."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from tocsin.evaluator.backtest.recording import Block
from tocsin.evaluator.detector.columns import Columns, Ints, Known
from tocsin.evaluator.detector.reader import ColumnReader
from tocsin.evaluator.detector.scan_names import PADDING
from tocsin.evaluator.detector.scanning import Texts
from tocsin.shared.times import MAX_EPOCH_MS

AT_ONCE = 1 << 14
"""Lines scanned at once, as many as messages live. The first ones of a file may each have a name nobody has met yet,
and what the scanner has no room for is read one by one."""

_NEWLINE = ord("\n")


@dataclass(frozen=True)
class Lines:
    """A piece of a file: whole lines, the last one perhaps without its newline."""

    text: NDArray[np.uint8]  # padded
    starts: Ints
    sizes: Ints

    @classmethod
    def of(cls, piece: bytes) -> Lines:
        text = np.frombuffer(piece + bytes(PADDING), np.uint8)
        ends = np.flatnonzero(text[: len(piece)] == _NEWLINE)
        if not piece.endswith(b"\n"):
            ends = np.append(ends, len(piece))
        starts = np.concatenate([np.zeros(1, np.int64), ends[:-1] + 1])
        return cls(text, starts, ends - starts)

    def __len__(self) -> int:
        return len(self.starts)

    def line(self, number: int) -> bytes:
        start = int(self.starts[number])
        return self.text[start : start + int(self.sizes[number])].tobytes()

    def some(self, first: int, count: int) -> Texts:
        """As messages without keys that came just now."""
        sizes = self.sizes[first : first + count]
        places = np.zeros((Texts.FIELDS, len(sizes)), np.int64)
        places[Texts.VALUE_AT], places[Texts.VALUE_SIZE] = self.starts[first : first + count], sizes
        places[Texts.KEY_SIZE], places[Texts.ARRIVED] = -1, MAX_EPOCH_MS
        return Texts(self.text, places, keyed=False)


@dataclass
class NdjsonColumns:
    """Of one file."""

    known: Known
    _reader: ColumnReader = field(default_factory=ColumnReader)

    def read(self, lines: Lines) -> tuple[Block, Ints, Ints]:
        """The readings of plain lines, the line of each, and the lines that have to be read one by one."""
        parts: list[tuple[Columns, Ints, Ints]] = []
        for first in range(0, len(lines), AT_ONCE):
            columns, left, _ = self._reader.read(lines.some(first, AT_ONCE), 0, self.known)
            parts.append((columns, first + columns.message, first + left))
        blocks = [Block(one.system, one.metric, one.instance, one.value, one.time) for one, _, _ in parts]
        return (
            Block.joined(blocks),
            np.concatenate([rows for _, rows, _ in parts]),
            np.concatenate([left for _, _, left in parts]),
        )
