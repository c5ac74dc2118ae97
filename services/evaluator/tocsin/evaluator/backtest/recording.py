"""Readings that are already there, as columns, in the order in which they are judged."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from tocsin.evaluator.detector.columns import Floats, Ints

Tags = Mapping[str, str]
Tagged = tuple[int, Tags]
"""Tags as of a report's time."""


@dataclass(frozen=True)
class Block:
    """Some readings; names are the engine's numbers. `tags`: by row, of the report that begins there."""

    system: Ints
    metric: Ints
    instance: Ints  # -1: none
    value: Floats
    time: Ints  # epoch ms
    tags: Mapping[int, Tagged] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.time)

    @classmethod
    def nothing(cls) -> Block:
        none = np.zeros(0, np.int64)
        return cls(none, none, none, np.zeros(0), none)

    @classmethod
    def joined(cls, blocks: Sequence[Block]) -> Block:
        """One after the other."""
        if len(blocks) < 2:
            return blocks[0] if blocks else cls.nothing()
        tags: dict[int, Tagged] = {}
        first = 0
        for block in blocks:
            tags.update({first + row: found for row, found in block.tags.items()})
            first += len(block)
        return cls(
            np.concatenate([block.system for block in blocks]),
            np.concatenate([block.metric for block in blocks]),
            np.concatenate([block.instance for block in blocks]),
            np.concatenate([block.value for block in blocks]),
            np.concatenate([block.time for block in blocks]),
            tags,
        )

    def reordered(self, order: Ints) -> Block:
        """`order`: which row comes first, and so on. Rows that are not in it are left out."""
        tags: dict[int, Tagged] = {}
        if self.tags:
            place = np.full(len(self), -1, np.int64)
            place[order] = np.arange(len(order))
            tags = {int(place[row]): found for row, found in self.tags.items() if place[row] >= 0}
        return Block(
            self.system[order], self.metric[order], self.instance[order], self.value[order], self.time[order], tags
        )


@dataclass(frozen=True)
class Recording:
    """All readings of a run. `clock`: what time it is at each of them, never stepping back."""

    rows: Block
    clock: Ints

    def __len__(self) -> int:
        return len(self.rows)

    @classmethod
    def by_time(cls, blocks: Sequence[Block]) -> Recording:
        """Sorted by time; equal times keep the order of the blocks and of the rows in them."""
        rows = Block.joined(blocks)
        if len(rows) and bool((np.diff(rows.time) < 0).any()):
            rows = rows.reordered(np.argsort(rows.time, kind="stable"))
        return cls(rows, rows.time)

    @classmethod
    def as_it_came(cls, blocks: Sequence[Block]) -> Recording:
        """In the order they are given; now is the time of the newest reading so far."""
        rows = Block.joined(blocks)
        return cls(rows, np.maximum.accumulate(rows.time) if len(rows) else rows.time)

    @classmethod
    def by_arrival(cls, blocks: Sequence[Block], arrived: Ints, until: int | None = None) -> Recording:
        """In the order in which they arrived; equal ones keep theirs. `until`: without what arrived later."""
        order = np.argsort(arrived, kind="stable")
        if until is not None:
            order = order[: int(np.searchsorted(arrived[order], until, side="right"))]
        rows = Block.joined(blocks).reordered(order)
        return cls.as_it_came([rows])
