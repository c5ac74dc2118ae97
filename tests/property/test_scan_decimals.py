"""Decimal numbers as the scanner reads them are what Python reads."""

from __future__ import annotations

import struct
from typing import Any

import numba
import numpy as np
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tocsin.evaluator.detector.compiling import address_of
from tocsin.evaluator.detector.scan_json import number

PADDING = bytes(32)


def read(text: str) -> tuple[float, bool]:
    """The value, and whether it is left to Python."""
    letters = np.frombuffer(bytearray(text.encode() + PADDING), np.uint8)
    at, value, hard = _number(address_of(letters), address_of(letters) + len(text))
    assert at == address_of(letters) + len(text)
    return value, hard


_njit: Any = numba.njit  # parts of compiled functions cannot be called from outside


@_njit
def _number(at: int, end: int) -> Any:
    return number(at, end)


def same(text: str) -> bool:
    value, hard = read(text)
    return hard or struct.pack("<d", value) == struct.pack("<d", float(text))


floats = st.floats(allow_nan=False, allow_infinity=False)


@given(
    st.lists(st.integers(0, (1 << 64) - 1).map(lambda bits: struct.unpack("<d", struct.pack("<Q", bits))[0]) | floats)
)
@settings(max_examples=300, deadline=None)
def test_every_float_is_read_as_it_was_written(found: list[float]) -> None:
    assert all(same(text) for text in (repr(one) for one in found) if "n" not in text)


# Digits, and where the point is: halfway cases and their neighbours are met among numbers of 16 to 18 digits.
decimals = st.builds(
    lambda sign, digits, point, exponent: f"{sign}{digits if not point else _pointed(digits, point)}{exponent}",
    st.sampled_from(["", "-"]),
    st.integers(0, 10**18 - 1)
    | st.builds(lambda power, near: (1 << power) + near, st.integers(50, 59), st.integers(-3, 3)),
    st.integers(0, 18),
    st.sampled_from(["", "", "e0", "e-5", "E+3", "e22", "e-22", "e23", "e-39", "e41"]),
)


def _pointed(digits: int, point: int) -> str:
    text = str(digits).rjust(point + 1, "0")
    return f"{text[:-point]}.{text[-point:]}"


@given(st.lists(decimals, min_size=1, max_size=50))
@settings(max_examples=300, deadline=None)
@example(["9007199254740993", "9007199254740993.0", "4503599627370497.5", "4503599627370496.5", "50.660000000000004"])
@example(["0.30000000000000004", "999999999999999999", "0.000000000000000001", "1.7976931348623157", "-0.0", "0.0e40"])
def test_digits_of_any_number_are_rounded_as_python_rounds_them(found: list[str]) -> None:
    assert all(map(same, found))


def test_what_a_measurement_has_is_not_left_to_python() -> None:
    assert [read(text)[1] for text in ("50.660000000000004", "33.333333333333336", "1e-7", "123456789012345678")] == [
        False,
        False,
        False,
        False,
    ]
