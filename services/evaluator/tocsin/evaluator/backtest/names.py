"""A column of names as numbers."""

from __future__ import annotations

import numpy as np
import polars as pl

from tocsin.evaluator.detector.columns import Ints
from tocsin.evaluator.detector.names import Names
from tocsin.shared.schemas.reading import MAX_NAME_BYTES

NO_NAME = -2
"""Where a text cannot be a name: nothing, or too long. (-1 is an instance that is not there.)"""


class NameColumn:
    """Of one file. What has been met is looked up by Polars, all at once; what is new is added to the names."""

    def __init__(self, names: Names) -> None:
        self._names = names
        self._texts = pl.Series([], dtype=pl.String)
        self._numbers = np.zeros(0, np.int64)
        self._enum = pl.Enum([])

    def numbers(self, texts: pl.Series) -> Ints:
        """NO_NAME where the text is no name."""
        found = texts.cast(self._enum, strict=False).to_physical()
        if found.null_count() > texts.null_count():
            self._learn(texts.filter(found.is_null()).drop_nulls().unique(maintain_order=True))
            found = texts.cast(self._enum, strict=False).to_physical()
        places = found.cast(pl.Int64).fill_null(len(self._numbers)).to_numpy()
        numbers: Ints = np.append(self._numbers, NO_NAME)[places]
        return numbers

    def _learn(self, texts: pl.Series) -> None:
        fits = [0 < len(text.encode()) <= MAX_NAME_BYTES for text in texts.to_list()]
        numbers = [self._names.add(text) if fit else NO_NAME for text, fit in zip(texts.to_list(), fits, strict=True)]
        self._texts = pl.concat([self._texts, texts])
        self._numbers = np.concatenate([self._numbers, np.array(numbers, np.int64)])
        self._enum = pl.Enum(self._texts)
