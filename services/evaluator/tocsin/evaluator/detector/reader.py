"""From the messages of a batch to columns, the fast way: Polars reads the lines that are known to be plain."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import polars as pl

from tocsin.evaluator.detector.columns import Bools, Columns, Ints, Known
from tocsin.evaluator.detector.lines import Lines, join, plain, select
from tocsin.evaluator.detector.names import Names
from tocsin.evaluator.detector.proving import Frames, Vocabularies, prove
from tocsin.evaluator.detector.reports import can_part, part
from tocsin.shared.schemas.reading import MAX_NAME_BYTES

_MOST_SPLITS = 64
"""A line that is no JSON is found by halving. Beyond this many failures the rest of the batch goes the slow way."""

WORTH_ANOTHER_LOOK = 32
"""Lines left over before they are looked at for the other form of time, or for names to learn."""

DataType = pl.DataType | type[pl.DataType]
_Schema = dict[str, DataType]


@dataclass
class ColumnReader:
    """Reads batches; remembers which form of time came last, to try it first."""

    text_times: bool = False
    worth_another_look: int = WORTH_ANOTHER_LOOK
    _splits: int = field(default=0, init=False)

    def read(self, messages: list[bytes], known: Known) -> Columns:
        """What could be read; the messages that are missing in it have to go the slow way."""
        if not messages:
            return Columns.nothing()
        lines, which = join(messages)
        flat, reports = plain(lines)
        parts = []
        for kind, is_report in ((flat, False), (reports, True)):
            if kind.any():
                chosen = which[kind]
                its_lines = lines if kind.all() else select(messages, chosen)
                if is_report and not (fit := can_part(its_lines)).all():
                    chosen = chosen[fit]
                    its_lines = select(messages, chosen)
                parts.append(self._look(messages, its_lines, chosen, is_report, known))
        return Columns.merged(parts)

    def _look(self, messages: list[bytes], lines: Lines, which: Ints, reports: bool, known: Known) -> Columns:
        """Once; then, if much is left, with names learned from what is left; then for the other form of time."""
        found = self._read(lines, which, reports, known)
        left = _left(which, found)
        if len(left) >= self.worth_another_look and self._learn(select(messages, left), reports, known):
            found = Columns.merged([found, self._read(select(messages, left), left, reports, known)])
            left = _left(which, found)
        if len(left) >= self.worth_another_look:
            self.text_times = not self.text_times
            other = self._read(select(messages, left), left, reports, known)
            if len(other) <= len(found):
                self.text_times = not self.text_times
            found = Columns.merged([found, other])
        return found

    def _read(self, lines: Lines, which: Ints, reports: bool, known: Known) -> Columns:
        words = Vocabularies(known.systems.vocabulary, known.metrics.vocabulary, known.instances.vocabulary)
        if not len(lines) or not words.systems.size or not words.metrics.size:
            return Columns.nothing()
        names: _Schema = {"system": words.systems.enum, "metric": words.metrics.enum}
        if words.instances.size and b'"instance"' in lines.text:
            names["instance"] = words.instances.enum
        time: DataType = pl.String if self.text_times else pl.Int64
        rows, frames = self._frames(lines, names, time, reports, b'"unit"' in lines.text)
        if len(rows) < len(lines):
            lines = lines.at(rows)
        found = prove(lines, frames, words)
        return replace(found, message=which[rows][found.message])

    def _learn(self, lines: Lines, reports: bool, known: Known) -> bool:
        """Names of readings that are otherwise complete; whether there was a new one."""
        names: _Schema = {"system": pl.String, "metric": pl.String}
        if b'"instance"' in lines.text:
            names["instance"] = pl.String
        _, frames = self._frames(lines, names, pl.String, reports)  # as text any time can be read
        whole = frames.whole.filter(pl.col("time").is_not_null())
        readings = frames.readings.filter(pl.all_horizontal(pl.col("metric", "value").is_not_null()))
        learned = [_new(whole["system"], known.systems), _new(readings["metric"], known.metrics)]
        if "instance" in names:
            learned.append(_new(readings["instance"], known.instances))
        return any(learned)

    def _frames(
        self, lines: Lines, names: _Schema, time: DataType, reports: bool, units: bool = False
    ) -> tuple[Ints, Frames]:
        """Which lines are JSON, and what is in them."""
        reading: _Schema = {**names, "value": pl.Float64, "time": time}
        if units:
            reading["unit"] = pl.String
        if not reports:
            frame, rows = self._parse(lines.text, len(lines), reading)
            return rows, Frames(frame, frame, None)
        del reading["system"]
        apart = part(lines)
        whole_schema: _Schema = {"system": names["system"], "time": time, "readings": pl.List(pl.Int64)}
        whole, rows = self._parse(apart.whole, len(lines), whole_schema)
        readings, pieces = self._parse(apart.readings, int(apart.count.sum()), reading)
        # A line with a piece that is no JSON is none either.
        line = np.repeat(np.arange(len(lines)), apart.count)
        found = np.bincount(line[pieces], minlength=len(lines)) == apart.count
        whole = whole.filter(found[rows])
        rows = rows[found[rows]]
        readings = readings.filter(np.isin(line[pieces], rows))
        return rows, Frames(whole, readings, apart.count[rows])

    def _parse(self, text: bytes, lines: int, schema: _Schema) -> tuple[pl.DataFrame, Ints]:
        """The lines that are JSON, and which they are."""
        self._splits = 0
        return self._halves(text, np.arange(lines), schema)

    def _halves(self, text: bytes, rows: Ints, schema: _Schema) -> tuple[pl.DataFrame, Ints]:
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
            self._halves(b"\n".join(messages[:half]), rows[:half], schema),
            self._halves(b"\n".join(messages[half:]), rows[half:], schema),
        ]
        return pl.concat([frame for frame, _ in parts]), np.concatenate([kept for _, kept in parts])


def _new(column: pl.Series, into: Names) -> bool:
    names = column.drop_nulls().unique(maintain_order=True)
    size = names.str.len_bytes()
    fitting = names.filter((size > 0) & (size <= MAX_NAME_BYTES))
    return into.learn(name for name in fitting.to_list() if name not in into.numbers)


def _left(which: Ints, found: Columns) -> Ints:
    read: Bools = np.isin(which, found.message, assume_unique=False) if len(found) else np.zeros(len(which), np.bool_)
    return which[~read]
