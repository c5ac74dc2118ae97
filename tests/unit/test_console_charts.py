"""What trials of rules are drawn as, and what forms make of numbers and weeks."""

from __future__ import annotations

import pytest

from detecting import reading
from tocsin.console.models.systems import Systems
from tocsin.console.pages.charts import HEIGHT, WIDTH, chart_of, chart_of_trial, short, timeline_of
from tocsin.console.pages.record_form import SPECS, SlotRow, preset_slots, read_document, slot_rows, threshold_words
from tocsin.console.trial.dry_run_job import Active, Change, Curve, Outcome
from tocsin.console.trial.recent import recent_changes
from tocsin.shared.configuration.records import Sensor
from tocsin.shared.configuration.sensor_options import NoDataSpec

HOUR = 3_600_000
MINUTE = 60_000
MIDNIGHT = 20_000 * 24 * HOUR
SENSOR = Sensor(id="s", name="S", metric="m", trigger="> 90", clear="< 80")  # type: ignore[arg-type]
POINTS = ((MIDNIGHT, 50.0), (MIDNIGHT + HOUR, 95.0), (MIDNIGHT + 2 * HOUR, 70.0))


def outcome(**more: object) -> Outcome:
    return Outcome(since=MIDNIGHT, until=MIDNIGHT + 24 * HOUR, readings=3, refused=0, **more)  # type: ignore[arg-type]


def test_a_change_is_marked_on_its_curve_with_the_thresholds() -> None:
    changes = (
        Change(MIDNIGHT + HOUR, "A", None, "triggered", None, 95.0),
        Change(MIDNIGHT + HOUR, "not drawn", None, "triggered", None, 99.0),
        Change(MIDNIGHT + 2 * HOUR, "A", None, "clear", None, 70.0),
    )
    chart = chart_of_trial(outcome(curves=(Curve("A", None, POINTS),), changes=changes), SENSOR)
    assert chart is not None
    assert [(bound.text, bound.kind) for bound in chart.bounds] == [("> 90", ""), ("< 80", "clear")]
    places = chart.curves[0].points.split()
    assert [f"{mark.x},{mark.y}" for mark in chart.marks] == places[1:]
    assert [mark.state for mark in chart.marks] == ["triggered", "clear"]
    assert all(0 <= mark.x <= WIDTH and 0 <= mark.y <= HEIGHT for mark in chart.marks)


def test_a_stored_sensor_shows_what_it_makes_of_recent_readings() -> None:
    systems = Systems()
    quiet = [(name, 50.0) for name in ("A", "B")]
    for minute, values in enumerate((quiet, [("A", 95.0), ("B", 55.0)], [("A", 85.0), ("B", 50.0)], [("A", 70.0)])):
        for name, value in values:
            systems.take(reading(name, "m", value, MIDNIGHT + minute * MINUTE))
    chart = chart_of(systems, SENSOR, MIDNIGHT + HOUR)
    assert chart is not None
    assert [line.label for line in chart.curves] == ["A", "B"]
    assert [mark.text for mark in chart.marks] == [
        "2024-10-04 00:01:00: triggered on A",
        "2024-10-04 00:03:00: clear on A",  # not at 85: that is not below 80
    ]


def test_timers_and_overrides_count_in_what_is_shown_at_once() -> None:
    points = tuple((MIDNIGHT + minute * MINUTE, 95.0) for minute in range(7))
    curves = [Curve(name, None, points) for name in ("A", "DB-1")]
    waiting = Sensor.model_validate(
        {**SENSOR.model_dump(by_alias=True), "for": 300_000, "overrides": [{"systems": ["DB-*"], "trigger": "> 97"}]}
    )
    changes = recent_changes(waiting, curves, MIDNIGHT + HOUR)
    assert [(one.time - MIDNIGHT, one.system, one.state) for one in changes] == [(5 * MINUTE, "A", "triggered")]
    silent = SENSOR.model_copy(update={"no_data": NoDataSpec(after=600_000, then="no-data")})
    changes = recent_changes(silent, curves[:1], MIDNIGHT + HOUR)
    assert [(one.time - MIDNIGHT, one.state) for one in changes] == [(0, "triggered"), (16 * MINUTE, "no-data")]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (93.7234, "93.7"),
        (0.0, "0"),
        (-39.27, "-39.3"),
        (999.6, "1k"),
        (12_345.0, "12.3k"),
        (3.2e9, "3.2G"),
        (0.5, "0.5"),
    ],
)
def test_numbers_beside_an_axis_are_short(value: float, text: str) -> None:
    assert short(value) == text


def test_levels_are_drawn_with_their_names() -> None:
    levels = [{"name": "warning", "trigger": "> 80"}, {"name": "critical", "trigger": "> 95"}]
    sensor = Sensor(id="s", name="S", metric="m", levels=levels)  # type: ignore[arg-type]
    chart = chart_of_trial(outcome(curves=(Curve("A", None, POINTS),)), sensor)
    assert chart is not None
    assert [bound.text for bound in chart.bounds] == ["warning > 80", "critical > 95"]


def test_nothing_is_drawn_of_nothing() -> None:
    assert chart_of_trial(outcome(), SENSOR) is None


def test_activations_are_bars_in_the_time_that_was_tried() -> None:
    active = (
        Active(MIDNIGHT + 6 * HOUR, MIDNIGHT + 12 * HOUR, 3, 8, ("A",)),
        Active(MIDNIGHT + 18 * HOUR, MIDNIGHT + 18 * HOUR + 1, 1, 8, ("A",)),
        Active(MIDNIGHT + 24 * HOUR - 1, None, 1, 8, ("A",)),
    )
    line = timeline_of(outcome(activations=active))
    quarter = WIDTH / 4
    assert [(bar.x, bar.width) for bar in line.bars] == [
        (quarter, quarter),
        (3 * quarter, 2.0),  # the shortest can still be seen
        (WIDTH - 2.0, 2.0),
    ]
    assert line.bars[0].text.endswith("06:00:00 to 2024-10-04 12:00:00: 3 of 8 reporting")
    assert [text for _, text in line.ticks] == [f"{hour:02}:00" for hour in range(0, 24, 3)]


@pytest.mark.parametrize(
    ("threshold", "reporting", "words"),
    [
        ("24%", 8, "24% of systems currently reporting: that is 2 of 8 right now"),
        ("25%", 8, "25% of systems currently reporting: that is 2 of 8 right now"),
        ("0.5%", 100_000, "0.5% of systems currently reporting: that is 500 of 100000 right now"),
        ("24%", 0, "24% of systems currently reporting"),
        (1, 8, "1 system currently reporting"),
        ("many", 8, ""),
        (None, 8, ""),
    ],
)
def test_a_percentage_is_said_in_systems(threshold: object, reporting: int, words: str) -> None:
    assert threshold_words(threshold, reporting) == words


def checked(rows: list[SlotRow]) -> list[str]:
    return [value for row in rows for value, _, on in row.cells if on]


def test_boxes_of_a_week_are_ranges_and_ranges_are_boxes() -> None:
    chosen = ["mon-16", "mon-17", "mon-20", "sun-47"]
    document = read_document(SPECS["schedule"], {"name": "S", "time_zone": "UTC"}, {"slot": chosen}.get)  # type: ignore[arg-type]
    assert document["slots"] == {"mon": ["08:00-09:00", "10:00-10:30"], "sun": ["23:30-24:00"]}
    assert sorted(checked(slot_rows(document["slots"]))) == sorted(chosen)
    assert sorted(checked(slot_rows({"sat-sun": "00:00-00:30"}))) == ["sat-0", "sun-0"]
    assert slot_rows(None)[17].cells[0] == ("mon-17", "Mon 08:30", False)


@pytest.mark.parametrize("nonsense", ["mon-48", "mon-", "xyz-1", "mon--1", "mon-1e3", ""])
def test_what_is_no_box_is_passed_over(nonsense: str) -> None:
    chosen = {"slot": [nonsense, "tue-0"]}
    document = read_document(SPECS["schedule"], {"name": "S"}, chosen.get)  # type: ignore[arg-type]
    assert document["slots"] == {"tue": ["00:00-00:30"]}


def test_a_preset_is_a_week_to_begin_with() -> None:
    assert preset_slots("12x5") == {key: ["07:00-19:00"] for key in ("mon", "tue", "wed", "thu", "fri")}
    assert (preset_slots("never"), preset_slots(""), preset_slots("13x4")) == ({}, None, None)
