"""Readings as columns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from tocsin.evaluator.detector.names import Names

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Stances = NDArray[np.int32]


@dataclass(frozen=True)
class Known:
    """Names that can be read as numbers, or learned."""

    systems: Names
    metrics: Names
    instances: Names


@dataclass(frozen=True)
class Columns:
    """Readings in order of arrival."""

    message: Ints  # place of its message in the batch, ascending
    within: Ints  # place in its message
    system: Ints
    metric: Ints
    instance: Ints  # -1: none
    value: Floats
    time: Ints  # epoch ms

    def __len__(self) -> int:
        return len(self.message)

    def where(self, rows: Bools) -> Columns:
        return self if rows.all() else Columns(*(getattr(self, one.name)[rows] for one in fields(self)))

    @classmethod
    def nothing(cls) -> Columns:
        none = np.zeros(0, np.int64)
        return cls(none, none, none, none, none, np.zeros(0), none)

    @classmethod
    def merged(cls, parts: Sequence[Columns]) -> Columns:
        """Parts with different messages, brought into order."""
        filled = [part for part in parts if len(part)]
        if len(filled) < 2:
            return filled[0] if filled else cls.nothing()
        order = np.argsort(np.concatenate([part.message for part in filled]), kind="stable")
        return cls(*(np.concatenate([getattr(part, one.name) for part in filled])[order] for one in fields(cls)))
