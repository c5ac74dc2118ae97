"""Compiled: one message after the other, from JSON bytes to rows of columns (scanning.py says what is plain)."""

from __future__ import annotations

from tocsin.evaluator.detector.compiling import (
    byte_at,
    compiled,
    long_at,
    part,
    put_byte,
    put_double,
    put_long,
    word_at,
)
from tocsin.evaluator.detector.scan_json import (
    CLOSE,
    COLON,
    COMMA,
    F_INSTANCE,
    F_METRIC,
    F_READINGS,
    F_SYSTEM,
    F_TIME,
    F_UNIT,
    F_VALUE,
    FALSE,
    FIVE,
    FOUR,
    LIST,
    LIST_END,
    NO,
    NULL,
    OPEN,
    QUOTE,
    TRUE,
    field,
    name_end,
    number,
    skip,
    time,
    unit_end,
)
from tocsin.evaluator.detector.scan_names import T_FIELDS, find_name, same_bytes
from tocsin.shared.schemas.reading import MAX_NAME_BYTES, MAX_REPORT_BYTES

PLAIN, LEFT, UNKNOWN = 0, 1, 2
"""What becomes of a message: read; left to the slow way; has names that are not known yet, or that found no room."""

SYSTEM, METRIC, INSTANCE = 0, 1, 2
"""Kinds of names."""

C_MESSAGE, C_WITHIN, C_SYSTEM, C_METRIC, C_INSTANCE, C_VALUE, C_TIME, C_HARD, C_HARD_AT, C_FIELDS = range(10)
"""Columns of what is filled in, a row a reading. Hard: 0, or the size of a number that is still to be read."""

U_KIND, U_AT, U_SIZE, U_FIELDS = range(4)
"""An unknown name: its kind, and where its bytes are."""

# What is known of the message at hand; what the scan was given; what it has counted.
N_KEY, N_KEY_SIZE, N_TIME, N_PARTS, N_TABLES, N_ROOM_UNKNOWN, N_UNKNOWNS, N_COLUMN, N_END = range(9)
N_UNKNOWN, N_ROW, N_AHEAD, N_FIELDS = range(9, 13)

_MAX_NAME, _MAX_MESSAGE = MAX_NAME_BYTES, MAX_REPORT_BYTES  # the compiler wants them from here
LONG = 8


# --- messages: `row` is the address of a row in the first column, `now` that of what is known now ---


@part
def _now(now: int, which: int) -> int:
    return int(long_at(now + which * LONG))


@part
def _set(now: int, which: int, value: int) -> None:
    put_long(now + which * LONG, value)


@part
def _cell(row: int, column: int, now: int) -> int:
    """The address of one column of the row."""
    return row + column * _now(now, N_COLUMN)


@part
def _note_unknown(kind: int, at: int, size: int, now: int) -> bool:
    """False: there is no room; then the message is scanned again when the names before it are known."""
    count = _now(now, N_UNKNOWN)
    if count >= _now(now, N_ROOM_UNKNOWN):
        return False
    place = _now(now, N_UNKNOWNS) + count * U_FIELDS * LONG
    put_long(place + U_KIND * LONG, kind)
    put_long(place + U_AT * LONG, at)
    put_long(place + U_SIZE * LONG, size)
    _set(now, N_UNKNOWN, count + 1)
    return True


@part
def _number_of(kind: int, at: int, size: int, now: int) -> int:
    """Of a name: -1 when it is not known, which has been noted; -2 when there was no room to note it."""
    found = find_name(_now(now, N_TABLES) + kind * T_FIELDS * LONG, at, size)
    if found < 0 and not _note_unknown(kind, at, size, now):
        return -2
    return found


@part
def _named(kind: int, at: int, end: int, cell: int, now: int) -> int:
    """A name's number into its column."""
    close = name_end(at, end)
    if close < 0:
        return NO
    found = _number_of(kind, at + 1, close - at - 1, now)
    put_long(cell, found)
    return close + 1 if found >= -1 else NO


@part
def _valued(at: int, end: int, row: int, now: int) -> int:
    word = word_at(at)
    cell = _cell(row, C_VALUE, now)
    if word & FOUR == TRUE:
        put_double(cell, 1.0)
        return at + 4
    if word & FIVE == FALSE:
        put_double(cell, 0.0)
        return at + 5
    after, value, hard = number(at, end)
    put_double(cell, value)
    if hard:
        put_long(_cell(row, C_HARD_AT, now), at)
        put_long(_cell(row, C_HARD, now), after - at)
    return after


@part
def _of_reading(which: int, at: int, end: int, row: int, now: int) -> int:
    """The value of a field that a reading has, and a part of a report as well."""
    if which == F_VALUE:
        return _valued(at, end, row, now)
    if which == F_METRIC:
        return _named(METRIC, at, end, _cell(row, C_METRIC, now), now)
    if which == F_TIME:
        after, moment = time(at, end)
        put_long(_cell(row, C_TIME, now), moment)
        return after
    if word_at(at) & FOUR == NULL:
        return at + 4
    if which == F_INSTANCE:
        return _named(INSTANCE, at, end, _cell(row, C_INSTANCE, now), now)
    close = unit_end(at, end)
    return close + 1 if close >= 0 else NO


@part
def _start(row: int, now: int) -> None:
    put_long(_cell(row, C_INSTANCE, now), -1)
    put_long(_cell(row, C_HARD, now), 0)
    put_long(_cell(row, C_TIME, now), -1)


@part
def _opened(at: int, end: int, allowed: int) -> tuple[int, int]:
    """The name of a field and its colon: the place where its value begins, and which one it is."""
    if at >= end or byte_at(at) != QUOTE:
        return NO, 0
    at, which = field(at + 1)
    if at < 0 or not which & allowed:
        return NO, 0
    at = skip(at, end)
    if at >= end or byte_at(at) != COLON:
        return NO, 0
    at = skip(at + 1, end)
    return (at if at < end else NO), which


@part
def _closed(at: int, end: int, closing: int) -> tuple[int, bool]:
    """After a value: a comma and more (the place where that begins), or the end (the place after it)."""
    at = skip(at, end)
    if at >= end or (byte_at(at) != closing and byte_at(at) != COMMA):
        return NO, False
    return (at + 1, False) if byte_at(at) == closing else (skip(at + 1, end), True)


@part
def _part(at: int, end: int, row: int, now: int) -> int:
    """One reading of a report."""
    if at >= end or byte_at(at) != OPEN:
        return NO
    _start(row, now)
    left = F_METRIC | F_VALUE | F_TIME | F_INSTANCE | F_UNIT
    at, more = skip(at + 1, end), True
    while more:
        at, which = _opened(at, end, left)
        if at < 0:
            return NO
        left &= ~which
        at = _of_reading(which, at, end, row, now)
        if at < 0:
            return NO
        at, more = _closed(at, end, CLOSE)
        if at < 0:
            return NO
    return NO if left & (F_METRIC | F_VALUE) else at


@part
def _parts(at: int, end: int, row: int, now: int) -> int:
    """The list of a report's readings, from this row on."""
    if byte_at(at) != LIST:
        return NO
    last = _now(now, N_END)
    count = 0
    at, more = skip(at + 1, end), True
    while more:
        if row >= last:
            return NO
        at = _part(at, end, row, now)
        if at < 0:
            return NO
        row += LONG
        count += 1
        at, more = _closed(at, end, LIST_END)
        if at < 0:
            return NO
    _set(now, N_PARTS, count)
    return at


@part
def _is_key(at: int, end: int, now: int) -> int:
    """The system's name, which has to be the key; where there are no keys, it is taken for one."""
    close = name_end(at, end)
    size = _now(now, N_KEY_SIZE)
    if size < 0 and close >= 0:
        _set(now, N_KEY, at + 1)
        _set(now, N_KEY_SIZE, close - at - 1)
        return close + 1
    if close < 0 or close - at - 1 != size or not same_bytes(at + 1, _now(now, N_KEY), size):
        return NO
    return close + 1


@part
def _whole_field(which: int, at: int, end: int, row: int, now: int) -> int:
    if which == F_SYSTEM:
        return _is_key(at, end, now)
    if which == F_TIME:  # apart: a report's own, which its readings write over in the rows
        at, moment = time(at, end)
        _set(now, N_TIME, moment)
        return at
    if which == F_READINGS:
        return _parts(at, end, row, now)
    return _of_reading(which, at, end, row, now)


@part
def _whole(at: int, end: int, row: int, now: int) -> int:
    """A reading, or a report: how many readings there are, -1: none that is plain."""
    if at >= end or byte_at(at) != OPEN or row >= _now(now, N_END):
        return NO
    _start(row, now)
    left = F_SYSTEM | F_METRIC | F_VALUE | F_TIME | F_INSTANCE | F_UNIT | F_READINGS
    at, more = skip(at + 1, end), True
    while more:
        at, which = _opened(at, end, left)
        if at < 0:
            return NO
        left &= ~which
        at = _whole_field(which, at, end, row, now)
        if at < 0:
            return NO
        at, more = _closed(at, end, CLOSE)
        if at < 0:
            return NO
    if skip(at, end) != end or left & (F_SYSTEM | F_TIME):
        return NO
    of_one = F_METRIC | F_VALUE | F_INSTANCE | F_UNIT
    if left & F_READINGS:
        return NO if left & (F_METRIC | F_VALUE) else 1
    return _now(now, N_PARTS) if left & of_one == of_one else NO


@part
def _finish(message: int, count: int, system: int, arrived: int, ahead: int, now: int) -> None:
    """What all readings of a message have in common. Those too far ahead are judged as of their arrival."""
    row = _now(now, N_ROW)
    for within in range(count):
        put_long(row, message)
        put_long(_cell(row, C_WITHIN, now), within)
        put_long(_cell(row, C_SYSTEM, now), system)
        at = _cell(row, C_TIME, now)
        if long_at(at) < 0:
            put_long(at, _now(now, N_TIME))
        if long_at(at) > arrived + ahead:
            put_long(at, arrived)
            _set(now, N_AHEAD, _now(now, N_AHEAD) + 1)
        row += LONG
    _set(now, N_ROW, row)


@part
def _message(at: int, size: int, key: int, key_size: int, now: int) -> tuple[int, int]:
    """How many readings, and the number of their system, -1 when it is not known. No reading: it is left."""
    if not 0 < size <= _MAX_MESSAGE:
        return 0, 0
    _set(now, N_KEY, key)
    _set(now, N_KEY_SIZE, key_size)
    count = _whole(skip(at, at + size), at + size, _now(now, N_ROW), now)
    if count <= 0:
        return 0, 0
    system = _number_of(SYSTEM, _now(now, N_KEY), _now(now, N_KEY_SIZE), now)
    return (count if system >= -1 else 0), system


@compiled
def scan_messages(
    texts: tuple[int, int, int], which: tuple[int, int], ahead: int, now: int, verdict: int, keyed: bool
) -> None:  # fmt: skip
    text, places, column = texts
    messages, count = which
    for place in range(count):
        message = long_at(messages + place * LONG)
        row = places + message * LONG
        key, key_size = text + long_at(row), long_at(row + column)
        at, size = text + long_at(row + 2 * column), long_at(row + 3 * column)
        unknown = _now(now, N_UNKNOWN)
        readings, system = 0, 0
        if key_size >= 0 or not keyed:
            readings, system = _message(at, size, key, key_size, now)
        if not readings:
            no_room = _now(now, N_UNKNOWN) >= _now(now, N_ROOM_UNKNOWN)
            _set(now, N_UNKNOWN, unknown)
            put_byte(verdict + message, UNKNOWN if no_room else LEFT)
        elif _now(now, N_UNKNOWN) > unknown:
            put_byte(verdict + message, UNKNOWN)
        else:
            put_byte(verdict + message, PLAIN)
            _finish(message, readings, system, long_at(row + 4 * column), ahead, now)
