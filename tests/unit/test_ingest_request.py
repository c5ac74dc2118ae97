"""What the gateway's core makes of a request: its items, its gzip, its key, its share of the memory."""

from __future__ import annotations

import gzip

import pytest

from tocsin.ingest.answers import Refusal
from tocsin.ingest.body import Media, media_of
from tocsin.ingest.core.access import is_allowed, parse_keys, presented_key, require_keys
from tocsin.ingest.core.admission import Admission, Limits
from tocsin.ingest.core.inflate import NotGzip, TooLong, inflate
from tocsin.ingest.core.items import split_items
from tocsin.ingest.core.wire import encode_reading, encode_report
from tocsin.shared.errors import SettingsError
from tocsin.shared.readings import GoodReading, Reason, Rejection, check


@pytest.mark.parametrize(
    ("body", "items"),
    [
        (b'{"a": 1}', [b'{"a": 1}']),
        (b' \r\n{"a": 1}\n', [b'{"a": 1}']),
        (b'{\n  "a": 1\n}', [b'{\n  "a": 1\n}']),
        (b"[]", []),
        (b" [ ] ", []),
        (b'[{"a": 1} , 2,"x,]"]', [b'{"a": 1}', b"2", b'"x,]"']),
        (b'[{"a": NaN}, {"b": [1,\n2]}]', [b'{"a": NaN}', b'{"b": [1,\n2]}']),
        (b'[{"a": "\xff"}, NaN]', [b'{"a": "\xff"}', b"NaN"]),
        (b'{"a": 1}\n{"b": 2}', [b'{"a": 1}', b'{"b": 2}']),
        (b'{"a": 1}\r\n\r\n {bad} \n', [b'{"a": 1}', b"{bad}"]),
        (b"garbage", [b"garbage"]),
    ],
)
def test_a_body_is_taken_apart_into_the_bytes_its_items_came_in(body: bytes, items: list[bytes]) -> None:
    assert split_items(body) == items


def test_lines_are_lines_when_the_sender_says_so() -> None:
    assert split_items(b'[1]\nx\n{"a": 1}', lines=True) == [b"[1]", b"x", b'{"a": 1}']


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", Reason.NO_VALUE),
        (b" \n", Reason.NO_VALUE),
        (b"[", Reason.NOT_JSON),
        (b"[1", Reason.NOT_JSON),
        (b"[1 2]", Reason.NOT_JSON),
        (b"[1,]", Reason.NOT_JSON),
        (b"[NaN] x", Reason.NOT_JSON),
        (b"[] x", Reason.NOT_JSON),
        (b"[1]]", Reason.NOT_JSON),
        (b"[" * 100_000, Reason.TOO_DEEP),
    ],
)
def test_a_body_whose_items_cannot_be_told_apart_is_refused_whole(body: bytes, reason: Reason) -> None:
    found = split_items(body)
    assert isinstance(found, Rejection)
    assert found.reason == reason


def test_an_item_too_deep_to_be_read_leaves_its_neighbours_alone() -> None:
    deep = b'{"value":' + b"[" * 2_000 + b'"]\\"[" ' + b"]" * 2_000 + b"}"
    assert split_items(b'[{"a":1}, ' + deep + b' , {"b":2}]') == [b'{"a":1}', deep, b'{"b":2}']


def test_gzip_is_undone_also_in_several_members() -> None:
    assert inflate(gzip.compress(b"one"), 100) == b"one"
    assert inflate(gzip.compress(b"one ") + gzip.compress(b"two"), 100) == b"one two"
    assert inflate(gzip.compress(b"x" * 100), 100) == b"x" * 100


def test_gzip_is_never_inflated_further_than_allowed() -> None:
    assert inflate(gzip.compress(b"x" * 101), 100) == TooLong(100)
    assert inflate(gzip.compress(b"x" * 50) * 3, 100) == TooLong(100)
    bomb = gzip.compress(gzip.compress(bytes(200_000_000)))
    assert inflate(gzip.decompress(bomb), 1000) == TooLong(1000)


@pytest.mark.parametrize(
    "data",
    [b"", b"not gzip", gzip.compress(b"x" * 1000)[:-9], gzip.compress(b"x") + b"rest", gzip.compress(b"") * 101],
    ids=["nothing", "other bytes", "cut short", "with a tail", "too many members"],
)
def test_what_is_not_whole_gzip_is_refused(data: bytes) -> None:
    assert isinstance(inflate(data, 10_000), NotGzip)


def test_a_key_comes_as_bearer_or_in_its_own_header() -> None:
    assert presented_key("Bearer abc", None) == b"abc"
    assert presented_key("bearer  abc ", "other") == b"abc"
    assert presented_key(None, " abc ") == b"abc"
    assert presented_key("Basic YTpi", None) is None
    assert presented_key(None, None) is None
    assert presented_key("Bearer ", "") is None


def test_only_a_whole_key_is_allowed() -> None:
    keys = parse_keys(" one, two ,,")
    assert keys == (b"one", b"two")
    assert is_allowed(keys, b"two")
    for wrong in (b"", b"tw", b"twoo", b"one, two", "é\udcff".encode("utf-8", "surrogateescape"), None):
        assert not is_allowed(keys, wrong)


def test_a_gateway_without_keys_must_be_wanted() -> None:
    with pytest.raises(SettingsError, match="TOCSIN_GATEWAY_OPEN=true"):
        require_keys((), is_open=False)
    require_keys((), is_open=True)
    require_keys((b"k",), is_open=False)
    require_keys((), is_open=False, tokens=True)


def test_admission_bounds_requests_and_bytes_and_gets_all_of_it_back() -> None:
    admission = Admission(Limits(requests=2, size=100))
    first, second = admission.enter(), admission.enter()
    assert first is not None
    assert second is not None
    assert admission.enter() is None
    assert first.take(60)
    assert not second.take(41)
    assert second.take(40)
    first.put_back(10)
    assert second.take(10)
    first.give_back()
    assert admission.size == 50
    second.give_back()
    assert (admission.size, admission.requests) == (0, 0)
    assert admission.enter() is not None


@pytest.mark.parametrize(
    ("headers", "media"),
    [
        ({}, Media(lines=False, gzip=False)),
        ({"Content-Type": "application/json; charset=UTF-8"}, Media(lines=False, gzip=False)),
        ({"Content-Type": "application/json; charset=UTF-8; x=y"}, Media(lines=False, gzip=False)),
        ({"Content-Type": "application/x-www-form-urlencoded"}, Media(lines=False, gzip=False)),  # curl -d
        ({"Content-Type": "Application/X-NDJSON", "Content-Encoding": "gzip"}, Media(lines=True, gzip=True)),
    ],
)
def test_the_media_type_says_how_to_read_a_body(headers: dict[str, str], media: Media) -> None:
    assert media_of(headers) == media


@pytest.mark.parametrize(
    "headers",
    [
        {"Content-Type": "text/csv"},
        {"Content-Type": "application/json; charset=latin-1"},
        {"Content-Encoding": "br"},
    ],
)
def test_other_media_are_unsupported(headers: dict[str, str]) -> None:
    found = media_of(headers)
    assert isinstance(found, Refusal)
    assert found.status == 415


def test_the_canonical_forms_are_the_documented_ones() -> None:
    one = GoodReading("PC-042", "cpu.percent", None, 93.5, 1_795_428_000_123)
    other = GoodReading("PC-042", "app.hang", "msedge.exe", 1.0, 1_795_428_000_000, "count")
    assert encode_reading(one) == (
        b'{"system":"PC-042","metric":"cpu.percent","value":93.5,"time":"2026-11-23T10:00:00.123Z"}'
    )
    assert encode_report([one, other], 1_795_428_000_123) == [
        b'{"system":"PC-042","time":"2026-11-23T10:00:00.123Z","readings":[{"metric":"cpu.percent","value":93.5},'
        b'{"metric":"app.hang","value":1.0,"instance":"msedge.exe","time":"2026-11-23T10:00:00.000Z","unit":"count"}]}'
    ]


def test_a_report_that_outgrows_a_message_becomes_several_and_loses_nothing() -> None:
    many = [GoodReading("PC", "m", None, float(number), number) for number in range(25_000)]
    messages = encode_report(many, 0)
    assert len(messages) > 1
    found = [reading for message in messages for reading in check(message).good]
    assert found == many
