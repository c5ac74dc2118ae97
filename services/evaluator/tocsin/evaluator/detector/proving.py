"""The proof that nothing but what was read stands in a line.

Polars is no judge of readings: it takes the first of two fields of one name, calls the number 5 the text "5", and
passes over fields it does not know. So a line counts only if:

1. What was read is complete: system, time, and of each reading metric and value. Names are known ones. A numeric column
   takes no text, so values, and times read as numbers, are no texts.
2. It has as many braces as it has objects: one, and for a report one more a reading.
3. Each field has one colon of its own, and the colons inside texts are known: with no colon left over, there is no
   further field and none twice.
4. Every quote belongs to a field's name or to a text, two each: with the fields known, as many quotes as the names,
   texts of time and units need prove that they are texts.

No line can have fewer braces or colons than what was read of it; and no line with the right colons can have more
quotes. So where the sums over all lines agree, each line does, and nobody has to count line by line.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from tocsin.evaluator.detector.columns import Bools, Columns, Floats, Ints
from tocsin.evaluator.detector.lines import Lines, with_braces
from tocsin.evaluator.detector.names import Vocabulary
from tocsin.evaluator.detector.rfc3339 import NOT_PLAIN, parse_times
from tocsin.shared.schemas.reading import MAX_NAME_BYTES
from tocsin.shared.times import MAX_EPOCH_MS

_COLON, _QUOTE = ord(":"), ord('"')


@dataclass(frozen=True)
class Vocabularies:
    """Of one look at a batch."""

    systems: Vocabulary
    metrics: Vocabulary
    instances: Vocabulary


@dataclass(frozen=True)
class Texts:
    """A column of optional texts: which are there, and their colons."""

    there: Bools
    colons: Ints

    @classmethod
    def of(cls, column: pl.Series | None, rows: int) -> Texts:
        if column is None:
            return cls(np.zeros(rows, np.bool_), np.zeros(rows, np.int64))
        colons = column.str.count_matches(":", literal=True).fill_null(0).cast(pl.Int64).to_numpy()
        return cls(column.is_not_null().to_numpy(), colons)


@dataclass(frozen=True)
class Times:
    """A column of times, epoch ms, NOT_PLAIN where there is none, and what their texts hold."""

    ms: Ints
    texts: Texts

    @classmethod
    def of(cls, column: pl.Series | None, rows: int) -> Times:
        if column is None:
            return cls(np.full(rows, NOT_PLAIN, np.int64), Texts.of(None, rows))
        if column.dtype == pl.String:
            return cls(parse_times(column), Texts.of(column, rows))
        return cls(column.fill_null(NOT_PLAIN).to_numpy(), Texts.of(None, rows))


@dataclass(frozen=True)
class Frames:
    """What was read: a row a line, a row a reading. The same for lines that hold one reading each."""

    whole: pl.DataFrame
    readings: pl.DataFrame
    count: Ints | None  # of readings, by line; None: one each, which are no reports


def prove(lines: Lines, frames: Frames, known: Vocabularies) -> Columns:
    """The readings of the lines that hold nothing else; `message` is the line."""
    reports = frames.count is not None
    count = np.ones(len(lines), np.int64) if frames.count is None else frames.count
    frame, part = frames.whole, frames.readings
    line = np.repeat(np.arange(len(lines)), count)
    rows = len(line)
    systems, times = _codes(frame["system"]), Times.of(frame["time"], len(lines))
    own = Times.of(part["time"], rows) if reports else Times.of(None, rows)
    with_own = part["time"].is_not_null().to_numpy() if reports else np.zeros(rows, np.bool_)
    metric, value = _codes(part["metric"]), part["value"].fill_null(np.nan).to_numpy()
    instance = _codes(part["instance"]) if "instance" in part.columns else np.full(rows, -1, np.int64)
    unit = part["unit"] if "unit" in part.columns else None
    units = Texts.of(unit, rows)
    time = np.where(with_own, own.ms, times.ms[line])

    good = (metric >= 0) & np.isfinite(value) & (time >= 0) & (time <= MAX_EPOCH_MS)
    if unit is not None:
        good &= (unit.str.len_bytes().fill_null(0) <= MAX_NAME_BYTES).to_numpy()
    complete = (systems >= 0) & (times.ms >= 0) & (count > 0)
    if reports:
        complete &= frame["readings"].is_not_null().to_numpy()
    complete &= np.bincount(line, ~good, minlength=len(lines)) == 0

    there = (instance >= 0).astype(np.int64)
    fields = 2 + there + units.there + with_own
    texts = 1 + there + units.there + (with_own & own.texts.there)
    colons = units.colons + own.texts.colons + known.metrics.colons[metric]
    if there.any():
        colons = colons + np.where(there > 0, known.instances.colons[instance], 0)
    line_fields = (3 if reports else 2) + _sum(line, fields, len(lines))
    line_texts = 1 + times.texts.there + _sum(line, texts, len(lines))
    line_colons = line_fields + times.texts.colons + known.systems.colons[systems] + _sum(line, colons, len(lines))
    proven = complete & _as_counted(lines, complete, frames.count, line_colons, line_fields + line_texts)

    within = np.arange(rows) - np.repeat(np.cumsum(count) - count, count)
    return Columns(line, within, systems[line], metric, instance, _floats(value), time).where(proven[line])


def _as_counted(lines: Lines, complete: Bools, readings: Ints | None, colons: Ints, pairs: Ints) -> Bools:
    """Which lines have exactly this many pairs of braces, colons and pairs of quotes."""
    braces = with_braces(lines, 1 + readings) if readings is not None else np.ones(len(lines), np.bool_)
    if complete.all() and lines.total(_COLON) == int(colons.sum()):
        if lines.total(_QUOTE) == 2 * int(pairs.sum()):
            return braces
        return np.asarray(braces & (lines.per_line(_QUOTE) == 2 * pairs))
    return np.asarray(braces & (lines.per_line(_COLON) == colons) & (lines.per_line(_QUOTE) == 2 * pairs))


def _sum(line: Ints, numbers: Ints, lines: int) -> Ints:
    return numbers if len(line) == lines else np.bincount(line, numbers, minlength=lines).astype(np.int64)


def _codes(names: pl.Series) -> Ints:
    """The numbers of an enumeration's names; -1: not one of them."""
    return names.to_physical().cast(pl.Int64).fill_null(-1).to_numpy()


def _floats(value: Floats) -> Floats:
    return value.astype(np.float64, copy=False)
