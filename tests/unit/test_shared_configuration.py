"""Conditions, groups, names, the assembled configuration and its revisions."""

from __future__ import annotations

import time
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tocsin.shared.configuration.codec import decode_record, encode_record
from tocsin.shared.configuration.condition import Condition, parse_condition
from tocsin.shared.configuration.follower import Assembler
from tocsin.shared.configuration.groups import group_matcher
from tocsin.shared.configuration.names import check_name, fold, record_key
from tocsin.shared.configuration.records import Group, Notification, Record, Sensor, SensorUse, ThresholdSpec
from tocsin.shared.configuration.snapshot import Configuration, notification_revision, sensor_revision
from tocsin.shared.errors import CodecError


@pytest.mark.parametrize(
    ("text", "holding", "not_holding"),
    [
        ("> 90", [90.1, 1e308], [90, -1]),
        (">= 90", [90], [89.999]),
        ("< 93", [92.9, -1e308], [93]),
        ("<= -0.5", [-0.5, -1], [0]),
        ("== 1", [1.0], [1.0000001]),
        ("!= 1", [0, 2], [1]),
        ("between 10 and 20", [10, 15, 20], [9.999, 20.001]),
        ("outside 10 and 20", [9.999, 20.001], [10, 15, 20]),
        ("  >1e3 ", [1000.1], [1000]),
        ("> .5", [0.6], [0.5]),
    ],
)
def test_a_condition_holds(text: str, holding: list[float], not_holding: list[float]) -> None:
    condition = parse_condition(text)
    assert all(condition.holds(value) for value in holding)
    assert not any(condition.holds(value) for value in not_holding)


@pytest.mark.parametrize(
    "text",
    [
        *("", ">", "90", "=> 90", "= 90", "> 90 %", "> nan", "> inf", "> 1e999", "between 10 20", "between 20 and 10"),
        *("> 90 and < 95", "> ９", "> 0x10", "> 1_000", "outside 1 and", "> 90\x00"),
    ],
)
def test_what_is_no_condition_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        parse_condition(text)


@given(
    st.builds(
        Condition, st.sampled_from([">", ">=", "<", "<=", "==", "!="]), st.floats(allow_nan=False, allow_infinity=False)
    )
)
def test_a_condition_that_is_written_is_read_back(condition: Condition) -> None:
    assert parse_condition(str(condition)) == condition


@pytest.mark.parametrize(
    ("group", "system", "tags", "expected"),
    [
        (None, "anything", {}, True),
        (Group(id="g", name="g"), "anything", {}, True),
        (Group(id="g", name="g", systems=("FIN-*",)), "FIN-1", {}, True),
        (Group(id="g", name="g", systems=("FIN-*",)), "fin-1", {}, False),
        (Group(id="g", name="g", systems=("FIN-*",)), "XFIN-1", {}, False),
        (Group(id="g", name="g", systems=("FIN-*",)), "FIN-1\nx", {}, True),
        (Group(id="g", name="g", systems=("A?", "B[12]")), "B2", {}, True),
        (Group(id="g", name="g", systems=("A?", "B[12]")), "B3", {}, False),
        (Group(id="g", name="g", systems=("A.B",)), "AxB", {}, False),
        (Group(id="g", name="g", tags={"site": "Berlin"}), "PC", {"site": "Berlin", "x": "y"}, True),
        (Group(id="g", name="g", tags={"site": "Berlin"}), "PC", {"site": "berlin"}, False),
        (Group(id="g", name="g", tags={"a": "1", "b": "2"}), "PC", {"a": "1"}, False),
        (Group(id="g", name="g", systems=("A*",), tags={"a": "1"}), "B", {"a": "1"}, False),
    ],
)
def test_a_group_holds_a_system(group: Group | None, system: str, tags: Mapping[str, str], expected: bool) -> None:
    assert group_matcher(group)(system, tags) is expected


def test_no_pattern_explodes() -> None:
    matches = group_matcher(Group(id="g", name="g", systems=("*a" * 100 + "b",)))
    before = time.monotonic()
    assert not matches("a" * 256, {})
    assert time.monotonic() - before < 1


@pytest.mark.parametrize("name", ["", "  ", "a\x00b", "a\nb", "\ud800", "x" * 201, "\x1f"])
def test_what_is_no_name_is_refused(name: str) -> None:
    with pytest.raises(ValueError):
        check_name(name)


def test_names_are_compared_trimmed_composed_and_without_case() -> None:
    assert fold("  Straße ") == fold("STRASSE")
    assert fold("e\u0301") == fold("é")
    assert check_name(" e\u0301 ") == "é"
    assert record_key("sensor", "CPU busy") == "sensor/cpu busy"
    assert fold("a b") != fold("ab")


def sensor(**fields: Any) -> Sensor:
    return Sensor.model_validate({"id": "s1", "name": "CPU", "metric": "cpu", "trigger": "> 90", **fields})


def notification(**fields: Any) -> Notification:
    return Notification(
        **{
            "id": "n1",
            "name": "N",
            "sensors": (SensorUse(sensor_id="s1"),),
            "threshold": ThresholdSpec(value=Decimal(1), is_percent=False),
            "recipient_ids": ("r1",),
            **fields,
        }
    )


def revision(*records: Record, of: Notification | None = None) -> str | None:
    configuration = Configuration.of(1, {record_key(record.kind, record.name): record for record in records})
    return notification_revision(of or notification(), configuration)


def test_a_revision_is_of_the_rule_and_not_of_names_texts_or_recipients() -> None:
    first = revision(sensor())
    assert revision(sensor(name="Processor", description="x", revision=9)) == first
    renamed = notification(name="M", description="x", recipient_ids=("r2",), notify_on=("resolved",))
    assert revision(sensor(), of=renamed) == first
    assert sensor_revision(sensor(name="Processor")) == sensor_revision(sensor())


@pytest.mark.parametrize(
    "fields", [{"metric": "ram"}, {"trigger": "> 91"}, {"clear": "< 80"}, {"for": "5m"}], ids=lambda f: next(iter(f))
)
def test_editing_a_sensor_makes_a_new_revision(fields: dict[str, Any]) -> None:
    assert sensor_revision(sensor(**fields)) != sensor_revision(sensor())
    assert revision(sensor(**fields)) != revision(sensor())


@pytest.mark.parametrize(
    "fields",
    [
        {"threshold": ThresholdSpec(value=Decimal(1), is_percent=True)},
        {"threshold": ThresholdSpec(value=Decimal(2), is_percent=False)},
        {"reporting_within": 1},
        {"sensors": (SensorUse(sensor_id="s1", instance="a"),)},
        {"group_id": "g1"},
    ],
)
def test_editing_the_rule_of_a_notification_makes_a_new_revision(fields: dict[str, Any]) -> None:
    group = Group(id="g1", name="G")
    assert revision(sensor(), group, of=notification(**fields)) != revision(sensor(), group)


def test_editing_a_group_is_editing_the_notifications_that_name_it() -> None:
    named = notification(group_id="g1")
    before = revision(sensor(), Group(id="g1", name="G", systems=("A",)), of=named)
    assert revision(sensor(), Group(id="g1", name="H", systems=("A",)), of=named) == before
    assert revision(sensor(), Group(id="g1", name="G", systems=("B",)), of=named) != before
    assert revision(sensor(), Group(id="g1", name="G", systems=("A",), tags={"a": "b"}), of=named) != before


def test_a_notification_whose_sensor_or_group_is_missing_has_no_revision() -> None:
    assert revision() is None
    assert revision(sensor(), of=notification(group_id="gone")) is None


@pytest.mark.parametrize(
    ("value", "is_percent", "text"),
    [
        ("1", False, "1 system currently reporting"),
        ("3", False, "3 systems currently reporting"),
        ("24", True, "24% of systems currently reporting"),
        ("24.50", True, "24.5% of systems currently reporting"),
        ("1E+2", True, "100% of systems currently reporting"),
    ],
)
def test_a_threshold_in_words(value: str, is_percent: bool, text: str) -> None:
    assert ThresholdSpec(value=Decimal(value), is_percent=is_percent).text() == text


def test_a_record_survives_the_topic_and_a_field_of_a_later_version() -> None:
    written = sensor(clear="between 1 and 2", **{"for": "5m"})
    key, value = encode_record(written)
    assert key == b"sensor/cpu"
    assert decode_record(key, value) == written
    assert decode_record(key, value.replace(b'{"', b'{"levels":{},"', 1)) == written


@pytest.mark.parametrize(
    ("key", "value"),
    [
        (b"sensor/cpu", b"{"),
        (b"sensor/cpu", b"null"),
        (b"sensor/cpu", b"[" * 100_000),
        (b"sensor/cpu", b"\xff"),
        (b"sensor/cpu", b'{"id":"s","name":"CPU","metric":"m","trigger":"> nan"}'),
        (b"robot/cpu", b"{}"),
        (b"\xff", b"{}"),
        (b"", b"{}"),
    ],
)
def test_what_is_no_record_is_told_apart_by_a_codec_error(key: bytes, value: bytes) -> None:
    with pytest.raises(CodecError):
        decode_record(key, value)


class Log:
    """Records given to an assembler in the order of a topic."""

    def __init__(self) -> None:
        self.assembler = Assembler()

    def put(self, record: Record, change: int, count: int) -> bool:
        key, value = encode_record(record)
        return self.assembler.add(key, value, change, count)

    def delete(self, key: str, change: int, count: int) -> bool:
        return self.assembler.add(key.encode(), None, change, count)

    @property
    def groups(self) -> list[str]:
        return sorted(group.name for group in self.assembler.configuration().groups.values())


def named(name: str, record_id: str | None = None) -> Group:
    return Group(id=record_id or name, name=name)


def test_the_records_of_a_change_take_effect_together() -> None:
    log = Log()
    assert [log.put(named("A"), 1, 3), log.put(named("B"), 1, 3), log.groups] == [False, False, []]
    assert log.put(named("C"), 1, 3)
    assert log.groups == ["A", "B", "C"]
    assert log.assembler.configuration().change == 1


def test_a_change_that_compaction_has_thinned_takes_effect_when_the_next_begins_or_the_end_is_read() -> None:
    log = Log()
    assert not log.put(named("A"), 1, 3)
    assert log.put(named("B"), 2, 2), "the next change begins"
    assert log.groups == ["A"]
    assert log.assembler.flush()
    assert log.groups == ["A", "B"]
    assert not log.assembler.flush(), "nothing is kept back any more"


def test_a_rename_is_never_seen_half() -> None:
    log = Log()
    log.put(named("Old", "id"), 1, 1)
    assert not log.put(named("New", "id"), 2, 2)
    assert log.groups == ["Old"]
    assert log.delete("group/old", 2, 2)
    assert log.groups == ["New"]


def test_a_tombstone_deletes_and_deleting_what_is_not_there_does_no_harm() -> None:
    log = Log()
    log.put(named("A"), 1, 1)
    assert log.delete("group/a", 2, 1)
    assert log.delete("group/never", 3, 1)
    assert log.groups == []


def test_an_unreadable_record_keeps_the_last_good_one_and_lets_the_rest_of_its_change_pass() -> None:
    log = Log()
    log.put(named("A"), 1, 1)
    log.assembler.add(b"group/a", b"{", 2, 2)
    assert log.put(named("B"), 2, 2)
    assert log.groups == ["A", "B"]
    assert list(log.assembler.unreadable) == ["group/a"]
    log.put(named("A"), 3, 1)
    assert log.assembler.unreadable == {}


def test_a_record_without_a_change_header_takes_effect_at_once() -> None:
    log = Log()
    assert log.put(named("A"), 0, 0)
    assert log.put(named("B"), 0, 0)
    assert log.groups == ["A", "B"]
