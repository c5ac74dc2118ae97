"""Schedules, silences, and the options of a notification that have to do with time, as they are written in YAML."""

from __future__ import annotations

from typing import Any

from tocsin.console.drafts import Draft, Named
from tocsin.console.yaml_fields import Fields, Reader, Schema
from tocsin.console.yaml_nodes import Mapping, Node, Scalar, Sequence
from tocsin.shared.configuration.names import fold
from tocsin.shared.configuration.records import DEFAULT_REPORTING_WITHIN_MS, Matcher
from tocsin.shared.configuration.schedules import DAYS, PRESETS, check_zone, parse_days, parse_range, ranges_of
from tocsin.shared.configuration.silences import MAX_MATCHERS, parse_matcher
from tocsin.shared.times import format_duration, parse_rfc3339

COMMON = ("name", "description", "renamed_from")
SCHEDULE = Schema("a schedule", (*COMMON, "time_zone", "copy_of", "slots"))
SILENCE = Schema("a silence", (*COMMON, "matchers", "from", "until", "comment"))
TIMING = ("for", "remind_every", "cooldown", "schedule", "forget_after", "reporting_within")
"""Fields of a notification that are read here."""

SHORTEST_REMINDER_MS = 1_000
MAX_RANGES = 24
"""More can't be in a day of half hours without touching."""


def read_timing(fields: Fields, values: dict[str, Any]) -> Named | None:
    """Options of a notification into its values; returns the schedule it names."""
    for name, key in (("for", "for"), ("cooldown", "cooldown")):
        values[key] = fields.duration(name) or 0
    for name in ("remind_every", "reporting_within", "forget_after"):
        if fields.has(name):
            values[name] = fields.duration(name)
            if values[name] == 0:
                fields.problem(name, "must be longer than 0")
    reminder = values.get("remind_every")
    if reminder and reminder < SHORTEST_REMINDER_MS:
        fields.problem("remind_every", f"must be at least {format_duration(SHORTEST_REMINDER_MS)}")
    within = values.get("reporting_within") or DEFAULT_REPORTING_WITHIN_MS
    forgotten = values.get("forget_after")
    if forgotten and forgotten < within:
        problem = f"a system would be forgotten while it still reports (reporting_within: {format_duration(within)})"
        fields.problem("forget_after", problem, "make it longer, or reporting_within shorter")
    schedule = fields.name("schedule", required=False)
    return Named(schedule, fields.place_of("schedule"), "schedule") if schedule else None


def preset_of(name: str) -> str | None:
    """The preset of this name, however it is written."""
    return next((preset for preset in PRESETS if fold(preset) == fold(name)), None)


def read_schedule(node: Node, reader: Reader) -> Draft | None:
    fields = Fields(node, SCHEDULE, reader)
    name = fields.name()
    if name is not None and preset_of(name) is not None:
        fields.problem("name", f"{name!r} is a preset, which cannot be changed", "give it another name and copy_of")
    values: dict[str, Any] = {"description": fields.text("description") if fields.has("description") else ""}
    values["time_zone"] = fields.convert("time_zone", check_zone, required=True)
    base = fields.name("copy_of", required=False)
    if base is None and not fields.has("slots"):
        fields.problem("slots", "is required, or copy_of", "write {mon-fri: ['08:00-18:00']}, or copy_of: 12x5")
    values["slots"] = _slots(fields)
    former = fields.name("renamed_from", required=False)
    renamed = Named(former, fields.place_of("renamed_from"), "renamed_from") if former else None
    copied = Named(base, fields.place_of("copy_of"), "copy_of") if base else None
    return Draft("schedule", name, fields.place, values, renamed, copy_of=copied) if name else None


def _slots(fields: Fields) -> dict[str, list[str]]:
    node = fields.node("slots")
    if node is None:
        return {}
    if not isinstance(node, Mapping):
        fields.problem("slots", "must be days with their ranges", "write {mon-fri: ['08:00-18:00'], sat: []}")
        return {}
    found: dict[str, list[str]] = {}
    for key, value in node.entries:
        path = fields.path(f"slots.{key.text[:64]}")
        days = fields.converted(key, path, parse_days)
        bits = _bits(fields, value, path)
        for day in days or ():
            if DAYS[day] in found:
                fields.findings.add(key.place, path, f"{DAYS[day]} is given twice", "give each day once")
            found[DAYS[day]] = ranges_of(bits)
    return found


def _bits(fields: Fields, node: Node, path: str) -> int:
    """Of one range, or of a list of them; an empty list closes the day."""
    if isinstance(node, Scalar) and node.kind == "text":
        return fields.converted(node, path, parse_range) or 0
    if not isinstance(node, Sequence) or len(node.items) > MAX_RANGES:
        fields.findings.add(node.place, path, f"must be at most {MAX_RANGES} ranges", "write ['08:00-18:00']")
        return 0
    bits = 0
    for number, item in enumerate(node.items):
        bits |= fields.converted(item, f"{path}[{number}]", parse_range) or 0
    return bits


def read_silence(node: Node, reader: Reader) -> Draft | None:
    fields = Fields(node, SILENCE, reader)
    name = fields.name()
    values: dict[str, Any] = {"description": fields.text("description") if fields.has("description") else ""}
    values["matchers"] = tuple(_matchers(fields))
    values["starts_at"] = fields.convert("from", parse_rfc3339) or 0
    values["until"] = fields.convert("until", parse_rfc3339, required=True)
    values["comment"] = (fields.text("comment") if fields.has("comment") else "") or ""
    if values["until"] is not None and values["until"] <= values["starts_at"]:
        fields.problem("until", "is not after its beginning", "a silence ends later than it begins")
    former = fields.name("renamed_from", required=False)
    renamed = Named(former, fields.place_of("renamed_from"), "renamed_from") if former else None
    return Draft("silence", name, fields.place, values, renamed) if name else None


def _matchers(fields: Fields) -> list[Matcher]:
    found = [
        fields.converted(item, path, parse_matcher)
        for path, item in fields.items("matchers", required=True, most=MAX_MATCHERS)
    ]
    return [matcher for matcher in found if matcher is not None]
