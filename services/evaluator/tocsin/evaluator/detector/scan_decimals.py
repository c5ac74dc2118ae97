"""Compiled: decimal numbers of many digits to the nearest float, as the text of most measured means has them.

Source: Lemire, Number Parsing at a Gigabyte per Second, 2021, section 5; proof for every case: Mushtak and Lemire, Fast
Number Parsing Without Fallback, 2023. Here for mantissas below 2**63 and for powers of ten between -40 and 40, where
every result is a normal float.
"""

from __future__ import annotations

import numpy as np

from tocsin.evaluator.detector.compiling import double_of, high_product, leading_zeros, part

FURTHEST = 40
"""Powers of ten beyond are left to the slow way."""

_EXPLICIT_BITS = 52
_BIAS = 1023


def _power_of_five(power: int) -> int:
    """5**power by its 128 highest bits; of a negative power a little above, as the paper has it."""
    five: int = 5 ** abs(power)
    if power >= 0:
        return five << 128 - five.bit_length() if five.bit_length() <= 128 else five >> five.bit_length() - 128
    size = (five - 1).bit_length()
    found = (1 << (size + 127 if power >= -27 else 2 * size + 128)) // five + 1
    return found >> max(0, found.bit_length() - 128)


_FIVES = [_power_of_five(power) for power in range(-FURTHEST, FURTHEST + 1)]
_HIGH = np.array([five >> 64 for five in _FIVES], np.uint64)
_LOW = np.array([five & (1 << 64) - 1 for five in _FIVES], np.uint64)

_ONE, _THREE, _SIGN = np.uint64(1), np.uint64(3), np.uint64(63)
_LOST = np.uint64((1 << 64 - _EXPLICIT_BITS - 3) - 1)
_SHIFT = np.uint64(64 - _EXPLICIT_BITS - 3)
_IMPLICIT = np.uint64(1 << _EXPLICIT_BITS)
_TOO_LARGE = np.uint64(2 << _EXPLICIT_BITS)
_EXPONENT = np.uint64(_EXPLICIT_BITS)


@part
def nearest(mantissa: int, power: int) -> float:
    """mantissa * 10**power, rounded once; the mantissa is above zero."""
    zeros = leading_zeros(mantissa)
    scaled = np.uint64(mantissa) << np.uint64(zeros)
    place = power + FURTHEST
    high, low = high_product(scaled, _HIGH[place]), scaled * _HIGH[place]
    if high & _LOST == _LOST:
        more = high_product(scaled, _LOW[place])
        low += more
        if more > low:
            high += _ONE
    upper = high >> _SIGN
    shift = upper + _SHIFT
    found = high >> shift
    exponent = ((217_706 * power) >> 16) + 63 + np.int64(upper) - zeros + _BIAS
    # Exactly between two floats: to the even one.
    if low <= _ONE and -4 <= power <= 23 and found & _THREE == _ONE and found << shift == high:
        found ^= _ONE
    found = (found + (found & _ONE)) >> _ONE
    if found >= _TOO_LARGE:
        found, exponent = _IMPLICIT, exponent + 1
    return float(double_of((found ^ _IMPLICIT) | np.uint64(exponent) << _EXPONENT))
