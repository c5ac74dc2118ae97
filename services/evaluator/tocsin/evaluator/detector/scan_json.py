"""Compiled: the plain parts of JSON, and times. A function gives the place after what it has read, NO for no."""

from __future__ import annotations

import numpy as np

from tocsin.evaluator.detector.compiling import byte_at, part, word_at
from tocsin.evaluator.detector.scan_decimals import FURTHEST, nearest
from tocsin.shared.schemas.reading import MAX_NAME_BYTES
from tocsin.shared.times import MAX_EPOCH_MS

NO = -1

_MAX_NAME, _MAX_TIME = MAX_NAME_BYTES, MAX_EPOCH_MS  # the compiler wants them from here


def _word(text: bytes) -> np.uint64:
    return np.uint64(int.from_bytes(text[:8].ljust(8, b"\0"), "little"))


def _mask(count: int) -> np.uint64:
    return np.uint64((1 << 8 * count) - 1)


# Names of fields with the quote that ends them, as numbers: compared eight bytes at once.
_W_SYSTEM, _W_METRIC, _W_VALUE = _word(b'system"'), _word(b'metric"'), _word(b'value"')
_W_TIME, _W_UNIT, _W_INSTANCE, _W_READINGS = _word(b'time"'), _word(b'unit"'), _word(b"instance"), _word(b"readings")
TRUE, FALSE, NULL = _word(b"true"), _word(b"false"), _word(b"null")
_SEVEN, _SIX, FIVE, FOUR = _mask(7), _mask(6), _mask(5), _mask(4)

F_SYSTEM, F_METRIC, F_VALUE, F_TIME, F_INSTANCE, F_UNIT, F_READINGS = 1, 2, 4, 8, 16, 32, 64

_EXACT = 10.0 ** np.arange(23)
_MOST_EXACT = 22
_MOST_DIGITS = 18
_MOST_MANTISSA = 1 << 53
"""A whole number below this, times or divided by a power of ten up to 10**22, is rounded once: correctly.
Source: Clinger, How to Read Floating Point Numbers Accurately, 1990."""

QUOTE, _BACKSLASH, COMMA, COLON, OPEN, CLOSE, LIST, LIST_END = (ord(letter) for letter in '"\\,:{}[]')
_MINUS, _PLUS, _POINT, _ZERO, _NINE, _SMALL_E, _BIG_E = (ord(letter) for letter in "-+.09eE")
_DATE_TIME, _ZULU = ord("T"), ord("Z")


@part
def skip(at: int, end: int) -> int:
    """Over what JSON calls whitespace."""
    while at < end and (byte_at(at) == 32 or byte_at(at) == 10 or byte_at(at) == 13 or byte_at(at) == 9):
        at += 1
    return at


@part
def _text_end(at: int, end: int) -> int:
    """The closing quote of a text without escapes."""
    while at < end:
        letter = byte_at(at)
        if letter == QUOTE:
            return at
        if letter == _BACKSLASH or letter < 32:
            return NO
        at += 1
    return NO


@part
def name_end(at: int, end: int) -> int:
    """The closing quote of a name: a text of 1 to 256 bytes; `at` is its opening quote."""
    if at >= end or byte_at(at) != QUOTE:
        return NO
    close = _text_end(at + 1, end)
    return close if close > at + 1 and close - at - 1 <= _MAX_NAME else NO


@part
def unit_end(at: int, end: int) -> int:
    """The closing quote of a text of up to 256 bytes, all ASCII: others need a look at their UTF-8."""
    if at >= end or byte_at(at) != QUOTE:
        return NO
    close = _text_end(at + 1, end)
    if close - at - 1 > _MAX_NAME:
        return NO
    for place in range(at + 1, close):
        if byte_at(place) >= 128:
            return NO
    return close


@part
def _is_digit(letter: int) -> bool:
    return _ZERO <= letter <= _NINE


@part
def _integer(at: int, end: int) -> tuple[int, int]:
    """Digits without a leading zero, up to 18 of them."""
    first, number = at, 0
    while at < end and _is_digit(byte_at(at)):
        number = number * 10 + (byte_at(at) - _ZERO)
        at += 1
    size = at - first
    if size == 0 or size > 18 or (size > 1 and byte_at(first) == _ZERO):
        return NO, 0
    return at, number


@part
def _exponent(at: int, end: int) -> tuple[int, int]:
    """After the E."""
    negative = at < end and byte_at(at) == _MINUS
    if at < end and (byte_at(at) == _MINUS or byte_at(at) == _PLUS):
        at += 1
    first, number = at, 0
    while at < end and _is_digit(byte_at(at)):
        number = min(number * 10 + (byte_at(at) - _ZERO), 9_999)
        at += 1
    return (at if at > first else NO), (-number if negative else number)


@part
def _digits(at: int, end: int, mantissa: int, significant: int) -> tuple[int, int, int, int]:
    """Go on with a number: the place after its digits, the first that count, how many those are, how many were cut."""
    cut = 0
    while at < end and _is_digit(byte_at(at)):
        if significant < _MOST_DIGITS:
            mantissa = mantissa * 10 + (byte_at(at) - _ZERO)
            significant += mantissa > 0
        else:
            cut += 1
        at += 1
    return at, mantissa, significant, cut


@part
def number(at: int, end: int) -> tuple[int, float, bool]:
    """A JSON number; the last says that its value is still to be found by a better way."""
    negative = byte_at(at) == _MINUS
    at += negative
    first, power = at, 0
    at, mantissa, significant, cut = _digits(at, end, 0, 0)
    if at == first or (at - first > 1 and byte_at(first) == _ZERO):
        return NO, 0.0, False
    if at < end and byte_at(at) == _POINT:
        point = at + 1
        at, mantissa, significant, more = _digits(point, end, mantissa, significant)
        if at == point:
            return NO, 0.0, False
        power = point - at
        cut += more
    if at < end and (byte_at(at) == _SMALL_E or byte_at(at) == _BIG_E):
        at, exponent = _exponent(at + 1, end)
        power += exponent
    if at < 0 or cut or power > FURTHEST or power < -FURTHEST:
        return at, 0.0, True
    if mantissa > _MOST_MANTISSA or power > _MOST_EXACT or power < -_MOST_EXACT:
        value = nearest(mantissa, power) if mantissa else 0.0
    else:
        value = mantissa / _EXACT[-power] if power < 0 else mantissa * _EXACT[power]
    return at, (-value if negative else value), False


@part
def _two(at: int) -> int:
    """Two digits; negative when they are none."""
    high, low = byte_at(at) - _ZERO, byte_at(at + 1) - _ZERO
    return high * 10 + low if 0 <= high <= 9 and 0 <= low <= 9 else -1000


@part
def _zone(at: int, end: int) -> tuple[int, int]:
    """`Z` or `+02:00`: the place after it, and minutes."""
    if byte_at(at) == _ZULU:
        return at + 1, 0
    if end - at < 6 or byte_at(at + 3) != COLON or (byte_at(at) != _PLUS and byte_at(at) != _MINUS):
        return NO, 0
    hours, minutes = _two(at + 1), _two(at + 4)
    if not (0 <= hours < 24 and 0 <= minutes < 60):
        return NO, 0
    minutes += hours * 60
    return at + 6, (-minutes if byte_at(at) == _MINUS else minutes)


@part
def _days(year: int, month: int, day: int) -> int:
    """Since 1970-01-01. Source: Hinnant, chrono-Compatible Low-Level Date Algorithms."""
    year -= month <= 2
    era = year // 400
    of_era = year - era * 400
    of_year = (153 * (month + (-3 if month > 2 else 9)) + 2) // 5 + day - 1
    return era * 146_097 + of_era * 365 + of_era // 4 - of_era // 100 + of_year - 719_468


@part
def _month_length(year: int, month: int) -> int:
    if month == 2:
        return 29 if year % 4 == 0 and (year % 100 != 0 or year % 400 == 0) else 28
    return 30 if month in (4, 6, 9, 11) else 31


@part
def _clock(at: int) -> int:
    """`2026-11-23T10:00:00` in epoch seconds, -1: not of this form."""
    if byte_at(at + 4) != _MINUS or byte_at(at + 7) != _MINUS or byte_at(at + 10) != _DATE_TIME:
        return -1
    if byte_at(at + 13) != COLON or byte_at(at + 16) != COLON:
        return -1
    year, month, day = _two(at) * 100 + _two(at + 2), _two(at + 5), _two(at + 8)
    hour, minute, second = _two(at + 11), _two(at + 14), _two(at + 17)
    if year < 1970 or _two(at + 2) < 0 or not 1 <= month <= 12 or not 1 <= day <= _month_length(year, month):
        return -1
    if not (0 <= hour < 24 and 0 <= minute < 60 and 0 <= second < 60):
        return -1
    return ((_days(year, month, day) * 24 + hour) * 60 + minute) * 60 + second


@part
def _moment(at: int, end: int) -> tuple[int, int]:
    """RFC 3339 in its plain forms; `at` is the opening quote, the place given back the one after the closing quote."""
    at += 1
    if end - at < 21:  # twenty letters and a quote
        return NO, 0
    seconds = _clock(at)
    if seconds < 0:
        return NO, 0
    at += 19
    thousandths = 0
    if byte_at(at) == _POINT:
        weight, first = 100, at + 1
        at += 1
        while at < end and _is_digit(byte_at(at)):
            thousandths += (byte_at(at) - _ZERO) * weight
            weight //= 10
            at += 1
        if at == first or at >= end:
            return NO, 0
    at, minutes = _zone(at, end)
    if at < 0 or at >= end or byte_at(at) != QUOTE:
        return NO, 0
    time = seconds * 1_000 + thousandths - minutes * 60_000
    return (at + 1 if 0 <= time <= _MAX_TIME else NO), time


@part
def time(at: int, end: int) -> tuple[int, int]:
    if byte_at(at) == QUOTE:
        return _moment(at, end)
    at, time = _integer(at, end)
    return (at if time <= _MAX_TIME else NO), time


@part
def field(at: int) -> tuple[int, int]:
    """Which field this is; `at` is after the opening quote of its name, the place given back after the closing one."""
    word = word_at(at)
    if word & _SEVEN == _W_SYSTEM:
        return at + 7, F_SYSTEM
    if word & _SEVEN == _W_METRIC:
        return at + 7, F_METRIC
    if word & _SIX == _W_VALUE:
        return at + 6, F_VALUE
    if word & FIVE == _W_TIME:
        return at + 5, F_TIME
    if word & FIVE == _W_UNIT:
        return at + 5, F_UNIT
    if word == _W_INSTANCE and byte_at(at + 8) == QUOTE:
        return at + 9, F_INSTANCE
    if word == _W_READINGS and byte_at(at + 8) == QUOTE:
        return at + 9, F_READINGS
    return NO, 0
