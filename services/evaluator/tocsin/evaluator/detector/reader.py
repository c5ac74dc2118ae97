"""From the messages of a batch to columns, the fast way: the compiled scanner, and the names it has not met before."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from tocsin.evaluator.detector.columns import Columns, Ints, Known
from tocsin.evaluator.detector.name_table import NameTable
from tocsin.evaluator.detector.names import Names
from tocsin.evaluator.detector.scan_messages import (
    C_HARD,
    C_HARD_AT,
    C_INSTANCE,
    C_MESSAGE,
    C_METRIC,
    C_SYSTEM,
    C_TIME,
    C_VALUE,
    C_WITHIN,
    LEFT,
    PLAIN,
    UNKNOWN,
)
from tocsin.evaluator.detector.scanning import Scanned, Texts, scan

_SHORTEST_PART = len('{"metric":"m","value":1}')
_ROOM_FOR_NAMES = 1 << 16


@dataclass
class ColumnReader:
    """Of one thread: keeps its own tables of the names."""

    _tables: list[tuple[Names, NameTable]] = field(default_factory=list)

    def read(self, texts: Texts, ahead: int, known: Known) -> tuple[Columns, Ints, int]:
        """The readings of the plain messages; the messages left to the slow way; how many readings were ahead.

        `ahead`: milliseconds a reading may be before its arrival; further ones are given the time of their arrival.
        """
        first = self._scan(texts, np.arange(len(texts)), ahead, known)
        columns, ahead_of = _columns(texts, first), first.ahead
        scanned = first
        before = len(texts) + 1
        # More than once when there is no room for all the names of a batch that nothing is known of.
        while before > len(again := np.flatnonzero(first.verdict == UNKNOWN)) > 0 and _learn(texts, scanned, known):
            before = len(again)
            scanned = self._scan(texts, again, ahead, known)
            columns, ahead_of = Columns.merged([columns, _columns(texts, scanned)]), ahead_of + scanned.ahead
            first.verdict[again] = scanned.verdict[again]
        return columns, np.flatnonzero(first.verdict != PLAIN), ahead_of

    def _scan(self, texts: Texts, which: Ints, ahead: int, known: Known) -> Scanned:
        kinds = (known.systems, known.metrics, known.instances)
        if [id(names) for names, _ in self._tables] != [id(names) for names in kinds]:
            # After a rebalance another engine has given the names other numbers.
            self._tables = [(names, NameTable()) for names in kinds]
        for names, table in self._tables:
            table.follow(names)
        sizes = np.maximum(texts.places[Texts.VALUE_SIZE][which], 0)
        room = int(sizes.sum()) // _SHORTEST_PART + len(which) + 1
        tables = np.concatenate([table.fields for _, table in self._tables])
        return scan(texts, which, ahead, tables, (room, _ROOM_FOR_NAMES))


def _learn(texts: Texts, scanned: Scanned, known: Known) -> bool:
    """Names of messages that are plain but for them; whether there was one."""
    kinds = (known.systems, known.metrics, known.instances)
    learned = False
    for kind, name in dict.fromkeys((kind, texts.part(at, size)) for kind, at, size in scanned.unknown.tolist()):
        try:
            kinds[kind].add(name.decode())
            learned = True
        except UnicodeDecodeError:
            pass  # the slow way says so
    return learned


def _columns(texts: Texts, scanned: Scanned) -> Columns:
    found = scanned.columns
    message, within, system, metric, instance = (
        found[at] for at in (C_MESSAGE, C_WITHIN, C_SYSTEM, C_METRIC, C_INSTANCE)
    )
    columns = Columns(message, within, system, metric, instance, found[C_VALUE].view(np.float64), found[C_TIME])
    hard = np.flatnonzero(found[C_HARD])
    return columns if not len(hard) else _with_hard_numbers(texts, columns, hard, scanned)


def _with_hard_numbers(texts: Texts, columns: Columns, hard: Ints, scanned: Scanned) -> Columns:
    """Numbers of many digits or a large exponent, as Python reads them."""
    places = scanned.columns[C_HARD_AT][hard].tolist(), scanned.columns[C_HARD][hard].tolist()
    columns.value[hard] = [float(texts.part(at, size)) for at, size in zip(*places, strict=True)]
    endless = columns.message[hard[np.isinf(columns.value[hard])]]
    if not len(endless):
        return columns
    scanned.verdict[endless] = LEFT
    return columns.where(~np.isin(columns.message, endless))
