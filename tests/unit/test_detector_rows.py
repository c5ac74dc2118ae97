"""Rows of the detector's state: what somebody else wrote there is told apart from what can be restored."""

from __future__ import annotations

import pytest

from tocsin.evaluator.detector.rows import SeriesRow, TagsRow, check_row, encode_key, encode_row
from tocsin.shared.errors import CodecError


def test_a_row_that_was_written_is_read_back_under_its_key() -> None:
    key = ("series", "PC-1", "cpu.percent", None)
    assert check_row(encode_key(key), encode_row(SeriesRow(1, []))) == key
    assert check_row(encode_key(key), None) == key


@pytest.mark.parametrize(
    ("key", "value"),
    [
        (b"k", None),
        (None, b""),
        (b"\xff\xfe", b"{}"),
        (b"[]", None),
        (b"[[]]", None),
        (b'{"series": 1}', None),
        (b'["series"]', None),
        (b'["unheard of", 1]', None),
        (b'["tags", "PC-1"]', b"this is no row"),
        (b'["tags", "PC-1"]', b""),
        (b'["partition"]', encode_row(TagsRow(1, {}))),
        (b"[" * 100_000, None),
    ],
)
def test_anything_else_is_no_row(key: bytes | None, value: bytes | None) -> None:
    with pytest.raises(CodecError, match="not-a-row"):
        check_row(key, value)
