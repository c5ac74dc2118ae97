"""Names by their bytes, for the scanner. Apart from the names themselves: this loads the compiler."""

from __future__ import annotations

import numpy as np

from tocsin.evaluator.detector.compiling import address_of
from tocsin.evaluator.detector.names import Names
from tocsin.evaluator.detector.scan_names import PADDING, T_FIELDS, place_names


class NameTable:
    """Some names by their UTF-8 bytes. Of one thread: it catches up with what others have added."""

    def __init__(self) -> None:
        self._size = 0
        self._slots = np.full(64, -1, np.int64)
        self._hashes = np.zeros(32, np.uint64)
        self._starts = np.zeros(33, np.int64)
        self._letters = np.zeros(1024, np.uint8)
        self.fields = self._addresses()

    def _addresses(self) -> np.ndarray:
        """As in scan_names."""
        mask = len(self._slots) - 1
        slots, starts, letters = (address_of(array) for array in (self._slots, self._starts, self._letters))
        fields = np.array([slots, mask, address_of(self._hashes), starts, letters], np.int64)
        assert len(fields) == T_FIELDS
        return fields

    def follow(self, names: Names) -> None:
        """Take in what has been added."""
        if self._size < len(names):
            self._add(names.names[self._size :])

    def _add(self, names: list[str]) -> None:
        encoded = [name.encode() for name in names]
        first, last = self._size, self._size + len(encoded)
        start = int(self._starts[first])
        ends = start + np.cumsum(np.fromiter(map(len, encoded), np.int64, len(encoded)))
        end = int(ends[-1])
        if end + PADDING > len(self._letters):
            self._letters = _grown(self._letters, end + PADDING)
        if last > len(self._hashes):
            self._hashes = _grown(self._hashes, last)
            self._starts = _grown(self._starts, len(self._hashes) + 1)
        self._letters[start:end] = np.frombuffer(b"".join(encoded), np.uint8)
        self._starts[first + 1 : last + 1] = ends
        if last * 2 > len(self._slots):  # half of them stay free
            self._slots = np.full(1 << (last * 4 - 1).bit_length(), -1, np.int64)
            first = 0
        self.fields = self._addresses()
        place_names(address_of(self.fields), first, last)
        self._size = last


def _grown(array: np.ndarray, size: int) -> np.ndarray:
    grown = np.zeros(max(size, 2 * len(array)), array.dtype)
    grown[: len(array)] = array
    return grown
