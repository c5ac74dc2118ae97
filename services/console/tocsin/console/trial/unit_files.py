"""Files of unit tests: rules, series, and what is expected of them. See docs/trying-rules.md."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from tocsin.console.findings import Findings, Place, nearest
from tocsin.console.trial.notation import parse_points, parse_values
from tocsin.console.trial.rules import RULES, AnyEnvironment, configuration_of
from tocsin.console.yaml_fields import Fields, Reader, Schema
from tocsin.console.yaml_files import DOCUMENT, find_files, read_document, read_files, read_text, unique
from tocsin.console.yaml_nodes import Mapping as MappingNode
from tocsin.console.yaml_nodes import Node, parse_yaml
from tocsin.console.yaml_records import read_tags, series_name
from tocsin.shared.configuration.snapshot import Configuration
from tocsin.shared.times import parse_duration, parse_rfc3339

START = parse_rfc3339("2026-01-01T00:00:00Z")
"""Where no `start` is given. A Thursday."""
INTERVAL = 60_000
MOST_TESTS = 10_000

SENSOR_STATES = ("triggered", "clear", "no-data", "flapping")
NOTIFICATION_STATES = ("activated", "reminder", "resolved", "dismissed")

FILE = Schema("a file of tests", ("rules", "tests", *DOCUMENT.known), DOCUMENT.later)
TEST = Schema("a test", ("name", "start", "interval", "until", "as_it_came", "series", "expect"))
SERIES = Schema("a series", ("system", "metric", "instance", "tags", "values", "points"))
EXPECT = Schema("what is expected", ("sensors", "notifications"))
CHANGE = Schema("a sensor's change", ("at", "sensor", "system", "instance", "state", "level", "value"))
EVENT = Schema("a notification's event", ("at", "notification", "state", "matched", "reporting", "systems"))

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Series:
    """Readings of one series: (milliseconds since the start, value)."""

    system: str
    metric: str
    instance: str | None
    tags: Mapping[str, str]
    points: tuple[tuple[int, float], ...]
    length: int  # ms, missing values counted too


@dataclass(frozen=True, slots=True)
class ExpectedChange:
    """Of a sensor. What is None may be anything, but for the instance."""

    at: int  # ms since the start
    sensor: str
    system: str
    instance: str | None
    state: str
    level: str | None
    value: float | None


@dataclass(frozen=True, slots=True)
class ExpectedEvent:
    """Of a notification. What is None may be anything."""

    at: int  # ms since the start
    notification: str
    state: str
    matched: int | None
    reporting: int | None
    systems: tuple[str, ...] | None


@dataclass(frozen=True, slots=True)
class UnitTest:
    """One test. `changes` or `events` None: whatever comes is right."""

    name: str
    place: Place
    start: int  # epoch ms
    series: tuple[Series, ...]
    until: int  # ms since the start
    as_it_came: bool
    changes: tuple[ExpectedChange, ...] | None
    events: tuple[ExpectedEvent, ...] | None


@dataclass
class UnitFile:
    """The tests of one file with the rules they are about."""

    path: str
    configuration: Configuration = field(default_factory=Configuration)
    tests: list[UnitTest] = field(default_factory=list)


def read_unit_file(path: str, findings: Findings) -> UnitFile:
    """What is wrong goes to the findings."""
    found = UnitFile(path)
    reader = Reader(findings, AnyEnvironment({}))
    text = read_text(path, findings)
    drafts = []
    for document in parse_yaml(text, path, findings) if text is not None else []:
        fields = Fields(document, FILE, reader)
        if not isinstance(document, MappingNode):
            continue
        rules = [fields.text_of(item, where) for where, item in fields.items("rules")]
        folder = Path(path).parent
        drafts += read_files(find_files([str(folder / one) for one in rules if one], findings), reader, RULES)
        own = tuple((key, value) for key, value in document.entries if key.text in DOCUMENT.known)
        drafts += read_document(MappingNode(document.place, own), reader, RULES)
        found.tests += _tests(fields)
    if text is not None and not findings.all:
        if not found.tests:
            findings.add(Place(path), "tests", "the file holds no test")
        found.configuration = configuration_of(unique(drafts, findings), findings)
        _check_names(found, findings)
    return found


def _tests(fields: Fields) -> list[UnitTest]:
    found = [_test(item, path, fields) for path, item in fields.items("tests", most=MOST_TESTS)]
    return [test for test in found if test is not None]


def _test(node: Node, path: str, outer: Fields) -> UnitTest | None:
    fields = Fields(node, TEST, outer.reader, path)
    name = fields.text("name", required=True)
    start = fields.convert("start", parse_rfc3339)
    interval = fields.duration("interval") if fields.has("interval") else INTERVAL
    if interval == 0:
        fields.problem("interval", "must be longer than 0")
    series = [
        _series(item, where, fields, interval or INTERVAL)
        for where, item in fields.items("series", required=True, most=MOST_TESTS)
    ]
    good = [one for one in series if one is not None]
    longest = max((one.length for one in good), default=0)
    until = fields.duration("until")
    if until is not None and until < longest:
        fields.problem("until", "is before the last value of the series", "leave it out, or make it later")
    changes, events = _expectations(fields)
    if name is None:
        return None
    return UnitTest(
        name=name,
        place=fields.place,
        start=START if start is None else start,
        series=tuple(good),
        until=longest if until is None else until,
        as_it_came=bool(fields.flag("as_it_came")),
        changes=changes,
        events=events,
    )


def _series(node: Node, path: str, outer: Fields, interval: int) -> Series | None:
    fields = Fields(node, SERIES, outer.reader, path)
    system = fields.convert("system", series_name, required=True)
    metric = fields.convert("metric", series_name, required=True)
    if fields.has("values") is fields.has("points"):
        problem = "has both values and points" if fields.has("values") else "has neither values nor points"
        fields.findings.add(fields.place, path, problem, "write values: '1 2+1x5', or points: '0s=1 90s=2'")
        return None
    points: list[tuple[int, float]] | None
    if fields.has("points"):
        points = fields.convert("points", parse_points)
        length = max((time for time, _ in points or ()), default=0)
    else:
        values = fields.convert("values", parse_values) or []
        points = [(number * interval, value) for number, value in enumerate(values) if value is not None]
        length = (len(values) - 1) * interval
    if system is None or metric is None or points is None:
        return None
    instance = fields.convert("instance", series_name)
    return Series(system, metric, instance, read_tags(fields), tuple(points), length)


def _expectations(
    test: Fields,
) -> tuple[tuple[ExpectedChange, ...] | None, tuple[ExpectedEvent, ...] | None]:
    node = test.node("expect", required=test.valid)
    if node is None:
        return None, None
    fields = Fields(node, EXPECT, test.reader, test.path("expect"))
    if fields.valid and not fields.has("sensors") and not fields.has("notifications"):
        test.problem("expect", "expects nothing at all", "write sensors: [] if no sensor may change")
    return _each(fields, "sensors", _change), _each(fields, "notifications", _event)


def _each(fields: Fields, name: str, read: Callable[[Node, str, Fields], T | None]) -> tuple[T, ...] | None:
    if not fields.has(name):
        return None
    found = (read(item, path, fields) for path, item in fields.items(name, most=100_000))
    return tuple(one for one in found if one is not None)


def _change(node: Node, path: str, outer: Fields) -> ExpectedChange | None:
    fields = Fields(node, CHANGE, outer.reader, path)
    at = fields.convert("at", _moment, required=fields.valid)
    sensor = fields.name("sensor", required=fields.valid)
    system = fields.convert("system", series_name, required=fields.valid)
    state = fields.choice("state", SENSOR_STATES, required=fields.valid)
    instance, level = fields.convert("instance", series_name), fields.convert("level", series_name)
    value = fields.convert("value", _number)
    if at is None or sensor is None or system is None or state is None:
        return None
    return ExpectedChange(at, sensor, system, instance, state, level, value)


def _event(node: Node, path: str, outer: Fields) -> ExpectedEvent | None:
    fields = Fields(node, EVENT, outer.reader, path)
    at = fields.convert("at", _moment, required=fields.valid)
    name = fields.name("notification", required=fields.valid)
    state = fields.choice("state", NOTIFICATION_STATES, required=fields.valid)
    matched, reporting = fields.convert("matched", _count), fields.convert("reporting", _count)
    systems = None
    if fields.has("systems"):
        texts = [fields.converted(item, where, series_name) for where, item in fields.items("systems")]
        systems = tuple(sorted(text for text in texts if text is not None))
    if at is None or name is None or state is None:
        return None
    return ExpectedEvent(at, name, state, matched, reporting, systems)


def _moment(text: str) -> int:
    return 0 if text == "0" else parse_duration(text)


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"{text[:64]!r} is not a number") from None


def _count(text: str) -> int:
    if not text.isascii() or not text.isdigit():
        raise ValueError(f"{text[:64]!r} is not a count")
    return int(text)


def _check_names(found: UnitFile, findings: Findings) -> None:
    """A misspelt name would only ever show as a change that did not come."""
    sensors = [sensor.name for sensor in found.configuration.sensors.values()]
    notifications = [one.name for one in found.configuration.notifications.values()]
    for test in found.tests:
        for name in {change.sensor for change in test.changes or ()}:
            _check(name, sensors, "sensor", test, findings)
        for name in {event.notification for event in test.events or ()}:
            _check(name, notifications, "notification", test, findings)


def _check(name: str, known: Iterable[str], what: str, test: UnitTest, findings: Findings) -> None:
    known = list(known)
    if name not in known:
        way_out = nearest(name, known)
        findings.add(test.place, "expect", f"test {test.name!r}: there is no {what} {name!r}", way_out)
