"""Compile what is compiled, or load it, before the first reading waits for it.

The set-up runs this as a module: seconds once. A detector does it when it starts: a quarter of a second.
"""

from __future__ import annotations

import numpy as np

from tocsin.evaluator.detector.advancing import warm_advancing
from tocsin.evaluator.detector.columns import Known
from tocsin.evaluator.detector.intake import compile_intake
from tocsin.evaluator.detector.locating import warm_locating
from tocsin.evaluator.detector.names import Names
from tocsin.evaluator.detector.reader import ColumnReader
from tocsin.evaluator.detector.scanning import Texts


def warm() -> None:
    """Takes a report of one reading through everything."""
    reader, known = ColumnReader(), Known(Names(), Names(), Names())
    line = b'{"system":"a","time":0,"readings":[{"metric":"b","value":1}]}'
    columns, _, _ = reader.read(Texts.of_lines([line]), 0, known)
    assert np.array_equal(columns.value, [1.0])
    compile_intake()
    warm_advancing()
    warm_locating()


if __name__ == "__main__":
    warm()
