"""The fast way of reading a batch and the slow one agree, whatever is in it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from confluent_kafka import Message
from hypothesis import example, given, settings
from hypothesis import strategies as st

from detecting import ARRIVED, CLOCK_AHEAD
from tocsin.evaluator.detector.batch import Batch
from tocsin.evaluator.detector.columns import Known
from tocsin.evaluator.detector.names import Names
from tocsin.evaluator.detector.parsing import Parsed, Parser
from tocsin.shared.partitioning import partition_for
from tocsin.shared.readings import check_message

PARTITIONS = 3
SYSTEMS = ["PC-1", "PC-2", "5", "true", "null", '["x"]', "a:b", "Büro", "x\ny", "{}", 'q"q', "back\\slash", "\x1f"]
METRICS = ["cpu", "5", "disk:c", "m{"]
INSTANCES = ["i", "C:", "7"]


def names(known: list[str]) -> Names:
    found = Names()
    for name in known:
        found.add(name)
    return found


def known() -> Known:
    return Known(names(SYSTEMS), names(METRICS), names(INSTANCES))


def messages(batch: list[tuple[bytes | None, bytes | None]]) -> list[Message]:
    return [
        Message(topic="t", partition=partition_for(key or b"", PARTITIONS), offset=offset, key=key, value=value,
                timestamp=(2, ARRIVED), headers=None)
        for offset, (key, value) in enumerate(batch)
    ]  # fmt: skip


Read = tuple[int, int, str, str, str | None, float, int]


def read(parsed: Parsed, words: Known) -> list[Read]:
    """Every good reading: message, place in it, and what it says."""
    systems, metrics, instances = words.systems.names, words.metrics.names, words.instances.names
    columns = parsed.columns
    fast = [
        (message, within, systems[system], metrics[metric], None if instance < 0 else instances[instance], value, time)
        for message, within, system, metric, instance, value, time in zip(
            *(getattr(columns, name).tolist() for name in columns.__dataclass_fields__), strict=True
        )
    ]
    slow = [
        (one.message, one.within, one.reading.system, one.reading.metric, one.reading.instance, one.reading.value,
         one.time)
        for one in parsed.slow
    ]  # fmt: skip
    return sorted(fast + slow, key=lambda row: row[:2])


def expected(batch: list[tuple[bytes | None, bytes | None]]) -> tuple[list[Read], set[int]]:
    good: list[Read] = []
    bad: set[int] = set()
    for at, (key, value) in enumerate(batch):
        readings, rejected = check_message(value)
        if readings and key != readings[0].system.encode():
            bad.add(at)
            continue
        if rejected or key is None:
            bad.add(at)
        for within, one in enumerate(readings):
            time = ARRIVED if one.time > ARRIVED + CLOCK_AHEAD else one.time
            good.append((at, within, one.system, one.metric, one.instance, one.value, time))
    return good, bad


def agree(batch: list[tuple[bytes | None, bytes | None]], parser: Parser | None = None) -> Parsed:
    parser, words = parser or Parser(PARTITIONS, CLOCK_AHEAD), known()
    parsed = parser.parse(Batch.of(messages(batch), 0), words)
    good, bad = expected(batch)
    assert read(parsed, words) == good
    assert {at for at, _ in parsed.rejected} == bad
    return parsed


GOOD = b'{"system":"PC-1","metric":"cpu","value":1.5,"time":1764064800000}'


def test_a_plain_batch_goes_the_fast_way() -> None:
    batch = [(b"PC-1", GOOD), (b"PC-2", GOOD.replace(b"PC-1", b"PC-2"))] * 10
    assert len(agree(batch).columns.message) == 20


@pytest.mark.parametrize(
    "time",
    ["2026-11-23T10:00:00Z", "2026-11-23T10:00:00.5Z", "2026-11-23T10:00:00.123456789Z", "2026-11-23T12:00:00.1+02:00"],
)
def test_texts_as_times_go_the_fast_way_too(time: str) -> None:
    value = json.dumps({"system": "PC-1", "metric": "cpu", "value": 3, "time": time}).encode()
    assert len(agree([(b"PC-1", value)] * 50).columns.message) == 50


def test_instances_and_names_with_colons_go_the_fast_way_too() -> None:
    value = b'{"system": "a:b", "metric": "disk:c", "instance": "C:", "value": 3, "time": 1764064800000}'
    assert len(agree([(b"a:b", value), (b"PC-1", GOOD)] * 5).columns.message) == 10


@pytest.mark.parametrize("time", ["1764064800000", '"2026-11-23T10:00:00.123Z"'])
def test_reports_go_the_fast_way_too(time: str) -> None:
    part = f'{{"metric":"cpu","value":1}},{{"metric":"disk:c","value":2.5,"instance":"C:","unit":"B","time":{time}}}'
    report = f'{{"system":"PC-1","time":{time},"readings":[{part}]}}'.encode()
    parsed = agree([(b"PC-1", report), (b"PC-1", GOOD)] * 40)
    assert (len(parsed.columns), len(parsed.slow)) == (120, 0)


def test_new_names_are_learned_and_then_go_the_fast_way() -> None:
    value = b'{"system":"new-1","metric":"new","instance":"new","value":3,"time":1764064800000}'
    report = b'{"system":"new-2","time":1764064800000,"readings":[{"metric":"newer","value":3}]}'
    assert agree([(b"new-1", value), (b"new-2", report)] * 40).slow == []


def test_after_a_rebalance_names_have_the_numbers_of_the_new_engine() -> None:
    parser = Parser(PARTITIONS, CLOCK_AHEAD)
    batch = [(b"PC-1", GOOD), (b"PC-1", GOOD.replace(b'"cpu"', b'"5"'))] * 40
    good, _ = expected(batch)
    for metrics in (METRICS, METRICS[::-1]):
        words = Known(names(SYSTEMS), names(metrics), names(INSTANCES))
        assert read(parser.parse(Batch.of(messages(batch), 0), words), words) == good


def test_more_unknown_names_than_are_learned_at_once_go_the_fast_way() -> None:
    parts = ",".join(f'{{"metric":"many-{at}","value":{at}}}' for at in range(100))
    report = f'{{"system":"new-3","time":1764064800000,"readings":[{parts}]}}'.encode()
    parsed = agree([(b"new-3", report)] * 700)
    assert (len(parsed.columns), parsed.slow) == (70_000, [])


def test_one_poisoned_message_costs_the_others_nothing() -> None:
    poison = [b"", b"nonsense", GOOD[:-1], b"{}", GOOD.replace(b"1.5", b"NaN"), GOOD + b"\n" + GOOD, b"\xff" + GOOD]
    batch = [(b"PC-1", GOOD)] * 30 + [(b"PC-1", one) for one in poison] + [(b"PC-1", GOOD)] * 30
    assert len(agree(batch).columns.message) == 60


# Fragments that have fooled a fast reader somewhere: each stands for a value, a name or a time.
ODD = [
    "1", "1.5", "-0", "1e3", "1E400", "-1e-400", "true", "false", "null", '"12"', '"true"', "[1]", '["x"]', "{}",
    '{"a":1}', "NaN", "Infinity", "01", "1.", ".5", "+1", "18446744073709551616", "1" * 40, "1" * 400, '"\\u0035"',
    "9007199254740993", "0.1", "123456789.123456789", "5", "5.0", '"5"', '"PC-1"', '"PC\\u002d1"', '"a:b"', '"cpu"',
    '"unknown"', '""', '"\\ud800"', '"Büro"', '"i"', '"2026-11-23T10:00:00Z"', '"2026-02-30T10:00:00Z"',
    '"2026-11-23T10:00:60Z"', '"2026-11-23t10:00:00z"', '"2026-11-23 10:00:00Z"', '"2026-11-23T10:00:00"',
    '"2026-11-23T24:00:00Z"', '"1969-12-31T23:59:59Z"', '"1970-01-01T00:30:00+01:00"', '"2026-11-23T10:00:00.Z"',
    '"2026-11-23T10:00:00.1234567890123Z"', '"9999-12-31T23:59:59.999-00:01"', '"2026-11-23T10:00:00,5Z"',
    "1764064800000", "1764064800000.0", "1.7640648e12", "-5", "253402300799999", "253402300800000", "1764069900000",
    '"1764064800000"', '"x\\ny"', '"{}"', '"q\\"q"', '"m{"', '"C:"', "7", '"7"',
]  # fmt: skip
FIELDS = [
    "system",
    "metric",
    "value",
    "time",
    "instance",
    "unit",
    "tags",
    "readings",
    "sys\\u0074em",
    "x:y",
    "",
    "System",
]
PLAIN = {"system": '"PC-1"', "metric": '"cpu"', "value": "1.5", "time": "1764064800000"}

pairs = st.tuples(st.sampled_from(FIELDS), st.sampled_from(ODD))
spaces = st.sampled_from(["", "", "", " ", "\n", "\t", "\r", "\x0b", "  "])


@st.composite
def objects(draw: Any) -> bytes:
    """Plain objects with some fields replaced, repeated, added or left out."""
    fields = list({**PLAIN, **dict(draw(st.lists(pairs, max_size=2)))}.items())
    fields += draw(st.lists(pairs, max_size=1))
    for gone in draw(st.lists(st.sampled_from(list(PLAIN)), max_size=1)) if draw(st.integers(0, 3)) == 0 else []:
        fields = [pair for pair in fields if pair[0] != gone]
    fields = draw(st.permutations(fields)) if draw(st.booleans()) else fields
    gap = draw(spaces)
    text = "{" + f",{gap}".join(f'"{name}"{gap}:{gap}{value}' for name, value in fields) + "}"
    return (draw(spaces) + text + draw(spaces)).encode()


@st.composite
def reports(draw: Any) -> bytes:
    """Reports whose parts are mostly right."""
    parts = []
    for _ in range(draw(st.integers(0, 3))):
        fields = {name: PLAIN[name] for name in ("metric", "value")}
        if draw(st.booleans()):
            fields |= dict(draw(st.lists(pairs, max_size=2)))
        parts.append("{" + ",".join(f'"{name}":{value}' for name, value in fields.items()) + "}")
    if draw(st.integers(0, 5)) == 0:
        parts.append(draw(st.sampled_from(ODD)))
    fields = {"system": '"PC-1"', "time": "1764064800000", "readings": f"[{','.join(parts)}]"}
    if draw(st.booleans()):
        fields |= dict(draw(st.lists(pairs, max_size=1)))
    extra = draw(st.lists(pairs, max_size=1)) if draw(st.integers(0, 3)) == 0 else []
    return ("{" + ",".join(f'"{name}":{value}' for name, value in [*fields.items(), *extra]) + "}").encode()


@st.composite
def broken(draw: Any) -> bytes:
    """A plain object with some bytes replaced, put in or taken out."""
    data = bytearray(draw(st.one_of(objects(), reports(), st.just(GOOD))))
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(data)))
        data[at : at + draw(st.integers(0, 2))] = draw(
            st.one_of(
                st.sampled_from([b"}", b"{", b'"', b":", b",", b"\n", b"\\", b"[", b"]", b"\x00"]),
                st.binary(max_size=2),
            )
        )
    return bytes(data)


values = st.one_of(
    st.just(GOOD),
    objects(),
    reports(),
    broken(),
    st.sampled_from([b"", GOOD + GOOD, GOOD + b"\n" + GOOD, b"\n", b" "]),
    st.none(),
)
keys = st.one_of(st.none(), st.sampled_from([name.encode() for name in SYSTEMS]), st.just(b"\xff"))


@st.composite
def batches(draw: Any) -> list[tuple[bytes | None, bytes | None]]:
    found = []
    for value in draw(st.lists(values, max_size=12)):
        key: bytes | None = b"PC-1"
        if draw(st.integers(0, 4)) == 0:
            key = draw(keys)
        elif value is not None and (good := check_message(value)[0]):
            key = good[0].system.encode()
        found.append((key, value))
    return found


@given(batches())
@settings(max_examples=800, deadline=None)
@example([(b"5", b'{"system":5,"metric":"cpu","value":1,"time":1764064800000,"x":1}')])
@example([(b"5", b'{"system":5,"metric":"cpu","value":1,"time":"1764064800000"}')])
@example([(b"PC-1", GOOD.replace(b'"metric"', b'"system":"PC-2","metric"'))])
@example([(b"PC-1", GOOD[:-1] + b',"x":"y"}'), (b"5", b'{"system":5,"metric":5,"value":1,"time":1}')])
def test_both_ways_agree_on_every_batch(batch: list[tuple[bytes | None, bytes | None]]) -> None:
    agree(batch)


DATE = r"(19[67]|20[0-4]|999)\d-[01]\d-[0-3]\d"
CLOCK = r"[0-2]\d:[0-6]\d:[0-6]\d(\.\d{1,10})?([zZ]|[+-][0-2]\d:[0-6]\d)?"


@given(st.lists(st.from_regex(f"{DATE}[Tt ]{CLOCK}", fullmatch=True)))
@settings(deadline=None)
@example(["2028-02-29T00:00:00+14:00", "2027-02-29T00:00:00Z", "1970-01-01T00:00:00Z", "9999-12-31T23:59:59.999Z"])
def test_times_agree(texts: list[str]) -> None:
    agree(
        [
            (b"PC-1", json.dumps({"system": "PC-1", "metric": "cpu", "value": 1, "time": text}).encode())
            for text in texts
        ]
    )


DECIMAL = r"-?(0|[1-9]\d{0,20})(\.\d{1,22})?([eE][+-]?\d{1,3})?"
numbers = st.one_of(
    st.floats(allow_nan=False, allow_infinity=False).map(repr),
    st.integers(-(1 << 70), 1 << 70).map(str),
    st.from_regex(DECIMAL, fullmatch=True),
    st.decimals(-1000, 1000, places=3).map(str),
)


@given(st.lists(numbers))
@settings(deadline=None)
@example(
    ["9007199254740993", "9007199254740992", "0.30000000000000004", "1e22", "1e23", "123456789012345678e-5", "-0.0"]
)
def test_numbers_agree_to_the_last_bit(texts: list[str]) -> None:
    agree([(b"PC-1", GOOD.replace(b"1.5", text.encode())) for text in texts])


def test_a_number_in_its_usual_form_goes_the_fast_way_and_so_does_one_of_many_digits() -> None:
    batch = [
        (b"PC-1", GOOD.replace(b"1.5", text))
        for text in (b"93.25", b"-1", b"1e-7", b"0.12345678901234567890", b"1e300")
    ]
    assert agree(batch).slow == []


def test_a_name_longer_than_a_word_is_told_from_its_neighbours() -> None:
    metrics = [f"disk.of.the.large.machine.{number}.busy" for number in range(200)]
    batch = [(b"PC-1", GOOD.replace(b"cpu", name.encode())) for name in metrics * 2]
    assert agree(batch).slow == []
