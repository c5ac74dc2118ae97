"""From the messages of a batch to columns, the fast way: Polars reads the lines that are known to be plain.

Polars is no judge of readings: it takes the first of two fields of one name, calls the number 5 the text "5", and
knows no unknown fields. So a row counts only if nothing else than what was read can stand in its line:

1. The columns hold system, metric, value and time: these four fields are there, and with an instance a fifth. Names
   are known ones. A numeric column takes no text, so value and time (as a number) are not texts.
2. Each field has one colon of its own, and the names' colons are known: with no colon left over, there is no further
   field and none twice.
3. Every quote belongs to a field's name or to a text, two each: with the fields known, as many quotes as system,
   metric and instance need if they are texts prove that they are texts.

What fails goes the slow way, which decides alone. A test shows both to poisoned batches and compares.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import polars as pl

from tocsin.evaluator.detector.lines import Bools, Ints, Lines, flat, join, select
from tocsin.evaluator.detector.names import Vocabulary
from tocsin.evaluator.detector.rfc3339 import NOT_PLAIN, parse_times
from tocsin.evaluator.detector.tables import Floats
from tocsin.shared.times import MAX_EPOCH_MS

_COLON, _QUOTE = ord(":"), ord('"')
_FIELDS = 4  # system, metric, value, time
_NUMBER_TIME_QUOTES = 2 * (_FIELDS + 2)
_TEXT_TIME_QUOTES = 2 * (_FIELDS + 3)
_INSTANCE_QUOTES = 4

_MOST_SPLITS = 64
"""A line that is no JSON is found by halving. Beyond this many failures the rest of the batch goes the slow way."""

_WORTH_A_SECOND_LOOK = 32
"""Lines left over after the first look before they are looked at for the other form of time."""


@dataclass(frozen=True)
class Known:
    """The names that can be read as numbers."""

    systems: Vocabulary
    metrics: Vocabulary
    instances: Vocabulary


@dataclass(frozen=True)
class Columns:
    """Readings; `message` is the place of each one's message in the batch, ascending."""

    message: Ints
    system: Ints
    metric: Ints
    instance: Ints  # -1: none
    value: Floats
    time: Ints  # epoch ms

    def where(self, rows: Bools) -> Columns:
        return Columns(*(getattr(self, name)[rows] for name in self.__dataclass_fields__))


def nothing() -> Columns:
    none = np.zeros(0, np.int64)
    return Columns(none, none, none, none, np.zeros(0), none)


@dataclass
class ColumnReader:
    """Reads batches; remembers which form of time came last, to try it first."""

    text_times: bool = False
    _splits: int = field(default=0, init=False)

    def read(self, messages: list[bytes], known: Known) -> Columns:
        """What could be read; the messages that are missing in it have to go the slow way."""
        if not messages or not known.systems.size or not known.metrics.size:
            return nothing()
        lines, which = join(messages)
        plain = flat(lines)
        if not plain.all():
            which = which[plain]
            lines = select(messages, which)
        first = self._read(lines, which, known)
        left = np.setdiff1d(which, first.message, assume_unique=True) if len(first.message) < len(which) else which[:0]
        if len(left) < _WORTH_A_SECOND_LOOK:
            return first
        self.text_times = not self.text_times
        second = self._read(select(messages, left), left, known)
        if len(second.message) < len(first.message):
            self.text_times = not self.text_times
        return _merged(first, second)

    def _read(self, lines: Lines, which: Ints, known: Known) -> Columns:
        self._splits = 0
        if not len(lines):
            return nothing()
        frame, rows = self._parse(lines.text, np.arange(len(lines)), known, b'"instance"' in lines.text)
        return self._prove(frame, rows, lines, which, known)

    def _parse(self, text: bytes, rows: Ints, known: Known, instances: bool) -> tuple[pl.DataFrame, Ints]:
        """The lines that are JSON, and which they are."""
        schema: dict[str, pl.DataType | type[pl.DataType]] = {
            "system": known.systems.enum,
            "metric": known.metrics.enum,
            "value": pl.Float64,
            "time": pl.String if self.text_times else pl.Int64,
        }
        if instances and known.instances.size:
            schema["instance"] = known.instances.enum
        try:
            # Errors ignored are nulls in place of what has the wrong type; what is no JSON still raises.
            frame = pl.read_ndjson(text, schema=schema, ignore_errors=True)
            if frame.height == len(rows):
                return frame, rows
        except pl.exceptions.PolarsError:
            pass
        self._splits += 1
        if len(rows) == 1 or self._splits > _MOST_SPLITS:
            return pl.DataFrame(schema=schema), rows[:0]
        messages = text.split(b"\n")
        half = len(rows) // 2
        parts = [
            self._parse(b"\n".join(messages[:half]), rows[:half], known, instances),
            self._parse(b"\n".join(messages[half:]), rows[half:], known, instances),
        ]
        return pl.concat([frame for frame, _ in parts]), np.concatenate([kept for _, kept in parts])

    def _prove(self, frame: pl.DataFrame, rows: Ints, lines: Lines, which: Ints, known: Known) -> Columns:
        system, metric, value = _codes(frame["system"]), _codes(frame["metric"]), frame["value"]
        numbers = value.fill_null(np.nan).to_numpy()
        if self.text_times:
            times = parse_times(frame["time"])
            time_colons = frame["time"].str.count_matches(":", literal=True).fill_null(0).to_numpy().astype(np.int64)
        else:
            times = frame["time"].fill_null(NOT_PLAIN).to_numpy()
            time_colons = np.zeros(len(rows), np.int64)
        instance = _codes(frame["instance"]) if "instance" in frame.columns else np.full(len(rows), -1, np.int64)
        good = (system >= 0) & (metric >= 0) & np.isfinite(numbers) & (times >= 0) & (times <= MAX_EPOCH_MS)
        found = Columns(which[rows], system, metric, instance, numbers, times)
        if not good.all():
            found, rows, time_colons = found.where(good), rows[good], time_colons[good]
        with_instance = found.instance >= 0
        colons = _FIELDS + with_instance + time_colons
        colons += known.systems.colons[found.system] + known.metrics.colons[found.metric]
        if with_instance.any():
            colons += np.where(with_instance, known.instances.colons[found.instance], 0)
        quotes = (_TEXT_TIME_QUOTES if self.text_times else _NUMBER_TIME_QUOTES) + _INSTANCE_QUOTES * with_instance
        proven = _counted(lines, rows, colons, quotes)
        return found if proven.all() else found.where(proven)


def _counted(lines: Lines, rows: Ints, colons: Ints, quotes: Ints) -> Bools:
    """Which lines have exactly this many colons and quotes.

    No line can have fewer colons; so if the sums over all lines agree, each line does. And no line with the right
    colons can have more quotes; so the same goes for them then.
    """
    if len(rows) == len(lines) and lines.total(_COLON) == int(colons.sum()):
        if lines.total(_QUOTE) == int(quotes.sum()):
            return np.ones(len(rows), np.bool_)
        return np.asarray(lines.per_line(_QUOTE)[rows] == quotes)
    return np.asarray((lines.per_line(_COLON)[rows] == colons) & (lines.per_line(_QUOTE)[rows] == quotes))


def _codes(names: pl.Series) -> Ints:
    """The numbers of an enumeration's names; -1: not one of them."""
    return names.to_physical().cast(pl.Int64).fill_null(-1).to_numpy()


def _merged(first: Columns, second: Columns) -> Columns:
    if not len(second.message):
        return first
    order = np.argsort(np.concatenate([first.message, second.message]), kind="stable")
    return Columns(
        *(np.concatenate([getattr(first, name), getattr(second, name)])[order] for name in first.__dataclass_fields__)
    )
