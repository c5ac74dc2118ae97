"""Names as numbers: systems, metrics, instances, in order of first appearance.

A Polars enumeration of the names lets the parser turn text into numbers while it reads. It is immutable: the parsing
thread may use an older one while names are added. A name missing in it takes the slow way.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

_NEVER_PLAIN = frozenset('{}["\\')
"""Whoever counts these characters to prove that a line is plain must not meet them inside a name."""

_REBUILT_AT = 20
"""The enumeration is made anew when a twentieth of the names is missing in it: what is missing costs more than that."""


def is_plain(name: str) -> bool:
    """Whether the name may stand in a line that is read the fast way."""
    return _NEVER_PLAIN.isdisjoint(name) and name.isprintable()


@dataclass(frozen=True)
class Vocabulary:
    """An immutable view of some names."""

    enum: pl.Enum
    names: pl.Series  # by number, as they stand in the enumeration
    colons: NDArray[np.int64]  # how many colons each name has

    @property
    def size(self) -> int:
        return len(self.colons)

    @classmethod
    def of(cls, names: list[str], colons: list[int]) -> Vocabulary:
        series = pl.Series(names, dtype=pl.String)
        return cls(pl.Enum(series), series, np.array(colons, np.int64))


class Names:
    """Growing; numbers never change. The parsing thread and the worker both add to it."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.numbers: dict[str, int] = {}
        self._plain: list[str] = []
        self._colons: list[int] = []
        self._lock = threading.Lock()
        self.vocabulary = Vocabulary.of([], [])

    def __len__(self) -> int:
        return len(self.names)

    def add(self, name: str) -> int:
        """The name's number, a new one if need be."""
        number = self.numbers.get(name)
        if number is None:
            with self._lock:
                number = self.numbers.get(name)
                if number is None:
                    number = self._add(name)
        return number

    def _add(self, name: str) -> int:
        number = len(self.names)
        # Not in any JSON text unescaped, so nothing is ever read as this.
        self._plain.append(name if is_plain(name) else f"\x00{number}")
        self._colons.append(name.count(":"))
        self.names.append(name)
        self.numbers[name] = number  # last: whoever finds it here finds it everywhere
        return number

    def refresh(self, now: bool = False) -> None:
        """Let the vocabulary catch up when that is worth it."""
        with self._lock:
            missing = len(self.names) - self.vocabulary.size
            if missing and (now or missing * _REBUILT_AT > self.vocabulary.size):
                self.vocabulary = Vocabulary.of(self._plain, self._colons)

    def learn(self, names: Iterable[str]) -> bool:
        """Add what is plain, at once for everybody; whether any of it was new to the vocabulary."""
        before = self.vocabulary.size
        for name in names:
            if is_plain(name):
                self.add(name)
        self.refresh(now=True)
        return self.vocabulary.size > before
