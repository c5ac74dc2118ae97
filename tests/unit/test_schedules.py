"""When something may be sent: weeks of half hours, time zones, clocks that are put forward and back, silences."""

from __future__ import annotations

import pytest

from tocsin.evaluator.core.gate import ALWAYS, Calendar, Gate, gate_of
from tocsin.shared.configuration.records import Matcher, Notification, Schedule, Sensor, SensorUse, ThresholdSpec
from tocsin.shared.configuration.records import Silence as SilenceRecord
from tocsin.shared.configuration.schedules import PRESETS, Week, check_zone, parse_days, parse_range, parse_week
from tocsin.shared.configuration.silences import fits, matcher_text, parse_matcher
from tocsin.shared.configuration.snapshot import Configuration
from tocsin.shared.times import format_rfc3339, parse_rfc3339


def at(text: str) -> int:
    return parse_rfc3339(text)


def openings(calendar: Calendar, start: str, hours: int) -> list[str]:
    """The instants at which it becomes allowed or ceases to be, found second by second."""
    found = []
    first = at(start)
    before = calendar.allows(first)
    for second in range(1, hours * 3600 + 1):
        now = calendar.allows(first + second * 1000)
        if now is not before:
            found.append(f"{'on' if now else 'off'} {format_rfc3339(first + second * 1000)[:19]}")
        before = now
    return found


@pytest.mark.parametrize(
    ("name", "hours", "first", "closed"),
    [
        ("12x5", 60, "2026-11-23T07:00:00Z", "2026-11-28T08:00:00Z"),
        ("18x6", 108, "2026-11-23T06:00:00Z", "2026-11-29T12:00:00Z"),
        ("24x7", 168, "2026-11-23T00:00:00Z", None),
        ("never", 0, None, "2026-11-24T12:00:00Z"),
    ],
)
def test_presets_have_the_hours_they_are_named_after(
    name: str, hours: int, first: str | None, closed: str | None
) -> None:
    week = PRESETS[name]
    assert sum(bits.bit_count() for bits in week.days) == hours * 2
    calendar = Calendar(week, "UTC")
    assert calendar.next_allowed(at("2026-11-23T00:00:00Z")) == (None if first is None else at(first))  # a Monday
    if closed is not None:
        assert not calendar.allows(at(closed))


def test_the_next_opening_is_after_the_weekend() -> None:
    calendar = Calendar(PRESETS["12x5"], "UTC")
    assert calendar.next_allowed(at("2026-11-27T18:59:59.999Z")) == at("2026-11-27T18:59:59.999Z")
    assert calendar.next_allowed(at("2026-11-27T19:00:00Z")) == at("2026-11-30T07:00:00Z")


def test_a_slot_is_local_time_before_and_after_the_clock_changes() -> None:
    berlin = Calendar(parse_week({"mon-sun": ["08:00-09:00"]}), "Europe/Berlin")
    assert openings(berlin, "2026-03-28T00:00:00Z", 48) == [
        "on 2026-03-28T07:00:00", "off 2026-03-28T08:00:00",
        "on 2026-03-29T06:00:00", "off 2026-03-29T07:00:00",
    ]  # fmt: skip


def test_a_slot_that_the_clock_leaps_over_does_not_come_and_one_it_repeats_comes_twice() -> None:
    berlin = Calendar(parse_week({"sun": ["02:00-03:00"]}), "Europe/Berlin")
    assert openings(berlin, "2026-03-29T00:00:00Z", 5) == []
    assert berlin.next_allowed(at("2026-03-29T00:00:00Z")) == at("2026-04-05T00:00:00Z")
    assert openings(berlin, "2026-10-24T23:00:00Z", 5) == ["on 2026-10-25T00:00:00", "off 2026-10-25T02:00:00"]


def test_a_window_that_the_leap_falls_into_opens_at_the_leap() -> None:
    berlin = Calendar(parse_week({"sun": ["02:30-04:00"]}), "Europe/Berlin")
    assert openings(berlin, "2026-03-29T00:00:00Z", 3) == ["on 2026-03-29T01:00:00", "off 2026-03-29T02:00:00"]
    assert berlin.next_allowed(at("2026-03-29T00:30:00Z")) == at("2026-03-29T01:00:00Z")


def test_zones_with_odd_offsets_and_half_hour_summer_time() -> None:
    kathmandu = Calendar(parse_week({"mon": ["00:00-00:30"]}), "Asia/Kathmandu")
    assert kathmandu.next_allowed(at("2026-11-22T12:00:00Z")) == at("2026-11-22T18:15:00Z")
    lord_howe = Calendar(parse_week({"sun": ["01:30-02:00"]}), "Australia/Lord_Howe")
    # At 02:00 the clock goes back to 01:30: that half hour comes twice.
    assert openings(lord_howe, "2026-04-04T13:00:00Z", 4) == ["on 2026-04-04T14:30:00", "off 2026-04-04T15:30:00"]


def test_a_clock_that_changes_within_a_half_hour_is_found_to_the_second() -> None:
    # St. John's changed its clocks at 00:01 until 2011.
    johns = Calendar(parse_week({"sun": ["01:00-01:30"]}), "America/St_Johns")
    assert openings(johns, "2010-03-14T03:00:00Z", 3) == ["on 2010-03-14T03:31:00", "off 2010-03-14T04:00:00"]
    assert johns.next_allowed(at("2010-03-14T03:00:00Z")) == at("2010-03-14T03:31:00Z")


def test_the_end_of_time_is_no_crash() -> None:
    calendar = Calendar(PRESETS["12x5"], "Pacific/Kiritimati")
    assert calendar.next_allowed(at("9999-12-31T23:59:59.999Z")) is not None
    assert Gate(None, ((0, at("9999-12-31T23:59:59.999Z")),)).next_open(5) == at("9999-12-31T23:59:59.999Z")


def test_silences_cover_their_start_but_not_their_end_and_follow_each_other() -> None:
    first = at("2026-11-23T08:00:00Z"), at("2026-11-23T12:00:00Z")
    second = at("2026-11-23T11:00:00Z"), at("2026-11-23T19:30:00Z")
    gate = gate_of(Calendar(PRESETS["12x5"], "UTC"), [first, second])
    assert gate.next_open(at("2026-11-23T07:59:59Z")) == at("2026-11-23T07:59:59Z")
    assert gate.next_open(at("2026-11-23T08:00:00Z")) == at("2026-11-24T07:00:00Z")
    assert gate_of(Calendar(PRESETS["24x7"], "Asia/Tokyo"), []) is ALWAYS


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("8:00-18:00", "is not a range"),
        ("08:15-18:00", "full or half hour"),
        ("18:00-08:00", "ends before it begins"),
        ("08:00-08:00", "ends before it begins"),
        ("08:00-24:30", "outside the day"),
        ("25:00-26:00", "outside the day"),
        ("always", "is not a range"),
    ],
)
def test_a_range_that_is_none_is_refused_with_a_reason(text: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        parse_range(text)


def test_days_are_short_long_or_from_to() -> None:
    assert parse_days("mon") == (0,)
    assert parse_days("Saturday") == (5,)
    assert parse_days("mon-fri") == (0, 1, 2, 3, 4)
    assert parse_days("sat-mon") == (5, 6, 0)
    with pytest.raises(ValueError, match="not a day"):
        parse_days("mo")
    with pytest.raises(ValueError, match="not an IANA time zone"):
        check_zone("Berlin")
    with pytest.raises(ValueError, match="not an IANA time zone"):
        check_zone("../../etc/passwd")


def test_a_week_survives_its_record() -> None:
    week = parse_week({"mon-fri": ["08:00-12:00", "13:30-24:00"], "sun": ["00:00-00:30"]})
    record = Schedule(id="w", name="Office", time_zone="Europe/Berlin", slots=week)
    assert Schedule.decode(record.encode()) == record
    assert week.as_ranges()["mon"] == ["08:00-12:00", "13:30-24:00"]
    assert Week().as_ranges() == {}


def silence(*matchers: str) -> SilenceRecord:
    return SilenceRecord(
        id="q", name="q", matchers=tuple(parse_matcher(text) for text in matchers), starts_at=0, until=1
    )


@pytest.mark.parametrize(
    ("matchers", "expected"),
    [
        (["notification=finance*"], True),
        (["notification=Finance is slow"], True),
        (["notification=HR*"], False),
        (["notification!=HR*"], True),
        (["sensor=*hang"], True),
        (["sensor!=*hang"], False),
        (["group=*"], False),  # it has none: every system
        (["group!=Lab"], True),
        (["notification=finance*", "sensor=Disk*"], False),
        ([], False),
    ],
)
def test_matchers_look_at_names_and_all_of_them_must_fit(matchers: list[str], expected: bool) -> None:
    notification = Notification(
        id="n", name="FINANCE is slow", sensors=(SensorUse(sensor_id="a"), SensorUse(sensor_id="b")),
        threshold=ThresholdSpec(value=1, is_percent=False), recipient_ids=(),
    )  # fmt: skip
    sensors = {
        "a": Sensor.model_validate({"id": "a", "name": "CPU busy", "metric": "m", "trigger": "> 1"}),
        "b": Sensor.model_validate({"id": "b", "name": "App Hang", "metric": "m", "trigger": "> 1"}),
    }
    configuration = Configuration(sensors=sensors, notifications={"n": notification})
    assert fits(silence(*matchers), notification, configuration) is expected


def test_a_matcher_reads_back_what_it_prints_and_refuses_what_is_none() -> None:
    for text in ("notification=finance*", "group!=lab [ab]?"):
        assert matcher_text(parse_matcher(text)) == text
    assert parse_matcher(" sensor = CPU ") == Matcher(field="sensor", pattern="cpu")
    for text in ("recipient=x", "notification", "=x", "notification=", "sensor~x"):
        with pytest.raises(ValueError, match=r"matcher|empty"):
            parse_matcher(text)
