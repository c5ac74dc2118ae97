"""RFC 3339 times, a column at once: the plain forms. What is not one of them is left to `tocsin.shared.times`."""

from __future__ import annotations

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tocsin.shared.times import MAX_EPOCH_MS

Bytes = NDArray[np.uint8]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

NOT_PLAIN = -1

_SHORTEST = len("2026-11-23T10:00:00Z")
_LONGEST = len("2026-11-23T10:00:00.123456789+00:00")
_ZERO, _NINE = ord("0"), ord("9")
_MARKS = ((4, "-"), (7, "-"), (10, "T"), (13, ":"), (16, ":"))
_DIGITS = (0, 1, 2, 3, 5, 6, 8, 9, 11, 12, 14, 15, 17, 18)
_ZONE = len("+00:00")


def parse_times(texts: pl.Series) -> Ints:
    """Epoch milliseconds; NOT_PLAIN where the text is not a plain form."""
    found = np.full(len(texts), NOT_PLAIN, np.int64)
    lengths = texts.str.len_bytes().fill_null(0).to_numpy()
    for length in np.unique(lengths).tolist():
        if _SHORTEST <= length <= _LONGEST:
            rows = np.flatnonzero(lengths == length)
            text = "".join(texts.gather(rows).to_list()).encode()
            found[rows] = _parse(np.frombuffer(text, np.uint8).reshape(-1, length))
    return found


def _parse(text: Bytes) -> Ints:
    """All of one length."""
    length = text.shape[1]
    digit = (text >= _ZERO) & (text <= _NINE)
    good: Bools = np.asarray(digit[:, _DIGITS].all(axis=1))
    for at, mark in _MARKS:
        good &= np.asarray(text[:, at] == ord(mark))
    zulu = text[:, -1] == ord("Z")
    milliseconds = np.zeros(len(text), np.int64)
    offset = np.zeros(len(text), np.int64)
    for rows, end in ((np.flatnonzero(zulu), length - 1), (np.flatnonzero(~zulu), length - _ZONE)):
        if len(rows):
            fits, milliseconds[rows] = _fraction(text[rows], digit[rows], end)
            good[rows] &= fits
    zoned = np.flatnonzero(~zulu & good)
    if len(zoned):
        fits, offset[zoned] = _zone(text[zoned, -_ZONE:], digit[zoned, -_ZONE:])
        good[zoned] &= fits
    numbers = text.astype(np.int64) - _ZERO
    year, month, day, hour, minute, second = (
        numbers[:, :4] @ np.array([1000, 100, 10, 1]),
        *(numbers[:, at] * 10 + numbers[:, at + 1] for at in (5, 8, 11, 14, 17)),
    )
    good &= (year >= 1970) & (month >= 1) & (month <= 12) & (day >= 1) & (hour < 24) & (minute < 60) & (second < 60)
    months = np.where(good, (year - 1970) * 12 + month - 1, 0).astype("datetime64[M]")
    first = months.astype("datetime64[D]").astype(np.int64)
    good &= first + day <= (months + 1).astype("datetime64[D]").astype(np.int64)
    total = (((first + day - 1) * 24 + hour) * 60 + minute) * 60 + second
    found = total * 1000 + milliseconds - offset
    good &= (found >= 0) & (found <= MAX_EPOCH_MS)
    return np.where(good, found, NOT_PLAIN)


def _fraction(text: Bytes, digit: NDArray[np.bool_], end: int) -> tuple[NDArray[np.bool_], Ints]:
    """What stands between the seconds and `end`: nothing, or a point and digits, cut after the third."""
    nothing = np.zeros(len(text), np.int64)
    start = _SHORTEST - 1
    if end == start:
        return np.ones(len(text), np.bool_), nothing
    if end < start + 2:
        return np.zeros(len(text), np.bool_), nothing
    fits = (text[:, start] == ord(".")) & digit[:, start + 1 : end].all(axis=1)
    milliseconds = nothing
    for place, weight in zip(range(start + 1, min(end, start + 4)), (100, 10, 1), strict=False):
        milliseconds = milliseconds + (text[:, place].astype(np.int64) - _ZERO) * weight
    return fits, milliseconds


def _zone(text: Bytes, digit: NDArray[np.bool_]) -> tuple[NDArray[np.bool_], Ints]:
    """`+02:00`, in milliseconds."""
    fits = digit[:, (1, 2, 4, 5)].all(axis=1) & (text[:, 3] == ord(":"))
    fits &= (text[:, 0] == ord("+")) | (text[:, 0] == ord("-"))
    number = text.astype(np.int64) - _ZERO
    hours, minutes = number[:, 1] * 10 + number[:, 2], number[:, 4] * 10 + number[:, 5]
    fits &= (hours < 24) & (minutes < 60)
    return fits, np.where(text[:, 0] == ord("-"), -1, 1) * (hours * 60 + minutes) * 60_000
