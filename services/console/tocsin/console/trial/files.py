"""Recorded files as blocks of columns, in the order of their lines; what is not plain is read one by one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import chain, islice
from pathlib import Path
from typing import IO

import numpy as np

from tocsin.evaluator.backtest.csv_columns import CsvColumns, Layout
from tocsin.evaluator.backtest.ndjson_columns import Lines, NdjsonColumns
from tocsin.evaluator.backtest.recording import Block, Tagged
from tocsin.evaluator.detector.columns import Ints, Known
from tocsin.ingest.core.recordings import (
    Columns,
    CsvPlan,
    Flaw,
    Recorded,
    parse_csv,
    parse_ndjson,
    parse_time,
    plan_csv,
)
from tocsin.ingest.files import UNREADABLE, is_ndjson, open_file, stem_of
from tocsin.shared.errors import UsageError
from tocsin.shared.times import parse_rfc3339

BLOCK_BYTES = 16 << 20
SLOW_ROWS = 50_000
"""Readings that were read one by one and are put into columns together."""

OnFlaw = Callable[[Path, Flaw], None]


def read_blocks(
    path: Path, columns: Columns, known: Known, on_flaw: OnFlaw, block_bytes: int = BLOCK_BYTES
) -> Iterator[Block]:
    """All good readings of a file. Raises UsageError naming the file."""
    try:
        ndjson = is_ndjson(path)
        with closing(open_file(path)) as file:
            reader = _Ndjson(known) if ndjson else _Csv(columns.of_file(stem_of(path)), known)
            for found in reader.read(_whole_lines(file, block_bytes)):
                if isinstance(found, Flaw):
                    on_flaw(path, found)
                else:
                    yield found
    except UsageError as error:
        raise UsageError(f"{path}: {error}") from None
    except UNREADABLE as error:
        raise UsageError(f"{path}: cannot be read: {error}") from None


def _whole_lines(file: IO[bytes], size: int) -> Iterator[bytes]:
    """Pieces that end with a newline, but for the last."""
    carried = file.read(3).removeprefix(b"\xef\xbb\xbf")
    while piece := file.read(size):
        text = carried + piece
        cut = text.rfind(b"\n") + 1
        if cut:
            yield text[:cut]
        carried = text[cut:]
    if carried:
        yield carried


class _Ndjson:
    def __init__(self, known: Known) -> None:
        self._known = known

    def read(self, pieces: Iterable[bytes]) -> Iterator[Block | Flaw]:
        columns = NdjsonColumns(self._known)
        first = 1
        for piece in pieces:
            lines = Lines.of(piece)
            block, rows, left = columns.read(lines)
            slow = []
            for found in parse_ndjson(map(lines.line, left.tolist())):
                if isinstance(found, Flaw):
                    yield replace(found, line=first + int(left[found.line - 1]))
                else:
                    slow.append(replace(found, line=int(left[found.line - 1])))
            yield _woven(block, rows, slow, self._known)
            first += len(lines)


@dataclass
class _Csv:
    columns: Columns
    known: Known

    def read(self, pieces: Iterable[bytes]) -> Iterator[Block | Flaw]:
        pieces = iter(pieces)
        piece = next(pieces, b"")
        header, _, rest = piece.partition(b"\n")
        if not header.strip():
            raise UsageError("the file has no header")
        if b'"' in header or b"\r" in header.removesuffix(b"\r"):
            yield from self._one_by_one(chain([piece], pieces), None, 1)
            return
        names = _text(header).rstrip("\r").split(",")
        reader = CsvColumns(_layout(plan_csv(names, self.columns), self.columns), self._time, self.known)
        first = 2
        for piece in chain([rest] if rest else [], pieces):
            plain = piece.replace(b"\r\n", b"\n") if b"\r" in piece else piece
            if b'"' in plain or b"\r" in plain:
                # From here on a newline may stand inside a cell.
                yield from self._one_by_one(chain([piece], pieces), _text(header), first)
                return
            block, rows, left = reader.read(plain)
            slow: list[Recorded] = []
            if len(left):
                lines = plain.split(b"\n")
                for found in self._parse([_text(header), *(_text(lines[line]) for line in left.tolist())]):
                    line = int(left[found.line - 2])
                    if isinstance(found, Flaw):
                        yield replace(found, line=first + line)
                    else:
                        slow.append(replace(found, line=line))
            yield _woven(block, rows, slow, self.known)
            first += plain.count(b"\n")

    def _parse(self, lines: Iterable[str]) -> Iterator[Recorded | Flaw]:
        return parse_csv(lines, self.columns)

    def _one_by_one(self, pieces: Iterable[bytes], header: str | None, first: int) -> Iterator[Block | Flaw]:
        """From line `first` on. `header`: None when it is the first of these lines."""
        lines = (_text(line) for piece in pieces for line in piece.splitlines(keepends=True))
        moved = 0 if header is None else first - 2
        parsed = self._parse(lines if header is None else chain([header + "\n"], lines))
        while some := list(islice(parsed, SLOW_ROWS)):
            good = []
            for found in some:
                if isinstance(found, Flaw):
                    yield replace(found, line=found.line + moved)
                else:
                    good.append(found)
            yield _block(good, self.known)[0]

    def _time(self, text: str) -> int | None:
        found = parse_time(text, self.columns.time_unit)
        try:
            return parse_rfc3339(found) if isinstance(found, str) else None
        except ValueError:
            return None


def _text(line: bytes) -> str:
    return line.decode("utf-8", "surrogateescape")


def _layout(plan: CsvPlan, columns: Columns) -> Layout:
    return Layout(
        width=plan.width,
        time=plan.time,
        value=plan.value,
        system=columns.system or plan.system,
        metric=columns.metric or plan.metric,
        instance=plan.instance,
        skip_if_empty=plan.skip_if_empty,
        seconds=columns.time_unit == "s",
    )


def _woven(block: Block, rows: Ints, slow: list[Recorded], known: Known) -> Block:
    """Both parts of a piece, by line."""
    if not slow:
        return block
    other, lines = _block(slow, known)
    order = np.argsort(np.concatenate([rows, lines]), kind="stable")
    return Block.joined([block, other]).reordered(order)


def _block(recorded: list[Recorded], known: Known) -> tuple[Block, Ints]:
    """As columns, and the line of each reading. A report's tags are with its first reading."""
    readings = [(one.line, reading) for one in recorded for reading in one.good]
    tags: dict[int, Tagged] = {}
    row = 0
    for one in recorded:
        if one.good[0].tags:
            tags[row] = one.time, one.good[0].tags
        row += len(one.good)
    block = Block(
        np.array([known.systems.add(one.system) for _, one in readings], np.int64),
        np.array([known.metrics.add(one.metric) for _, one in readings], np.int64),
        np.array([-1 if one.instance is None else known.instances.add(one.instance) for _, one in readings], np.int64),
        np.array([one.value for _, one in readings], np.float64),
        np.array([one.time for _, one in readings], np.int64),
        tags,
    )
    return block, np.array([line for line, _ in readings], np.int64)
