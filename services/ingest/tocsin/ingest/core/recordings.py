"""Recorded readings: CSV rows and NDJSON lines. Pure: lines come in, recorded readings or flaws go out."""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from tocsin.shared.errors import UsageError
from tocsin.shared.readings import GoodReading, Reason, Rejection, check, check_fields

_ZONE = re.compile(r"([Zz]|[+-]\d{2}:\d{2})$", re.ASCII)
_DAY = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
_MINUTE = re.compile(r"\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}", re.ASCII)
_INTEGER = re.compile(r"-?\d{1,18}", re.ASCII)
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_WORDS = {"true": True, "false": False}
_MAX_CELL = 1 << 20
_LONGEST_SECONDS = 30
"""Characters: no time that exists is longer, and longer ones would overflow."""

TimeUnit = Literal["ms", "s"]


@dataclass(frozen=True, slots=True)
class Recorded:
    """One message to be: a reading, or a report (`is_report`) with its time."""

    time: int  # epoch ms
    good: tuple[GoodReading, ...]
    is_report: bool
    line: int = field(default=0, compare=False)  # in its file


@dataclass(frozen=True, slots=True)
class Flaw:
    """A line, or a part of it, that is no reading."""

    line: int
    rejection: Rejection

    def __str__(self) -> str:
        place = "" if self.rejection.index is None else f"reading {self.rejection.index}: "
        field = "" if self.rejection.field is None else f"{self.rejection.field}: "
        return f"{place}{field}{self.rejection.detail} ({self.rejection.reason})"


@dataclass(frozen=True, slots=True)
class Columns:
    """How to read a CSV file that is not ours. None: from the column of that name."""

    system: str | None = None
    metric: str | None = None
    time_column: str | None = None
    value_column: str | None = None
    skip_if_empty: str | None = None
    time_unit: TimeUnit = "ms"

    def of_file(self, name: str) -> Columns:
        """`{file}` in the system stands for the file's name."""
        return self if self.system is None else replace(self, system=self.system.replace("{file}", name))


@dataclass(frozen=True, slots=True)
class CsvPlan:
    """Which cell is what. A negative index: none."""

    width: int
    time: int
    value: int
    system: int
    metric: int
    instance: int
    skip_if_empty: int


def parse_ndjson(lines: Iterable[bytes]) -> Iterator[Recorded | Flaw]:
    """Readings and reports in their wire form, one a line; empty lines are passed over."""
    for number, line in enumerate(lines, start=1):
        text = line.strip(b" \t\r\n")
        if not text:
            continue
        checked = check(text)
        for rejection in checked.rejected:
            yield Flaw(number, rejection)
        if checked.good:
            is_report = checked.report_time is not None
            time = checked.good[0].time if checked.report_time is None else checked.report_time
            yield Recorded(time, tuple(checked.good), is_report, number)


def parse_csv(lines: Iterable[str], columns: Columns) -> Iterator[Recorded | Flaw]:
    """A header, then a reading a row. A row whose value is empty is no reading, and no flaw.

    Raises UsageError when the header has no column that is needed, with the option that helps.
    """
    csv.field_size_limit(_MAX_CELL)
    numbered = enumerate(lines, 1)
    try:
        first = next((line for _, line in numbered), None)
        if first is not None and first.lstrip().startswith("["):
            raise UsageError("it holds a JSON array; one object a line is needed: `jq -c '.[]'` makes that of it")
        header = None if first is None else _cells(first)
    except csv.Error as error:
        raise UsageError(f"the header is not CSV: {error}") from None
    if header is None:
        return
    plan = plan_csv(header, columns)
    for line, text in numbered:
        try:
            row = _cells(text)
        except csv.Error as error:
            yield Flaw(line, Rejection(None, None, Reason.INVALID, f"not CSV: {error}"))
            continue
        if not row or _is_no_reading(row, plan):
            continue
        yield _row(row, line, plan, columns)


def _cells(line: str) -> list[str]:
    """Each line on its own: no name has a line break in it, and a stray quote must not swallow the lines after it."""
    return next(csv.reader((line,), strict=True), [])


def plan_csv(header: Sequence[str], columns: Columns) -> CsvPlan:
    """Raises UsageError when a column that is needed is not in the header, or twice, with the way out."""
    cleaned = [name.strip().casefold() for name in header]

    def find(*names: str) -> int:
        found = next((name.casefold() for name in names if name.casefold() in cleaned), None)
        if found is None:
            return -1
        if cleaned.count(found) > 1:
            raise UsageError(f"the header names {found!r} twice; which of the columns is meant? Rename one of them")
        return cleaned.index(found)

    def need(option: str, *names: str) -> int:
        if (place := find(*names)) >= 0:
            return place
        if len(header) == 1 and (other := next((one for one in ";\t|" if one in header[0]), None)):
            raise UsageError(f"its columns are separated by {other!r}; a comma is needed")
        seen = ", ".join(name.strip()[:40] for name in header[:20])
        raise UsageError(f"no column `{names[0]}` in the header ({seen}); name it with {option}")

    return CsvPlan(
        width=len(header),
        time=need("--time-column", *([columns.time_column] if columns.time_column else ["time", "timestamp"])),
        value=need("--value-column", columns.value_column or "value"),
        system=-1 if columns.system else need("--system", "system"),
        metric=-1 if columns.metric else need("--metric", "metric"),
        instance=find("instance"),
        skip_if_empty=need("--skip-if-empty", columns.skip_if_empty) if columns.skip_if_empty else -1,
    )


def _is_no_reading(row: Sequence[str], plan: CsvPlan) -> bool:
    return any(0 <= place < len(row) and not row[place].strip() for place in (plan.value, plan.skip_if_empty))


def _row(row: Sequence[str], line: int, plan: CsvPlan, columns: Columns) -> Recorded | Flaw:
    if len(row) > plan.width or len(row) <= max(plan.time, plan.value, plan.system, plan.metric):
        detail = f"{len(row)} cells where the header has {plan.width}"
        return Flaw(line, Rejection(None, None, Reason.INVALID, detail))
    instance = row[plan.instance] if 0 <= plan.instance < len(row) else ""
    fields = {
        "system": columns.system or row[plan.system],
        "metric": columns.metric or row[plan.metric],
        "value": parse_value(row[plan.value]),
        "time": parse_time(row[plan.time], columns.time_unit),
        "instance": instance or None,
    }
    found = check_fields(fields)
    if isinstance(found, Rejection):
        return Flaw(line, found)
    return Recorded(found.time, (found,), is_report=False, line=line)


def parse_value(text: str) -> Any:
    """A number, true or false; anything else comes back as it is, for the checker to refuse."""
    text = text.strip()
    if _NUMBER.fullmatch(text):
        return float(text)
    if text.casefold() in ("nan", "inf", "-inf", "infinity", "-infinity"):
        return float(text)
    return _WORDS.get(text.casefold(), text)


def parse_time(text: str, unit: TimeUnit = "ms") -> Any:
    """As the wire has it. Without a zone it is UTC; a day alone is its midnight; digits alone are epoch time."""
    text = text.strip()
    if _INTEGER.fullmatch(text):
        return int(text) * (1000 if unit == "s" else 1)
    if unit == "s" and _NUMBER.fullmatch(text):
        milliseconds = float(text) * 1000
        return round(milliseconds) if len(text) < _LONGEST_SECONDS and math.isfinite(milliseconds) else text
    if _DAY.fullmatch(text):
        return text + "T00:00:00Z"
    if _MINUTE.fullmatch(text):
        return text + ":00Z"
    return text + "Z" if _MINUTE.match(text) and not _ZONE.search(text) else text
