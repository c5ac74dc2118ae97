"""Columns of plain text."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence

MAX_WIDTH = 60


def render_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Lines, the header in capitals; long cells are cut."""
    shown = [[_cell(cell) for cell in row] for row in rows]
    titles = [title.upper() for title in header]
    widths = [max(_width(row[column]) for row in [titles, *shown]) for column in range(len(titles))]
    for row in [titles, *shown]:
        padded = (cell + " " * (width - _width(cell)) for cell, width in zip(row, widths, strict=True))
        yield "  ".join(padded).rstrip()


def _cell(text: str) -> str:
    plain = "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in text)
    return plain if len(plain) <= MAX_WIDTH else plain[: MAX_WIDTH - 1] + "…"


def _width(text: str) -> int:
    """Columns on a terminal: East Asian letters take two, combining marks none."""
    return sum(
        0 if unicodedata.combining(letter) else 2 if unicodedata.east_asian_width(letter) in "WF" else 1
        for letter in text
    )
