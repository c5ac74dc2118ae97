"""Sensors as they are written in YAML, and as they are exported."""

from __future__ import annotations

import re
from collections.abc import Iterator
from decimal import Decimal
from typing import Any, get_args

from tocsin.console.drafts import Draft
from tocsin.console.findings import Place
from tocsin.console.yaml_fields import Fields, Reader, Schema
from tocsin.console.yaml_nodes import Mapping, Node, Sequence
from tocsin.console.yaml_records import COMMON, MAX_PATTERNS, pattern, read_common, series_name
from tocsin.shared.configuration.condition import parse_condition
from tocsin.shared.configuration.records import Sensor
from tocsin.shared.configuration.sensor_checks import check_sensor
from tocsin.shared.configuration.sensor_options import (
    MAX_LEVELS,
    MAX_OVERRIDES,
    AggregateSpec,
    FlappingSpec,
    Function,
    LevelSpec,
    NoDataSpec,
    OverrideSpec,
    Then,
    parse_breaches,
)
from tocsin.shared.times import format_duration

OPTIONS = (
    "trigger",
    "clear",
    "levels",
    "for",
    "keep",
    "breaches",
    "aggregate",
    "no_data",
    "hold",
    "lateness",
    "flapping",
)
FUNCTIONS: tuple[str, ...] = get_args(Function)
_FUNCTIONS_ELSEWHERE = {"mean": "avg", "average": "avg", "median": "p50", "minimum": "min", "maximum": "max"}
_FUNCTIONS_ELSEWHERE |= {
    "total": "sum",
    "std": "stddev",
    "stdev": "stddev",
    "derivative": "rate",
    "difference": "delta",
}
SENSOR = Schema("a sensor", (*COMMON, "metric", *OPTIONS, "overrides"))
LEVEL = Schema("a level", ("trigger", "clear", "for", "keep", "breaches"))
AGGREGATE = Schema("an aggregate", ("function", "window", "tumbling", "count"))
NO_DATA = Schema("no_data", ("after", "then"))
FLAPPING = Schema("flapping", ("enter", "leave", "history"))
OVERRIDE = Schema("an override", ("systems", *OPTIONS))

_NUMBER = re.compile(r"\d{1,18}", re.ASCII)
_PERCENT = re.compile(r"(\d{1,3}(?:\.\d{1,6})?)\s*%?", re.ASCII)

Values = dict[str, Any]


def whole_number(text: str) -> int:
    """Raises ValueError."""
    if not _NUMBER.fullmatch(text):
        raise ValueError(f"{text[:64]!r} is not a whole number")
    return int(text)


def percentage(text: str) -> Decimal:
    """Raises ValueError."""
    if match := _PERCENT.fullmatch(text):
        return Decimal(match.group(1))
    raise ValueError(f"{text[:64]!r} is not a percentage, such as 50")


def read_sensor(node: Node, reader: Reader) -> Draft | None:
    fields = Fields(node, SENSOR, reader)
    before = len(reader.findings.all)
    name, renamed, values = read_common(fields)
    values["metric"] = fields.convert("metric", series_name, required=True)
    values |= _options(fields)
    values["overrides"] = tuple(_overrides(fields))
    if fields.valid and not fields.has("trigger") and not fields.has("levels"):
        fields.problem("trigger", "is required", "or give levels")
    if fields.valid and len(reader.findings.all) == before:
        _check(node, values, fields)
    return Draft("sensor", name, fields.place, values, renamed) if name else None


def _check(node: Node, values: Values, fields: Fields) -> None:
    """Each option by itself is well written: do they make a rule together?"""
    places = dict(_places(node, ""))
    for one in check_sensor(Sensor.model_validate({"id": "", "name": "", **values})):
        path = one.path
        while path not in places and path:
            path = path.rpartition(".")[0]
        fields.findings.add(places.get(path, fields.place), fields.path(one.path), one.problem, one.way_out)


def _places(node: Node, path: str) -> Iterator[tuple[str, Place]]:
    if path:
        yield path, node.place
    if isinstance(node, Mapping):
        for key, value in node.entries:
            yield from _places(value, f"{path}.{key.text[:64]}" if path else key.text[:64])
    elif isinstance(node, Sequence):
        for number, item in enumerate(node.items):
            yield from _places(item, f"{path}[{number}]")


def _options(fields: Fields) -> Values:
    """Of a sensor or of an override; what is not given is not there."""
    found: Values = {
        "trigger": fields.convert("trigger", parse_condition),
        "clear": fields.convert("clear", parse_condition),
        "for": fields.duration("for"),
        "keep": fields.duration("keep"),
        "breaches": fields.convert("breaches", parse_breaches),
        "hold": fields.duration("hold"),
        "lateness": fields.duration("lateness"),
        "levels": _levels(fields),
        "aggregate": _aggregate(fields),
        "no_data": _no_data(fields),
        "flapping": _flapping(fields),
    }
    return {name: value for name, value in found.items() if value is not None}


def _levels(fields: Fields) -> tuple[LevelSpec, ...] | None:
    node = fields.node("levels")
    if node is None:
        return None
    if not isinstance(node, Mapping) or not node.entries:
        fields.problem("levels", "must be names with their rules", "write {warn: {trigger: '> 80'}, crit: …}")
        return None
    if len(node.entries) > MAX_LEVELS:
        fields.problem("levels", f"has {len(node.entries)} entries, at most {MAX_LEVELS} are possible")
        return None
    found = []
    for key, value in node.entries:
        level = Fields(value, LEVEL, fields.reader, fields.path(f"levels.{key.text[:64]}"))
        values: Values = {
            "trigger": level.convert("trigger", parse_condition, required=True),
            "clear": level.convert("clear", parse_condition),
            "for": level.duration("for"),
            "keep": level.duration("keep"),
            "breaches": level.convert("breaches", parse_breaches),
        }
        if values["trigger"] is not None:
            found.append(LevelSpec.model_validate({"name": key.text, **values}))
    return tuple(found)


def _aggregate(fields: Fields) -> AggregateSpec | None:
    part = _part(fields, "aggregate", AGGREGATE)
    if part is None:
        return None
    values: Values = {
        "function": part.choice("function", FUNCTIONS, required=part.valid, elsewhere=_FUNCTIONS_ELSEWHERE),
        "window": part.duration("window"),
        "tumbling": part.duration("tumbling"),
        "count": part.convert("count", whole_number),
    }
    return AggregateSpec.model_validate(values) if values["function"] else None


def _no_data(fields: Fields) -> NoDataSpec | None:
    part = _part(fields, "no_data", NO_DATA)
    if part is None:
        return None
    after = part.duration("after")
    if after is None and part.valid and not part.has("after"):
        part.problem("after", "is required")
    then = part.choice("then", get_args(Then))
    return (
        NoDataSpec.model_validate({"after": after, **({"then": then} if then else {})}) if after is not None else None
    )


def _flapping(fields: Fields) -> FlappingSpec | None:
    part = _part(fields, "flapping", FLAPPING)
    if part is None:
        return None
    values: Values = {
        "enter": part.convert("enter", percentage),
        "leave": part.convert("leave", percentage),
        "history": part.convert("history", whole_number),
    }
    return FlappingSpec.model_validate({name: value for name, value in values.items() if value is not None})


def _part(fields: Fields, name: str, schema: Schema) -> Fields | None:
    node = fields.node(name)
    return None if node is None else Fields(node, schema, fields.reader, fields.path(name))


def _overrides(fields: Fields) -> Iterator[OverrideSpec]:
    for path, item in fields.items("overrides", most=MAX_OVERRIDES):
        part = Fields(item, OVERRIDE, fields.reader, path)
        required = part.valid
        systems = [
            part.converted(one, at, pattern) for at, one in part.items("systems", required=required, most=MAX_PATTERNS)
        ]
        values = _options(part)
        yield OverrideSpec.model_validate({"systems": tuple(text for text in systems if text), **values})


# --- the way out ---


def sensor_document(sensor: Sensor) -> Values:
    """Its fields as YAML knows them, defaults left out."""
    found: Values = {"metric": sensor.metric} | _exported(sensor)
    if sensor.overrides:
        found["overrides"] = [{"systems": list(one.systems)} | _exported(one) for one in sensor.overrides]
    return found


def _exported(options: Sensor | OverrideSpec) -> Values:
    default = 0 if isinstance(options, Sensor) else None
    found: Values = {name: str(value) for name in ("trigger", "clear") if (value := getattr(options, name)) is not None}
    if options.levels:
        found["levels"] = {level.name: _level(level) for level in options.levels}
    for name, value in (("for", options.for_), ("keep", options.keep)):
        if value != default and value is not None:
            found[name] = format_duration(value)
    if options.breaches is not None:
        found["breaches"] = str(options.breaches)
    if options.aggregate is not None:
        found["aggregate"] = _window(options.aggregate)
    if options.no_data is not None:
        found["no_data"] = {"after": format_duration(options.no_data.after), "then": options.no_data.then}
    for name, value in (("hold", options.hold), ("lateness", options.lateness)):
        if value != default and value is not None:
            found[name] = format_duration(value)
    if options.flapping is not None:
        flapping = options.flapping
        found["flapping"] = {
            "enter": _plain(flapping.enter),
            "leave": _plain(flapping.leave),
            "history": flapping.history,
        }
    return found


def _level(level: LevelSpec) -> Values:
    found: Values = {"trigger": str(level.trigger)}
    if level.clear is not None:
        found["clear"] = str(level.clear)
    for name, value in (("for", level.for_), ("keep", level.keep)):
        if value is not None:
            found[name] = format_duration(value)
    if level.breaches is not None:
        found["breaches"] = str(level.breaches)
    return found


def _window(aggregate: AggregateSpec) -> Values:
    found: Values = {"function": aggregate.function}
    for name in ("window", "tumbling"):
        value = getattr(aggregate, name)
        if value is not None:
            found[name] = format_duration(value)
    if aggregate.count is not None:
        found["count"] = aggregate.count
    return found


def _plain(number: Decimal) -> int | float:
    return int(number) if number == int(number) else float(number)
