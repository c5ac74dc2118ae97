"""The checker's two ways agree, and neither ever fails on what it is given."""

from __future__ import annotations

import json
import math
from datetime import datetime
from typing import Any

from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st

from tocsin.ingest.core.items import split_items
from tocsin.ingest.core.wire import encode_reading, encode_report
from tocsin.shared import readings
from tocsin.shared.readings import Checked, Rejection, check
from tocsin.shared.times import MAX_EPOCH_MS


def mostly(usual: st.SearchStrategy[Any], odd: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.integers(0, 14).flatmap(lambda roll: odd if roll == 14 else usual)


names = mostly(
    st.text(st.characters(codec="utf-8"), min_size=1, max_size=20) | st.sampled_from(["é" * 128, "a\x00b", "x" * 65]),
    st.sampled_from(["", "é" * 129, "\ud800", 7, None]),
)
times = mostly(
    st.integers(0, MAX_EPOCH_MS)
    | st.datetimes(datetime(1970, 1, 2), datetime(9999, 12, 30)).map(lambda time: time.isoformat() + "Z")  # noqa: DTZ001  hypothesis wants them bare
    | st.sampled_from(["2026-11-23T10:00:00+01:00", "2016-12-31T23:59:60Z"]),
    st.sampled_from([-1, MAX_EPOCH_MS + 1, "2026-11-23", "", True, 1.0, None, 10**30]),
)
numbers = mostly(
    st.floats(allow_nan=False, allow_infinity=False) | st.integers() | st.booleans() | st.just(10**308),
    st.sampled_from([math.nan, math.inf, 10**309, 10**400, "1", None, [], {}]),
)
tags = mostly(
    st.dictionaries(st.text(st.characters(codec="utf-8"), min_size=1, max_size=5), names, max_size=3) | st.none(),
    st.just({str(number): "" for number in range(65)}) | st.just({"": ""}) | st.just([]),
)
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


def some(fields: dict[str, st.SearchStrategy[Any]]) -> st.SearchStrategy[dict[str, Any]]:
    """Any of these may be missing, and strangers may be there."""
    return st.fixed_dictionaries({}, optional={**fields, "stranger": anything})


def whole(
    fields: dict[str, st.SearchStrategy[Any]], optional: dict[str, st.SearchStrategy[Any]]
) -> st.SearchStrategy[dict[str, Any]]:
    """All of these are there, and perhaps others."""
    return st.fixed_dictionaries(fields, optional={**optional, "unit": names | st.none(), "stranger": anything})


reading_fields = {"system": names, "metric": names, "value": numbers, "time": times}
part_fields = {"metric": names, "value": numbers}
more = {"instance": names, "tags": tags}
parts = mostly(whole(part_fields, {"instance": names, "time": times}), some(part_fields) | anything)
report_fields = {"system": names, "time": times, "readings": st.lists(parts, max_size=4)}
messages = mostly(
    whole(reading_fields, more) | whole(report_fields, {"tags": tags}),
    some({**reading_fields, **more}) | some({**report_fields, "tags": tags, "readings": anything}) | anything,
)


@st.composite
def encoded(draw: st.DrawFn) -> bytes:
    """JSON as some sender might write it, perhaps damaged afterwards."""
    found = draw(messages)
    text = json.dumps(found, ensure_ascii=draw(st.booleans()))
    data = bytearray(text.encode("utf-8", "surrogatepass"))
    for _ in range(draw(st.sampled_from([0, 0, 0, 0, 0, 1, 2]))):
        at = draw(st.integers(0, len(data)))
        data[at : at + draw(st.integers(0, 3))] = draw(st.binary(max_size=3))
    return bytes(data)


@settings(max_examples=600, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(encoded())
@example(b'{"system":"a","metric":"m","value":1,"time":1,"x":"\xff"}')
@example(b'{"system":"a","metric":"m","value":-0,"time":1}')
@example(b'{"system":"a","metric":5,"value":1,"time":1,"readings":[]}')
@example(b'{"system":"a","metric":"m","value":1,"time":1764e9}')
def test_what_the_fast_way_accepts_the_schema_accepts_just_the_same(value: bytes) -> None:
    accepted = readings._accept(value)
    assume(accepted is not None)
    assert accepted == readings._explain(value)


@settings(max_examples=600, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(encoded() | st.binary(max_size=60))
def test_nothing_makes_the_checker_fail_and_good_readings_keep_the_rules(value: bytes) -> None:
    checked = check(value)
    for one in checked.good:
        assert math.isfinite(one.value)
        assert 0 <= one.time <= MAX_EPOCH_MS
        for name in (one.system, one.metric, one.instance):
            assert name is None or 1 <= len(name.encode()) <= 256
    for rejection in checked.rejected:
        assert rejection.detail
        assert f"{rejection.field}{rejection.detail}".encode()  # can be written down


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(encoded())
def test_what_is_good_stays_the_same_in_its_canonical_form(value: bytes) -> None:
    checked = check(value)
    assume(checked.good)
    if checked.report_time is None:
        written = [encode_reading(checked.good[0])]
    else:
        written = encode_report(checked.good, checked.report_time)
    (again,) = [readings._accept(message) for message in written]
    assert again is not None, "the canonical form always goes the fast way"
    # No tags and none at all are the same.
    assert [(one.tags or None, one) for one in again.good] == [
        (one.tags or None, type(one)(*[getattr(one, name) for name in one.__struct_fields__[:-1]], one.tags or None))
        for one in checked.good
    ]
    assert again.report_time == checked.report_time


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(messages, max_size=5), st.booleans())
def test_an_array_comes_apart_into_what_was_put_in(items: list[Any], indent: bool) -> None:
    body = json.dumps(items, indent=2 if indent else None).encode()
    split = split_items(body)
    assert isinstance(split, list)
    assert [_plain(json.loads(item)) for item in split] == [_plain(json.loads(json.dumps(item))) for item in items]


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(messages, min_size=1, max_size=5))
def test_lines_come_apart_into_what_was_put_in(items: list[Any]) -> None:
    split = split_items("\r\n\n".join(json.dumps(item) for item in items).encode(), lines=True)
    assert isinstance(split, list)
    assert len(split) == len(items)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=80) | st.binary(max_size=60).map(lambda inner: b"[" + inner + b"]"))
def test_no_body_makes_the_splitting_fail(body: bytes) -> None:
    split = split_items(body)
    assert isinstance(split, Rejection) or all(isinstance(check(item), Checked) for item in split)


def _plain(value: Any) -> str:
    return repr(value)  # NaN is not equal to itself
