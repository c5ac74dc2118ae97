"""Recordings read line by line, and the times at which they happen again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tocsin.ingest.core.pace import Schedule, Speed, parse_speed
from tocsin.ingest.core.recordings import Columns, Flaw, Recorded, parse_csv, parse_ndjson, parse_time, plan_csv
from tocsin.ingest.files import merged, scan
from tocsin.shared.errors import UsageError
from tocsin.shared.readings import GoodReading

NOON = 1_767_268_800_000  # 2026-01-01T12:00:00Z
OURS = Columns()


def csv(text: str, columns: Columns = OURS) -> list[Any]:
    """Readings as they are, flaws as (line, field, reason)."""
    return [
        (one.line, one.rejection.field, str(one.rejection.reason)) if isinstance(one, Flaw) else one
        for one in parse_csv(text.splitlines(keepends=True), columns)
    ]


def reading(value: float, time: int, instance: str | None = None) -> Recorded:
    return Recorded(time, (GoodReading("PC", "m", instance, value, time),), is_report=False)


def test_our_own_csv_is_read_with_or_without_instances() -> None:
    assert csv("time,system,metric,value\n2026-01-01T12:00:00Z,PC,m,1\n") == [reading(1.0, NOON)]
    assert csv("value,instance,metric,system,time\n2,x,m,PC,2026-01-01T13:00:00+01:00\n3,,m,PC,1767268800001") == [
        reading(2.0, NOON, "x"),
        reading(3.0, NOON + 1),
    ]


def test_a_foreign_csv_is_read_with_the_options() -> None:
    foreign = Columns(system="PC", metric="m", value_column="Label", skip_if_empty="Value")
    assert csv("TimeStamp,Value,Label\n2026-01-01 12:00:00,0.5,1\n2026-01-01 12:00:01,,0\n", foreign) == [
        reading(1.0, NOON)
    ]
    seconds = Columns(system="PC", metric="m", time_column="ts", time_unit="s")
    assert csv("ts,value\n1767268800,1\n1767268800.5,2\n", seconds) == [reading(1.0, NOON), reading(2.0, NOON + 500)]


def test_a_row_without_a_value_is_no_reading_and_no_flaw() -> None:
    assert csv("time,system,metric,value\n2026-01-01T12:00:00Z,PC,m,\n\n2026-01-01T12:00:00Z,PC,m, \n") == []


def test_flaws_name_their_line_and_the_rest_is_read() -> None:
    rows = [
        "time,system,metric,value",
        "yesterday,PC,m,1",
        "2026-01-01T12:00:00Z,,m,1",
        "2026-01-01T12:00:00Z,PC,m,nan",
        "2026-01-01T12:00:00Z,PC,m,1e999",
        "2026-01-01T12:00:00Z,PC,m,many",
        "2026-01-01T12:00:00Z,PC,m,1_000",
        "2026-01-01T12:00:00Z,PC",
        "2026-01-01T12:00:00Z,PC,m,1,2,3",
        "2026-01-01T12:00:00Z,P\udcff,m,1",
        '2026-01-01T12:00:00Z,"PC"x,m,1',
        "2026-01-01T12:00:00Z,PC,m,4",
    ]
    assert csv("\n".join(rows)) == [
        (2, "time", "bad-time"),
        (3, "system", "empty"),
        (4, "value", "not-finite"),
        (5, "value", "not-finite"),
        (6, "value", "wrong-type"),
        (7, "value", "wrong-type"),
        (8, None, "invalid"),
        (9, None, "invalid"),
        (10, "system", "bad-unicode"),
        (11, None, "invalid"),
        reading(4.0, NOON),
    ]


def test_a_missing_column_says_which_option_helps() -> None:
    with pytest.raises(UsageError, match=r"no column `system` in the header \(timestamp, value\); name it with --sys"):
        csv("timestamp,value\n1,1\n")
    with pytest.raises(UsageError, match="--value-column"):
        csv("timestamp,value\n1,1\n", Columns(system="PC", metric="m", value_column="Label"))


def test_a_header_that_names_a_column_twice_is_not_guessed_at() -> None:
    with pytest.raises(UsageError, match="the header names 'value' twice"):
        plan_csv(["time", "system", "metric", "value", " Value"], Columns())
    assert plan_csv(["time", "system", "metric", "value", "note", "note"], Columns()).value == 3  # of no interest


def test_an_empty_file_holds_nothing() -> None:
    assert csv("") == []


@pytest.mark.parametrize(
    ("text", "wire"),
    [
        ("2026-01-01 12:00:00", "2026-01-01 12:00:00Z"),
        ("2026-01-01T12:00:00.5", "2026-01-01T12:00:00.5Z"),
        ("2026-01-01T12:00", "2026-01-01T12:00:00Z"),
        ("2026-01-01", "2026-01-01T00:00:00Z"),
        ("2026-01-01T12:00:00-05:00", "2026-01-01T12:00:00-05:00"),
        ("1767268800000", 1_767_268_800_000),
        ("noon", "noon"),
        ("9" * 400, "9" * 400),
    ],
)
def test_times_without_a_zone_are_utc(text: str, wire: Any) -> None:
    assert parse_time(text) == wire


def test_ndjson_holds_readings_and_reports_and_flaws() -> None:
    lines = [
        b'{"system":"PC","metric":"m","value":1,"time":5}\n',
        b"\n",
        b'{"system":"PC","time":9,"readings":[{"metric":"m","value":2},{"value":1}]}\r\n',
        b"oops\n",
    ]
    found = list(parse_ndjson(lines))
    assert found[0] == reading(1.0, 5)
    assert [str(one) for one in found if isinstance(one, Flaw)] == [
        "reading 1: metric: field required (missing)",
        "not JSON: Expecting value: line 1 column 1 (char 0) (not-json)",
    ]
    assert found[2] == Recorded(9, (GoodReading("PC", "m", None, 2.0, 9),), is_report=True)


def test_files_are_merged_by_time_and_equal_times_keep_the_order_of_files_and_lines(tmp_path: Path) -> None:
    def file(name: str, *rows: tuple[int, int]) -> Path:
        path = tmp_path / name
        path.write_text("time,system,metric,value\n" + "".join(f"{time},PC,m,{value}\n" for time, value in rows))
        return path

    paths = [file("b.csv", (5, 1), (3, 2), (5, 3)), file("a.csv", (3, 4), (4, 5), (5, 6))]
    scans = [scan(path, OURS, lambda _path, _flaw: None) for path in paths]
    assert [one.is_sorted for one in scans] == [False, True]
    assert [(one.oldest, one.newest, one.readings) for one in scans] == [(3, 5, 3), (3, 5, 3)]
    assert [one.good[0].value for one in merged(scans, OURS)] == [2, 4, 5, 1, 3, 6]


@pytest.mark.parametrize(("text", "factor"), [("60x", 60.0), ("60", 60.0), ("0.5X", 0.5), (" max ", None)])
def test_speeds(text: str, factor: float | None) -> None:
    assert parse_speed(text) == Speed(factor)


@pytest.mark.parametrize("text", ["", "fast", "0x", "-1", "1e3", "nan", "x60"])
def test_what_is_no_speed(text: str) -> None:
    with pytest.raises(UsageError, match="or max"):
        parse_speed(text)


def test_at_a_speed_times_begin_now_and_come_closer_together() -> None:
    schedule = Schedule(oldest=1000, newest=61_000, start=500_000, speed=Speed(60), keep_times=False)
    assert [schedule.event_time(time) for time in (1000, 31_000, 61_000)] == [500_000, 500_500, 501_000]
    assert [schedule.due(time) for time in (1000, 31_000, 61_000)] == [500_000, 500_500, 501_000]
    assert schedule.again().start == 501_017


def test_as_fast_as_possible_times_only_move_so_that_the_newest_is_now() -> None:
    schedule = Schedule(oldest=1000, newest=61_000, start=500_000, speed=Speed(None), keep_times=False)
    assert [schedule.event_time(time) for time in (1000, 31_000, 61_000)] == [440_000, 470_000, 500_000]
    assert schedule.due(61_000) == 500_000


def test_kept_times_stay_and_are_still_paced() -> None:
    schedule = Schedule(oldest=1000, newest=61_000, start=500_000, speed=Speed(60), keep_times=True)
    assert schedule.event_time(31_000) == 31_000
    assert schedule.due(31_000) == 500_500
    recorded = reading(1.0, 31_000)
    assert schedule.moved(recorded) is recorded


def test_every_time_inside_a_report_moves_alike() -> None:
    schedule = Schedule(oldest=1000, newest=61_000, start=500_000, speed=Speed(None), keep_times=False)
    tags = {"a": "b"}
    good = (GoodReading("PC", "m", None, 1.0, 60_000, "u", tags), GoodReading("PC", "n", "i", 2.0, 61_000, None, tags))
    assert schedule.moved(Recorded(61_000, good, is_report=True)) == Recorded(
        500_000,
        (GoodReading("PC", "m", None, 1.0, 499_000, "u", tags), GoodReading("PC", "n", "i", 2.0, 500_000, None, tags)),
        is_report=True,
    )


def test_a_number_of_seconds_that_no_time_has_is_refused_where_it_stands() -> None:
    columns = Columns(system="PC", metric="m", time_unit="s")
    (flaw,) = parse_csv(["time,value", "1e999,1"], columns)
    assert isinstance(flaw, Flaw)
    assert flaw.line == 2
    assert flaw.rejection.field == "time"


def test_a_stray_quote_costs_its_own_line_only() -> None:
    rows = ["time,system,metric,value", f"{NOON},PC,m,1", f'{NOON},PC,"m,1', f"{NOON + 1},PC,m,2", f"{NOON + 2},PC,m,3"]
    assert csv("\n".join(rows)) == [
        reading(1.0, NOON),
        (3, None, "invalid"),
        reading(2.0, NOON + 1),
        reading(3.0, NOON + 2),
    ]


@pytest.mark.parametrize(
    ("header", "says"),
    [
        ('[{"system":"a"},', "one object a line is needed"),
        ("[", "one object a line is needed"),
        ("time;system;metric;value", "its columns are separated by ';'; a comma is needed"),
    ],
)
def test_a_file_in_another_form_is_told_by_its_form(header: str, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        list(parse_csv([header], Columns()))
