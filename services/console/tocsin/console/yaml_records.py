"""Groups and notifications as they are written in YAML, and what all records have."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Any

from tocsin.console.drafts import Draft, Named, SensorNamed
from tocsin.console.findings import nearest
from tocsin.console.yaml_fields import Fields, Reader, Schema
from tocsin.console.yaml_nodes import Mapping, Node, Scalar
from tocsin.console.yaml_timing import TIMING, read_timing
from tocsin.shared.configuration.names import fold
from tocsin.shared.configuration.patterns import check_pattern
from tocsin.shared.configuration.records import ThresholdSpec
from tocsin.shared.schemas.reading import MAX_NAME_BYTES, MAX_TAGS

COMMON = ("name", "description", "renamed_from")
MAX_PATTERNS = 1_000
MAX_SENSORS = 50
MAX_RECIPIENTS = 500
EVENT_KINDS = ("activated", "reminder", "resolved", "dismissed")

GROUP = Schema("a group", (*COMMON, "systems", "tags"))
NOTIFICATION = Schema(
    "a notification",
    (*COMMON, "sensors", "group", "threshold", "recipients", "notify", *TIMING),
)
SENSOR_USE = Schema("a sensor's name, or {sensor, instance, level}", ("sensor", "instance", "level"))

_NUMBER = re.compile(r"\d{1,9}", re.ASCII)
_PERCENT = re.compile(r"(\d{1,3}(?:\.\d{1,6})?)\s*%", re.ASCII)


def series_name(text: str) -> str:
    """A metric, system or instance. Raises ValueError."""
    if not text.strip():
        raise ValueError("must not be empty")
    if len(text.encode("utf-8", "surrogatepass")) > MAX_NAME_BYTES:
        raise ValueError(f"must be at most {MAX_NAME_BYTES} bytes")
    return text


def pattern(text: str) -> str:
    """Of system names. Raises ValueError."""
    if problem := check_pattern(series_name(text)):
        raise ValueError(problem)
    return text


def parse_threshold(text: str) -> ThresholdSpec:
    """`3` systems, or `25%` of those reporting. Raises ValueError."""
    if _NUMBER.fullmatch(text):
        if int(text) >= 1:
            return ThresholdSpec(value=Decimal(int(text)), is_percent=False)
    elif match := _PERCENT.fullmatch(text):
        value = Decimal(match.group(1))
        if 0 < value <= 100:
            return ThresholdSpec(value=value.normalize(), is_percent=True)
    raise ValueError(
        f"{text[:64]!r} is not a threshold; write a number of systems from 1 (3), "
        "or a percentage above 0 and up to 100 (25%)"
    )


def read_common(fields: Fields) -> tuple[str | None, Named | None, dict[str, Any]]:
    """Name, former name, and the description."""
    former = fields.name("renamed_from", required=False)
    renamed = Named(former, fields.place_of("renamed_from"), "renamed_from") if former else None
    description = fields.text("description") if fields.has("description") else None
    return fields.name(), renamed, {"description": description or ""}


def read_group(node: Node, reader: Reader) -> Draft | None:
    fields = Fields(node, GROUP, reader)
    name, renamed, values = read_common(fields)
    patterns = [fields.converted(item, path, pattern) for path, item in fields.items("systems", most=MAX_PATTERNS)]
    values["systems"] = tuple(text for text in patterns if text)
    values["tags"] = read_tags(fields)
    return Draft("group", name, fields.place, values, renamed) if name else None


def read_tags(fields: Fields) -> dict[str, str]:
    """The field `tags`."""
    node = fields.node("tags")
    if node is None:
        return {}
    if not isinstance(node, Mapping) or len(node.entries) > MAX_TAGS:
        fields.problem("tags", f"must be at most {MAX_TAGS} names with their values", "write them as {site: Berlin}")
        return {}
    tags: dict[str, str] = {}
    for key, value in node.entries:
        path = fields.path(f"tags.{key.text[:64]}")
        name = fields.converted(key, path, series_name)
        text = fields.text_of(value, path, MAX_NAME_BYTES)
        if name is not None and text is not None:
            tags[name] = text
    return tags


def read_notification(node: Node, reader: Reader) -> Draft | None:
    fields = Fields(node, NOTIFICATION, reader)
    name, renamed, values = read_common(fields)
    values["threshold"] = fields.convert("threshold", parse_threshold, required=True)
    schedule = read_timing(fields, values)
    _read_notify(fields, values)
    group = fields.name("group", required=False)
    sensors = tuple(_sensor_uses(fields))
    recipients = tuple(_recipients(fields))
    if not name:
        return None
    named_group = Named(group, fields.place_of("group"), "group") if group else None
    return Draft(
        "notification", name, fields.place, values, renamed, sensors, named_group, recipients, schedule=schedule
    )


def _read_notify(fields: Fields, values: dict[str, Any]) -> None:
    if not fields.has("notify"):
        if values.get("remind_every"):  # who asks for reminders wants to get them
            values["notify_on"] = ("activated", "reminder", "resolved")
        return
    kinds: list[str] = []
    for path, item in fields.items("notify", required=True):
        kind = fields.text_of(item, path)
        if kind is None:
            continue
        if kind not in EVENT_KINDS:
            choices = ", ".join(EVENT_KINDS)
            problem = f"{kind[:64]!r} is not one of {choices}"
            fields.findings.add(item.place, path, problem, nearest(kind, EVENT_KINDS))
        elif kind not in kinds:
            kinds.append(kind)
    values["notify_on"] = tuple(kinds)


def _sensor_uses(fields: Fields) -> list[SensorNamed]:
    uses: list[SensorNamed] = []
    for path, item in fields.items("sensors", required=True, most=MAX_SENSORS):
        instance: str | None = None
        level: Named | None = None
        if isinstance(item, Scalar):
            name, place = fields.name_of(item, path), item.place
        else:
            use = Fields(item, SENSOR_USE, fields.reader, path)
            name = use.name("sensor", required=use.valid)
            instance, place = use.convert("instance", series_name), use.place_of("sensor")
            if (text := use.text("level")) is not None:
                level = Named(text, use.place_of("level"), use.path("level"))
        if name is None:
            continue
        if any(fold(known.sensor.name) == fold(name) and known.instance == instance for known in uses):
            fields.findings.add(place, path, f"{name!r} is named twice", "remove one of them")
        uses.append(SensorNamed(Named(name, place, path), instance, level))
    return uses


def _recipients(fields: Fields) -> list[Named]:
    found: list[Named] = []
    fields.node("recipients", required=True)  # an empty list says that nobody is told; leaving it out is a mistake
    for path, item in fields.items("recipients", most=MAX_RECIPIENTS):
        name = fields.name_of(item, path)
        if name is None:
            continue
        if any(fold(known.name) == fold(name) for known in found):
            fields.findings.add(item.place, path, f"{name!r} is named twice", "remove one of them")
        found.append(Named(name, item.place, path))
    return found
