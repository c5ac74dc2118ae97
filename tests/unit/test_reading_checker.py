"""What is a reading, and what is said of what is none."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tocsin.shared.headers import header
from tocsin.shared.partitioning import partition_for
from tocsin.shared.readings import (
    GoodReading,
    Reason,
    Rejection,
    check,
    check_fields,
    check_message,
    misplaced,
    rejection_headers,
)

AT = 1_795_428_000_123
GOOD: dict[str, Any] = {
    "system": "PC-042",
    "metric": "cpu.percent",
    "value": 93.5,
    "time": "2026-11-23T10:00:00.123Z",
}


def without(field: str) -> dict[str, Any]:
    return {name: value for name, value in GOOD.items() if name != field}


def message(**changes: Any) -> bytes:
    return json.dumps({**GOOD, **changes}).encode()


def raw(value: bytes = b"93.5", time: bytes = b'"2026-11-23T10:00:00.123Z"', more: bytes = b"") -> bytes:
    return b'{"system":"PC-042","metric":"cpu.percent","value":%s,"time":%s%s}' % (value, time, more)


def the_rejection(value: bytes | None) -> tuple[str | None, str]:
    good, rejected = check_message(value)
    assert good == []
    (one,) = rejected
    assert one.index is None
    assert one.detail
    return one.field, one.reason


def test_the_documented_reading_is_good() -> None:
    assert check_message(message()) == ([GoodReading("PC-042", "cpu.percent", None, 93.5, AT)], [])


def test_the_documented_report_gives_each_of_its_readings() -> None:
    report = (
        b'{"system": "PC-042", "time": 1764064800123, "tags": {"site": "Berlin"}, "readings": ['
        b'{"metric": "cpu.percent", "value": 93.5}, '
        b'{"metric": "app.hang", "instance": "msedge.exe", "value": 1, "time": 1764064799000}]}'
    )
    tags = {"site": "Berlin"}
    checked = check(report)
    assert checked.good == [
        GoodReading("PC-042", "cpu.percent", None, 93.5, 1764064800123, None, tags),
        GoodReading("PC-042", "app.hang", "msedge.exe", 1.0, 1764064799000, None, tags),
    ]
    assert checked.rejected == []
    assert checked.report_time == 1764064800123


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b"true", 1.0),
        (b"false", 0.0),
        (b"-0", 0.0),
        (b"7", 7.0),
        (b"1e-400", 0.0),
        (b"1.5E+2", 150.0),
        (b"123456789012345678901234567890", 1.2345678901234568e29),
        (b"1" + b"0" * 308, 1e308),
    ],
)
def test_numbers_and_booleans_are_values(value: bytes, expected: float) -> None:
    good, rejected = check_message(raw(value))
    assert rejected == []
    assert good[0].value == expected


@pytest.mark.parametrize(
    "value", [b"NaN", b"Infinity", b"-Infinity", b"1e999", b"-1e999", b"1" + b"0" * 309, b"1" + b"0" * 5000]
)
def test_what_no_float_can_hold_is_not_finite(value: bytes) -> None:
    assert the_rejection(raw(value)) == ("value", "not-finite")


@pytest.mark.parametrize("value", [b"null", b'"93.5"', b"[1]", b"{}", b'""'])
def test_a_value_of_another_type_is_refused(value: bytes) -> None:
    assert the_rejection(raw(value)) == ("value", "wrong-type")


@pytest.mark.parametrize(
    ("time", "expected"),
    [
        (b'"2026-11-23T10:00:00Z"', 1_795_428_000_000),
        (b'"2026-11-23T11:00:00.123999999+01:00"', AT),
        (b'"2026-11-23t10:00:00.1z"', 1_795_428_000_100),
        (b"1795428000123", AT),
        (b"0", 0),
    ],
)
def test_times_are_rfc_3339_with_zone_or_epoch_milliseconds(time: bytes, expected: int) -> None:
    good, rejected = check_message(raw(time=time))
    assert rejected == []
    assert good[0].time == expected


@pytest.mark.parametrize(
    "time",
    [
        b'"2026-11-23T10:00:00"',
        b'"2026-11-23"',
        b'"2026-02-30T00:00:00Z"',
        b'"2026-11-23T10:00:00+25:00"',
        b'"now"',
        b'""',
        b"-1",
        b"1.5",
        b"1795428000123.0",
        b"1764e9",
        b"253402300800000",
        b"1" + b"0" * 5000,
        b"true",
        b"null",
        b"[]",
    ],
)
def test_any_other_time_is_refused(time: bytes) -> None:
    assert the_rejection(raw(time=time)) == ("time", "bad-time")


@pytest.mark.parametrize("field", ["system", "metric", "value", "time"])
def test_a_missing_field_is_named(field: str) -> None:
    assert the_rejection(json.dumps(without(field)).encode()) == (field, "missing")


@pytest.mark.parametrize("field", ["system", "metric", "instance"])
def test_names_have_1_to_256_bytes_of_valid_utf_8(field: str) -> None:
    assert check_message(message(**{field: "é" * 128}))[1] == []
    assert the_rejection(message(**{field: "é" * 128 + "x"})) == (field, "too-long")
    assert the_rejection(message(**{field: ""})) == (field, "empty")
    assert the_rejection(message(**{field: 7})) == (field, "wrong-type")
    assert the_rejection(message(**{field: "\ud800"})) == (field, "bad-unicode")


def test_null_counts_as_absent_for_what_is_optional_only() -> None:
    assert check_message(message(instance=None, unit=None, tags=None))[1] == []
    assert the_rejection(message(system=None)) == ("system", "wrong-type")


def test_tags_are_short_texts_and_few() -> None:
    assert check_message(message(tags={"site": "Berlin", "empty": ""}))[1] == []
    assert the_rejection(message(tags={"site": 1})) == ("tags.site", "wrong-type")
    assert the_rejection(message(tags=["site"])) == ("tags", "wrong-type")
    assert the_rejection(message(tags={"": "x"})) == ("tags.''", "empty")
    assert the_rejection(message(tags={"site": "x" * 257})) == ("tags.site", "too-long")
    assert the_rejection(message(tags={str(number): "" for number in range(65)})) == ("tags", "too-many")


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (None, "no-value"),
        (b"", "no-value"),
        (b"not json", "not-json"),
        (b'{"system": "PC"', "not-json"),
        (message() + b"x", "not-json"),
        (b"\xef\xbb\xbf" + message(), "not-json"),
        (b'{"system": "a\nb"}', "not-json"),
        (b"\xff\xfe\x00", "bad-utf8"),
        (message().decode().encode("utf-16"), "bad-utf8"),
        (b"[1]", "not-an-object"),
        (b"null", "not-an-object"),
        (b"12", "not-an-object"),
        (b"[" * 100_000, "too-deep"),
        (b'{"a":' * 100_000, "too-deep"),
        (raw(more=b',"x":' + b"[" * 100_000 + b"]" * 100_000), "too-deep"),
        (b'"' + b"x" * (1 << 20) + b'"', "too-large"),
    ],
)
def test_poison_is_refused_whole_with_its_reason(value: bytes | None, reason: str) -> None:
    assert the_rejection(value) == (None, reason)


def test_a_message_of_exactly_one_mebibyte_is_read() -> None:
    padding = (1 << 20) - len(raw(more=b',"x":""'))
    assert check_message(raw(more=b',"x":"%s"' % (b"x" * padding)))[1] == []
    assert the_rejection(raw(more=b',"x":"%s"' % (b"x" * (padding + 1)))) == (None, "too-large")


def test_bytes_that_are_not_utf_8_spoil_the_reading_they_stand_in() -> None:
    assert the_rejection(raw(more=b',"instance":"\xff"')) == ("instance", "bad-unicode")


def test_a_field_given_twice_counts_as_given_last() -> None:
    assert check_message(raw(b'"x","value":1'))[0][0].value == 1.0
    assert the_rejection(raw(b'1,"value":"x"')) == ("value", "wrong-type")


def test_unknown_fields_are_ignored_whatever_is_in_them() -> None:
    for more in (b',"new":{"a":[NaN]}', b',"new":"\xff"', b',"new":"\\ud800"', b',"new":1e999'):
        assert check_message(raw(more=more)) == check_message(raw())


def test_in_a_report_each_bad_reading_is_named_and_the_good_ones_count() -> None:
    report = (
        b'{"system":"PC","time":5,"readings":[{"metric":"a","value":1},{"metric":"b","value":NaN},7,'
        b'{"value":1},{"metric":"\xff","value":1},{"metric":"c","value":2,"time":"?"},{"metric":"d","value":true}]}'
    )
    good, rejected = check_message(report)
    assert [(one.metric, one.value, one.time) for one in good] == [("a", 1.0, 5), ("d", 1.0, 5)]
    assert [(one.index, one.field, str(one.reason)) for one in rejected] == [
        (1, "value", "not-finite"),
        (2, None, "not-an-object"),
        (3, "metric", "missing"),
        (4, "metric", "bad-unicode"),
        (5, "time", "bad-time"),
    ]


@pytest.mark.parametrize(
    ("changes", "field", "reason"),
    [
        ({"time": None}, "time", "bad-time"),
        ({"system": ""}, "system", "empty"),
        ({"tags": {"a": 1}}, "tags.a", "wrong-type"),
        ({"readings": {}}, "readings", "wrong-type"),
        ({"readings": None}, "readings", "wrong-type"),
    ],
)
def test_a_report_with_a_bad_frame_is_refused_whole(changes: dict[str, Any], field: str, reason: str) -> None:
    report = {"system": "PC", "time": 5, "readings": [{"metric": "a", "value": 1}], **changes}
    assert the_rejection(json.dumps(report).encode()) == (field, reason)


def test_an_empty_report_holds_nothing_and_is_no_fault() -> None:
    assert check_message(b'{"system":"PC","time":5,"readings":[]}') == ([], [])


def test_the_detail_never_shows_much_of_what_came() -> None:
    _, rejected = check_message(message(time="x" * 100_000, tags={"y" * 100_000: 1}))
    assert len(rejected[0].detail) < 200
    _, rejected = check_message(message(tags={"y" * 100_000: "z"}))
    assert len(rejected[0].field or "") < 200


def test_fields_from_elsewhere_are_judged_by_the_same_rules() -> None:
    assert check_fields(GOOD) == GoodReading("PC-042", "cpu.percent", None, 93.5, AT)
    for changes, reason in (
        ({"value": float("nan")}, Reason.NOT_FINITE),
        ({"value": "x"}, Reason.WRONG_TYPE),
        ({"system": "\ud800"}, Reason.BAD_UNICODE),
        ({"metric": "é" * 129}, Reason.TOO_LONG),
        ({"time": 1.5}, Reason.BAD_TIME),
    ):
        found = check_fields({**GOOD, **changes})
        assert isinstance(found, Rejection)
        assert found.reason == reason


def test_a_message_lies_right_when_its_key_is_the_system_in_murmur2s_partition() -> None:
    right = partition_for("PÇ-042".encode(), 4)
    assert misplaced("PÇ-042".encode(), "PÇ-042", right, 4) is None


@pytest.mark.parametrize(
    ("key", "partition"), [(None, 0), (b"", 0), (b"PC-43", 0), (b"\xff", 0), (b"PC-42", 1 - partition_for(b"PC-42", 2))]
)
def test_a_message_without_its_systems_key_or_in_another_partition_is_misplaced(
    key: bytes | None, partition: int
) -> None:
    found = misplaced(key, "PC-42", partition, 2)
    assert found is not None
    assert found.reason == Reason.MISPLACED


def test_the_headers_of_a_refused_message_say_why_and_from_where() -> None:
    _, rejected = check_message(b'{"system":"PC","time":5,"readings":[' + b",".join([b"1"] * 50) + b"]}")
    headers = rejection_headers(rejected, "sensor-readings/3@42", "00-" + "a" * 32 + "-" + "b" * 16 + "-01")
    assert header(headers, "reason") == b"not-an-object"
    assert header(headers, "source") == b"sensor-readings/3@42"
    assert header(headers, "rejected") == b"50"
    assert (header(headers, "traceparent") or b"").startswith(b"00-aaaa")
    listed = json.loads(header(headers, "rejections") or b"")
    assert len(listed) == 20
    assert listed[1] == {
        "index": 1,
        "field": None,
        "reason": "not-an-object",
        "detail": "must be a JSON object, not a number",
    }
