"""docs/reference, made from the models: `python -m tocsin.console.reference_page docs/reference`."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from tocsin.console.api.documents import DOCUMENTS
from tocsin.console.field_notes import NOTES, Note
from tocsin.console.settings_page import settings_page
from tocsin.shared.configuration.records import (
    Group,
    MailTemplates,
    Notification,
    Recipient,
    Schedule,
    Sensor,
    SensorUse,
    SignedSecret,
    Silence,
    Webhook,
)
from tocsin.shared.configuration.sensor_options import (
    AggregateSpec,
    FlappingSpec,
    LevelSpec,
    NoDataSpec,
    OverrideSpec,
)
from tocsin.shared.times import format_duration

RECORDS: dict[str, type[BaseModel]] = {
    "SensorDocument": Sensor,
    "Level": LevelSpec,
    "Aggregate": AggregateSpec,
    "NoData": NoDataSpec,
    "Flapping": FlappingSpec,
    "Override": OverrideSpec,
    "GroupDocument": Group,
    "NotificationDocument": Notification,
    "SensorUse": SensorUse,
    "RecipientDocument": Recipient,
    "Webhook": Webhook,
    "Authentication": SignedSecret,
    "MailTemplates": MailTemplates,
    "ScheduleDocument": Schedule,
    "SilenceDocument": Silence,
}
"""The record whose defaults a document's fields have."""

DURATION = "duration"
DURATION_UNITS = "`ms` `s` `m` `h` `d`"
HEAD = """\
# Every field of the configuration

Made from the models by `make reference`; a test keeps it current. [Configuration](../configuration.md) explains how the
options work together, in files and over the [API](../console.md#the-api), which both take these documents.

A duration is a number with its unit, or several: `90s`, `1h30m`, `250ms`. *required*: there is no default. *none*: left
out, there is no such thing. To rename a record in a file, write the new `name` and `renamed_from: old name`.
"""
COLUMNS = "| field | type | unit | default | bounds | meaning | example |\n|---|---|---|---|---|---|---|\n"

Schema = Mapping[str, Any]


def configuration_page() -> str:
    parts = [HEAD]
    for kind, document in DOCUMENTS.items():
        schema = document.model_json_schema(by_alias=True)
        parts.append(f"\n## {kind.capitalize()}s\n{_table(document.__name__, schema)}")
        for name, part in _in_order_of_use(schema):
            parts.append(f"\n### {name}\n{part['description']}\n\n{_table(name, part)}")
    return "".join(parts)


def _in_order_of_use(schema: Schema) -> list[tuple[str, Schema]]:
    """Parts as the fields name them, each followed by its own."""
    parts, found = schema.get("$defs", {}), {}

    def walk(where: Any) -> None:
        if isinstance(where, dict):
            name = str(where.get("$ref", "")).rpartition("/")[2]
            if name and name not in found:
                found[name] = parts[name]
                walk(parts[name]["properties"])
            for value in where.values():
                walk(value)
        elif isinstance(where, list):
            for value in where:
                walk(value)

    walk(schema["properties"])
    return list(found.items())


def _table(name: str, schema: Schema) -> str:
    required = set(schema.get("required", ()))
    rows = [_row(field, shape, NOTES[name][field], _default(name, field, required)) for field, shape in _fields(schema)]
    return COLUMNS + "".join(rows)


def _fields(schema: Schema) -> Iterator[tuple[str, Schema]]:
    yield from schema["properties"].items()


def _row(field: str, shape: Schema, note: Note, default: str) -> str:
    kind = type_of(shape)
    unit = DURATION_UNITS if kind == DURATION else note.unit
    example = f"`{json.dumps(note.example, ensure_ascii=False)}`"
    cells = (f"`{field}`", kind, unit, note.default or default, note.bounds, note.meaning, example)
    return f"| {' | '.join(cell.replace('|', '&#124;') for cell in cells)} |\n"


def type_of(shape: Schema) -> str:
    """In words: `duration`, `list of text`, or a link to the part it is."""
    if shape.get("format") == "date-time":
        return "time"
    shapes = [one for one in shape.get("anyOf", [shape]) if one.get("type") != "null"]
    words = list(dict.fromkeys(_word(one) for one in shapes))
    if words == ["number", "text"]:
        return "number"  # JSON may write an exact one as text
    return " or ".join(words)


_WORDS = {"string": "text", "integer": "whole number", "number": "number", "boolean": "`true` `false`"}


def _word(shape: Schema) -> str:
    if reference := shape.get("$ref"):
        name = reference.rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    if choices := shape.get("enum"):
        return " ".join(f"`{one}`" for one in choices)
    if "1h30m" in shape.get("examples", ()):
        return DURATION
    if shape.get("type") == "array":
        return f"list of {type_of(shape.get('items', {}))}"
    if shape.get("type") == "object":
        inner = shape.get("additionalProperties")
        return f"names with {type_of(inner)}" if isinstance(inner, dict) else "object"
    return _WORDS.get(shape.get("type", ""), "text")


def _default(name: str, field: str, required: set[str]) -> str:
    if field in required:
        return "*required*"
    for attribute, info in RECORDS[name].model_fields.items() if name in RECORDS else ():
        if field in (attribute, info.alias) and not info.is_required():
            return _said(info.get_default(call_default_factory=True), "format_duration" in repr(info))
    return "`false`" if field == "sensitive" else "*none*"


def _said(value: Any, is_duration: bool) -> str:
    if is_duration and isinstance(value, int):
        return f"`{format_duration(value)}`" if value else "not at all"
    if value in (None, "", (), {}):
        return "*none*"
    if isinstance(value, BaseModel):
        return f"`{value.model_dump_json()}`"
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


PAGES = {"configuration.md": configuration_page, "settings.md": settings_page}


def main() -> None:
    folder = Path(sys.argv[1])
    for name, page in PAGES.items():
        (folder / name).write_text(page())
        print(folder / name)


if __name__ == "__main__":
    main()
