"""The documents the API takes and gives, made from the records' own models and the fields a YAML file may have.

A field that a record gains, and that files may write, is in the API and its OpenAPI document without a line here.
"""

from __future__ import annotations

from collections.abc import Mapping
from keyword import iskeyword
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema, create_model

from tocsin.console import yaml_recipients, yaml_records, yaml_sensors, yaml_timing
from tocsin.console.field_notes import NOTES
from tocsin.console.state import State
from tocsin.console.yaml_export import document_of, names_of
from tocsin.console.yaml_fields import Schema
from tocsin.shared.configuration.records import (
    BasicAuthentication,
    Group,
    MailTemplates,
    Notification,
    Recipient,
    Record,
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
from tocsin.shared.times import format_rfc3339

Secret = Annotated[
    Any,
    WithJsonSchema(
        {
            "description": "The text, or `{keep: true}` for the one that is stored. Answers never hold the text.",
            "anyOf": [
                {"type": "string", "minLength": 1},
                {"type": "object", "properties": {"keep": {"const": True}}, "required": ["keep"]},
            ],
        }
    ),
]
Threshold = Annotated[
    Any,
    WithJsonSchema(
        {
            "description": "A number of systems, or a percentage of those reporting",
            "anyOf": [
                {"type": "integer", "minimum": 1, "maximum": 999_999_999},
                {"type": "string", "pattern": r"^\d{1,3}(\.\d{1,6})?\s*%$", "examples": ["25%"]},
            ],
        }
    ),
]
READ_ONLY = ("kind", "id", "revision", "updated_at")
_BASE = ConfigDict(extra="forbid")


def made_from(
    name: str, schema: Schema, sources: tuple[type[BaseModel], ...], overrides: Mapping[str, Any]
) -> type[BaseModel]:
    """A model with the fields of `schema`, noted: as overridden, else as a source has them, else anything."""
    fields: dict[str, Any] = {}
    for known in schema.known:
        if known == "renamed_from":
            continue  # a record has an id here
        given = overrides.get(known) or _field(known, sources)
        alias = known if iskeyword(known) else None
        note = NOTES.get(name, {}).get(known)
        said = Field(alias=alias, description=note.meaning if note else None)
        fields[f"{known}_" if alias else known] = (Annotated[given[0], said], given[1])
    text = f"{schema.what[0].upper()}{schema.what[1:]}."
    model: type[BaseModel] = create_model(name, __config__=_BASE, __doc__=text, **fields)
    return model


def _field(name: str, sources: tuple[type[BaseModel], ...]) -> Any:
    for source in sources:
        for attribute, info in source.model_fields.items():
            if name in (attribute, info.alias):
                return (_annotation(info), ...) if info.is_required() else (_annotation(info) | None, None)
    return Any, None


def _annotation(info: Any) -> Any:
    annotation = info.annotation
    for extra in info.metadata:
        annotation = Annotated[annotation, extra]
    return annotation


_AUTHENTICATION = made_from(
    "Authentication",
    yaml_recipients.AUTHENTICATION,
    (SignedSecret, BasicAuthentication),
    {
        "type": (Literal["off", "basic", "signed-secret"], "off"),
        "username": (str | None, None),
        "password": (Secret, None),
        "secret": (Secret, None),
    },
)
_HEADER = made_from(
    "Header",
    yaml_recipients.HEADER,
    (),
    {"name": (str, ...), "value": (Secret, ...), "sensitive": (bool, False)},
)
_WEBHOOK = made_from(
    "Webhook",
    yaml_recipients.WEBHOOK,
    (Webhook,),
    {"authentication": (_AUTHENTICATION | None, None), "headers": (list[_HEADER], [])},  # type: ignore[valid-type]
)
_MAIL = made_from("MailTemplates", yaml_recipients.MAIL, (MailTemplates,), {})
_SENSOR_USE = made_from(
    "SensorUse", yaml_records.SENSOR_USE, (SensorUse,), {"sensor": (str, Field(description="The sensor's name"))}
)
_LEVEL = made_from("Level", yaml_sensors.LEVEL, (LevelSpec,), {})
_LEVELS = (dict[str, _LEVEL] | None, Field(default=None, description="By name, in rising severity"))  # type: ignore[valid-type]
_AGGREGATE = made_from("Aggregate", yaml_sensors.AGGREGATE, (AggregateSpec,), {})
_NO_DATA = made_from("NoData", yaml_sensors.NO_DATA, (NoDataSpec,), {})
_FLAPPING = made_from("Flapping", yaml_sensors.FLAPPING, (FlappingSpec,), {})
_PARTS = {
    "levels": _LEVELS,
    "aggregate": (_AGGREGATE | None, None),
    "no_data": (_NO_DATA | None, None),
    "flapping": (_FLAPPING | None, None),
}
_OVERRIDE = made_from("Override", yaml_sensors.OVERRIDE, (OverrideSpec,), _PARTS)
SENSOR = made_from(
    "SensorDocument",
    yaml_sensors.SENSOR,
    (Sensor,),
    {
        **_PARTS,
        "overrides": (list[_OVERRIDE], Field(default=[], description="The first that matches a system wins")),  # type: ignore[valid-type]
    },
)
GROUP = made_from("GroupDocument", yaml_records.GROUP, (Group,), {})
NOTIFICATION = made_from(
    "NotificationDocument",
    yaml_records.NOTIFICATION,
    (Notification,),
    {
        "sensors": (list[str | _SENSOR_USE], Field(min_length=1, description="Names; all must be triggered")),  # type: ignore[valid-type]
        "group": (str | None, Field(default=None, description="Its name; none is every system")),
        "threshold": (Threshold, ...),
        "recipients": (list[str], Field(default=[], description="Names")),
        "notify": (list[Literal["activated", "reminder", "resolved", "dismissed"]] | None, None),
    },
)
RECIPIENT = made_from(
    "RecipientDocument",
    yaml_recipients.RECIPIENT,
    (Recipient,),
    {
        "webhook": (_WEBHOOK | None, None),
        "mail": (_MAIL | None, None),
        "on_failing": (str | None, Field(default=None, description="The name of another recipient")),
    },
)

SCHEDULE = made_from(
    "ScheduleDocument",
    yaml_timing.SCHEDULE,
    (Schedule,),
    {
        "copy_of": (str | None, Field(default=None, description="The name of a schedule or preset to begin with")),
        "slots": (dict[str, list[str]] | None, Field(default=None, examples=[{"mon-fri": ["08:00-18:00"]}])),
    },
)
SILENCE = made_from(
    "SilenceDocument",
    yaml_timing.SILENCE,
    (Silence,),
    {
        "matchers": (list[str], Field(min_length=1, examples=[["notification=Finance*"]])),
        "from": (str | None, Field(default=None, alias="from", json_schema_extra={"format": "date-time"})),
        "until": (str, Field(json_schema_extra={"format": "date-time"})),
    },
)

DOCUMENTS: dict[str, type[BaseModel]] = {
    "sensor": SENSOR,
    "group": GROUP,
    "schedule": SCHEDULE,
    "notification": NOTIFICATION,
    "recipient": RECIPIENT,
    "silence": SILENCE,
}


def shown_model(kind: str, document: type[BaseModel]) -> type[BaseModel]:
    """The document with its identity, as answers have it."""
    model: type[BaseModel] = create_model(
        kind.capitalize(),
        __base__=document,
        __doc__=f"A {kind} as it is stored. Fields with their default are left out.",
        kind=(str, Field(json_schema_extra={"const": kind})),
        id=(str, ...),
        revision=(int, Field(description="The change that last wrote it; its ETag")),
        updated_at=(str, Field(json_schema_extra={"format": "date-time"})),
    )
    return model


SHOWN: dict[str, type[BaseModel]] = {kind: shown_model(kind, document) for kind, document in DOCUMENTS.items()}


def page_model(name: str, item: type[BaseModel]) -> type[BaseModel]:
    """One page of a list."""
    model: type[BaseModel] = create_model(
        f"{name}Page",
        __doc__="One page of a list; `next` is the cursor of the page after it.",
        items=(list[item], ...),  # type: ignore[valid-type]
        next=(str | None, None),
    )
    return model


def show(record: Record, state: State, names: Mapping[str, str] | None = None) -> dict[str, Any]:
    """As a file has it, with its identity; a stored secret is `{keep: true}`, so it can be sent back as it is."""
    document = document_of(record, names_of(state) if names is None else names)
    head = {"kind": record.kind, "id": record.id, "revision": record.revision}
    return {**head, "updated_at": format_rfc3339(record.updated_at), **document}


def without_identity(document: Mapping[str, Any]) -> dict[str, Any]:
    """What was shown, sent back."""
    return {name: value for name, value in document.items() if name not in READ_ONLY}
