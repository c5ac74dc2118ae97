"""Reports taken apart: the list of readings out of each line, so that both are read as plain lines.

`{"system":"a","time":1,"readings":[{…},{…}]}` is `{"system":"a","time":1,"readings":[]}` and two lines `{…}`. Polars
reads that more than twice as fast as lists of objects. A separator inside a text (`},{`) leaves pieces that are no
JSON; whatever else a cut could spoil, the counts of the whole line do not agree then (proving.py).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tocsin.evaluator.detector.columns import Bools, Ints
from tocsin.evaluator.detector.lines import Bytes, Lines

_OPEN, _CLOSE, _COMMA, _SPACE, _LIST, _LIST_END, _NEWLINE = (ord(letter) for letter in "{}, []\n")


@dataclass(frozen=True)
class Apart:
    """Lines without their readings, and the readings, a line each."""

    whole: bytes
    readings: bytes
    count: Ints  # of readings, by line


def can_part(lines: Lines) -> Bools:
    """Which lines end with their list of readings, and have nothing but objects in it. Each has one `[`."""
    letters, last = lines.bytes, np.maximum(lines.ends - 2, 0)
    lists = np.flatnonzero(letters == _LIST)
    good = (letters[last] == _LIST_END) & (letters[lists + 1] == _OPEN) & (letters[np.maximum(last - 1, 0)] == _CLOSE)
    places, line = _objects(lines)
    inner = places > lists[line] + 1
    odd = ~(_after_comma(letters, places) | _after_space(letters, places))
    return np.asarray(good & (np.bincount(line[inner & odd], minlength=len(lines)) == 0))


def part(lines: Lines) -> Apart:
    """Lines that can be parted."""
    letters = lines.bytes
    lists = np.flatnonzero(letters == _LIST)
    places, line = _objects(lines)
    inner = places > lists[line]
    count = np.bincount(line[inner], minlength=len(lines))
    following = places[places > lists[line] + 1]
    cut = letters.copy()
    cut[np.where(_after_comma(letters, following), following - 1, following - 2)] = _NEWLINE
    text = cut.tobytes()
    bounds = list(zip(lines.starts.tolist(), (lists + 1).tolist(), (lines.ends - 2).tolist(), strict=True))
    whole = b"\n".join([text[start:first] + b"]}" for start, first, _ in bounds])
    return Apart(whole, b"\n".join([text[first:end] for _, first, end in bounds]), count)


def _objects(lines: Lines) -> tuple[Ints, Ints]:
    """Where objects begin, and in which lines."""
    places = np.flatnonzero(lines.bytes == _OPEN)
    return places, np.searchsorted(lines.ends, places)


def _after_comma(letters: Bytes, places: Ints) -> Bools:
    return np.asarray((letters[places - 1] == _COMMA) & (letters[places - 2] == _CLOSE))


def _after_space(letters: Bytes, places: Ints) -> Bools:
    spaced = (letters[places - 1] == _SPACE) & (letters[places - 2] == _COMMA) & (letters[places - 3] == _CLOSE)
    return np.asarray(spaced)
