"""Lines of a CSV file as columns: what is plain is read at once, the numbers of the other lines are handed back.

Plain is a line of which is known that reading it one by one would give the same. The proof:

1. No quote in it, so a comma separates and a newline ends.
2. Polars refuses a line with more cells than the header; with as many commas as lines times separators, none has fewer.
3. Names, numbers and times are compared with what the slow way takes: each distinct name and each distinct part of a
   time is read by the slow way's own rules, once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tocsin.evaluator.backtest.names import NO_NAME, NameColumn
from tocsin.evaluator.backtest.recording import Block
from tocsin.evaluator.detector.columns import Bools, Floats, Ints, Known
from tocsin.evaluator.detector.rfc3339 import parse_times
from tocsin.shared.times import MAX_EPOCH_MS

Bytes = NDArray[np.uint8]

ReadTime = Callable[[str], int | None]
"""A time as the slow way reads it, epoch ms; None: it does not."""

_MINUTE = len("2026-11-23T10:00")
_SECOND = len("2026-11-23T10:00:00")
_ZULU = (_SECOND + 1, _SECOND + 5)
_FIXED = (_SECOND, _SECOND + 4, *_ZULU)
_ZERO = ord("0")
_SOME_MINUTE = "2000-06-15T12:00"
_SOME_SECOND = "2000-06-15T12:00:00"
_MANY = 5
"""One distinct ending in five times: reading those one by one no longer pays, unless there are few."""
_FEW = 5_000


@dataclass(frozen=True, slots=True)
class Layout:
    """Which cell is what; a negative index: none. `system` and `metric` may be the same for all rows."""

    width: int
    time: int
    value: int
    system: int | str
    metric: int | str
    instance: int
    skip_if_empty: int
    seconds: bool  # times that are plain numbers


@dataclass
class CsvColumns:
    """Of one file."""

    layout: Layout
    read_time: ReadTime
    known: Known
    _parts: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._systems, self._metrics = NameColumn(self.known.systems), NameColumn(self.known.metrics)
        self._instances = NameColumn(self.known.instances)

    def read(self, text: bytes) -> tuple[Block, Ints, Ints]:
        """Whole lines without the header: the plain ones, their numbers from 0, and the numbers of the others."""
        lines = text.count(b"\n") + (not text.endswith(b"\n"))
        frame = self._frame(text, lines)
        if frame is None:
            return Block.nothing(), np.zeros(0, np.int64), np.arange(lines)
        value, is_reading = self._values(frame)
        system = _numbers_of(frame, self.layout.system, self._systems)
        metric = _numbers_of(frame, self.layout.metric, self._metrics)
        instance = self._instances_of(frame, lines)
        time = self._times(frame[str(self.layout.time)])
        plain = np.isfinite(value) & (time >= 0) & (system >= 0) & (metric >= 0) & (instance != NO_NAME)
        rows = np.flatnonzero(plain & is_reading)
        block = Block(system[rows], metric[rows], instance[rows], value[rows], time[rows])
        return block, rows, np.flatnonzero(~plain & is_reading)

    def _frame(self, text: bytes, lines: int) -> pl.DataFrame | None:
        layout = self.layout
        if b'"' in text or b"\r" in text or text.count(b",") != lines * (layout.width - 1):
            return None
        schema: dict[str, type[pl.DataType]] = {str(place): pl.String for place in range(layout.width)}
        schema[str(layout.value)] = pl.Float64
        wanted = {layout.time, layout.value, layout.system, layout.metric, layout.instance, layout.skip_if_empty}
        places = sorted(place for place in wanted if isinstance(place, int) and place >= 0)
        try:
            frame = pl.read_csv(text, has_header=False, schema=schema, columns=places, quote_char=None)
        except pl.exceptions.PolarsError:
            return None
        return frame if frame.height == lines else None

    def _values(self, frame: pl.DataFrame) -> tuple[Floats, Bools]:
        """Values, and which rows are readings at all: those with an empty one are not."""
        value = frame[str(self.layout.value)]
        is_reading = value.is_not_null().to_numpy()
        if self.layout.skip_if_empty >= 0:
            cell = frame[str(self.layout.skip_if_empty)]
            empty = cell.is_null() if cell.dtype.is_numeric() else cell.is_null() | (cell.str.strip_chars() == "")
            is_reading = is_reading & ~empty.to_numpy()
        return value.fill_null(np.nan).to_numpy(), is_reading

    def _instances_of(self, frame: pl.DataFrame, lines: int) -> Ints:
        if self.layout.instance < 0:
            return np.full(lines, -1, np.int64)
        cell = frame[str(self.layout.instance)]
        if cell.null_count() == lines:
            return np.full(lines, -1, np.int64)
        there = cell.is_not_null().to_numpy()
        return np.where(there, self._instances.numbers(cell), -1)

    def _times(self, texts: pl.Series) -> Ints:
        found = self._numbers(texts)
        if not self.layout.seconds:
            left = np.flatnonzero(found < 0)
            if len(left):
                found[left] = self._dates(texts.gather(left))
        return found

    def _numbers(self, texts: pl.Series) -> Ints:
        """Epoch times; negative where it is none, or not written in the plainest way."""
        first = texts.drop_nulls().head(1)
        if not len(first) or not first[0].isdigit():
            return np.full(len(texts), -1, np.int64)
        number = texts.cast(pl.Int64, strict=False)
        same = (number.cast(pl.String) == texts).fill_null(False).to_numpy()
        found = number.fill_null(-1).to_numpy() * (1000 if self.layout.seconds else 1)
        return np.where(same & (found >= 0) & (found <= MAX_EPOCH_MS), found, -1)

    def _dates(self, texts: pl.Series) -> Ints:
        """Minute, seconds and what follows them: each distinct one is read once, and they are added up."""
        if (rows := fixed_rows(texts)) is not None:
            return self._fixed(rows)
        rest = texts.str.slice(_SECOND)
        if rest.n_unique() * _MANY > len(texts) > _FEW:  # microseconds, say
            return parse_times(texts)
        total = self._each(texts.str.slice(0, _MINUTE), "") + self._each(rest, _SOME_SECOND)
        total += self._each(texts.str.slice(_MINUTE, _SECOND - _MINUTE), _SOME_MINUTE)
        return np.where((total < 0) | (total > MAX_EPOCH_MS), -1, total)

    def _fixed(self, rows: Bytes) -> Ints:
        """All in one of the commonest forms. Neighbours mostly share their minute, which is read once for them."""
        minutes = np.ascontiguousarray(rows[:, :_MINUTE]).view(np.uint64)
        starts = np.flatnonzero(np.append(True, (minutes[1:] != minutes[:-1]).any(axis=1)))
        read = [self._part("", bytes(rows[start, :_MINUTE]).decode("latin-1")) for start in starts.tolist()]
        total = np.repeat(np.array(read, np.int64), np.diff(np.append(starts, len(rows)))) + milliseconds(rows)
        return np.where((total < 0) | (total > MAX_EPOCH_MS), -1, total)

    def _each(self, texts: pl.Series, before: str) -> Ints:
        """What each text adds to the time that stands before it. _UNREAD where it is no part of a time."""
        distinct = texts.unique(maintain_order=True).drop_nulls()
        numbers = pl.Series([self._part(before, text) for text in distinct.to_list()], dtype=pl.Int64)
        if not len(distinct):
            return np.full(len(texts), _UNREAD, np.int64)
        return texts.replace_strict(distinct, numbers, default=_UNREAD, return_dtype=pl.Int64).to_numpy().copy()

    def _part(self, before: str, text: str) -> int:
        key = before + text
        if key not in self._parts:
            # A leap second is not the sum of its parts.
            fits = len(key) >= _MINUTE and key[13] == ":" and text != ":60"
            read = self.read_time(key) if fits else None
            base = self.read_time(before) if before else 0
            self._parts[key] = _UNREAD if read is None or base is None else read - base
        return self._parts[key]


_UNREAD = -(1 << 60)


def fixed_rows(texts: pl.Series) -> Bytes | None:
    """The texts as a table of bytes, when all are like `2026-11-23T10:00:00`, perhaps with `.123`, perhaps with `Z`."""
    length = texts.str.len_bytes()
    first = length.min()
    if texts.null_count() or first not in _FIXED or first != length.max():
        return None
    assert isinstance(first, int)
    return np.frombuffer(str(texts.str.join("").item()).encode(), np.uint8).reshape(-1, first)


def milliseconds(rows: Bytes) -> Ints:
    """What stands after the minute; _UNREAD where that is something else."""
    length = rows.shape[1]
    zulu = length in _ZULU
    last = length - zulu
    digits = [_SECOND - 2, _SECOND - 1, *range(_SECOND + 1, last)]
    number = {at: rows[:, at].astype(np.int64) - _ZERO for at in digits}
    good: Bools = rows[:, _MINUTE] == ord(":")
    for values in number.values():
        good &= (values >= 0) & (values <= 9)
    good &= number[_SECOND - 2] < 6  # a leap second is not the sum of its parts
    if zulu:
        good &= (rows[:, -1] == ord("Z")) | (rows[:, -1] == ord("z"))
    total = (number[_SECOND - 2] * 10 + number[_SECOND - 1]) * 1000
    if last > _SECOND:
        good &= rows[:, _SECOND] == ord(".")
        total += number[_SECOND + 1] * 100 + number[_SECOND + 2] * 10 + number[_SECOND + 3]
    return np.where(good, total, _UNREAD)


def _numbers_of(frame: pl.DataFrame, cell: int | str, names: NameColumn) -> Ints:
    if isinstance(cell, str):
        return np.full(frame.height, names.numbers(pl.Series([cell]))[0], np.int64)
    return names.numbers(frame[str(cell)])
