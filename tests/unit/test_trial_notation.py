"""Values of a series in promtool's short notation."""

from __future__ import annotations

import pytest

from tocsin.console.trial.notation import parse_points, parse_values


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1 2.5 -3", [1, 2.5, -3]),
        ("-2+4x3", [-2, 2, 6, 10]),  # the examples of promtool's own documentation
        ("1-2x4", [1, -1, -3, -5, -7]),
        ("1x4", [1, 1, 1, 1, 1]),
        ("4 _ 3 stale", [4, None, 3, None]),
        ("1 _x3 stale", [1, None, None, None, None]),
        ("5x0", [5]),
        ("_x0 7", [7]),
        ("1e2+.5x1", [100, 100.5]),
        ("  1\n 2 ", [1, 2]),
    ],
)
def test_values(text: str, expected: list[float | None]) -> None:
    assert parse_values(text) == expected


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "holds no value"),
        ("one", "'one' is no value"),
        ("1+1", "lacks how often"),
        ("1x-2", "is no value"),
        ("1+x3", "is no value"),
        ("nan", "is no value"),
        ("inf", "is no value"),
        ("1e999", "too large"),
        ("1+1e308x5", "too large"),
        ("1x1000001", "more than"),
        ("_x9999999", "more than"),
        ("1x999999 1x999999", "more than"),
        ("١", "is no value"),
    ],
)
def test_what_is_no_series_says_why(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        parse_values(text)


def test_points_have_their_own_times_and_keep_their_order() -> None:
    assert parse_points("0s=22 1m30s=-5 90s=6e1") == [(0, 22), (90_000, -5), (90_000, 60)]
    for text, why in (("5", "no value with its time"), ("1=5", "not a duration"), ("", "holds no value")):
        with pytest.raises(ValueError, match=why):
            parse_points(text)
