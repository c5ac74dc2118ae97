"""Lines of NDJSON as columns, by the detector's own reader; the numbers of the other lines are handed back."""

from __future__ import annotations

from dataclasses import dataclass, field

from tocsin.evaluator.backtest.recording import Block
from tocsin.evaluator.detector.columns import Ints, Known
from tocsin.evaluator.detector.reader import ColumnReader
from tocsin.evaluator.detector.scanning import Texts


@dataclass
class NdjsonColumns:
    """Of one file."""

    known: Known
    _reader: ColumnReader = field(default_factory=ColumnReader)

    def read(self, lines: list[bytes]) -> tuple[Block, Ints, Ints]:
        """The readings of plain lines, the line of each, and the lines that have to be read one by one."""
        columns, left, _ = self._reader.read(Texts.of_lines(lines), 0, self.known)
        block = Block(columns.system, columns.metric, columns.instance, columns.value, columns.time)
        return block, columns.message, left
