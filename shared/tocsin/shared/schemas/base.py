"""What all wire models share."""

from __future__ import annotations

from typing import Annotated, Any, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, PlainSerializer, ValidationError, WithJsonSchema

from tocsin.shared.errors import CodecError
from tocsin.shared.times import MAX_EPOCH_MS, format_duration, format_rfc3339, parse_duration, parse_rfc3339


def _time(value: Any) -> int:
    if isinstance(value, str):
        return parse_rfc3339(value)
    if isinstance(value, int) and not isinstance(value, bool):
        if not 0 <= value <= MAX_EPOCH_MS:
            raise ValueError("must be epoch milliseconds of the years 1970 to 9999")
        return value
    raise ValueError("must be an RFC 3339 time with zone, or integer epoch milliseconds")


def _duration(value: Any) -> int:
    if isinstance(value, str):
        return parse_duration(value)
    raise ValueError("must be a duration with its unit, such as 30s, 5m or 1h30m")


Time = Annotated[
    int,
    BeforeValidator(_time),
    PlainSerializer(format_rfc3339, return_type=str, when_used="json"),
    WithJsonSchema({"type": "string", "format": "date-time"}),
]
"""Epoch milliseconds inside, RFC 3339 in UTC on the wire."""

Duration = Annotated[
    int,
    BeforeValidator(lambda value: value if type(value) is int else _duration(value)),
    PlainSerializer(format_duration, return_type=str, when_used="json"),
    WithJsonSchema({"type": "string", "examples": ["30s", "5m", "1h30m"]}),
]
"""Milliseconds inside, `5m` on the wire."""


class Wire(BaseModel):
    """A record or a part of one: frozen, and tolerant of fields a newer version has added."""

    model_config = ConfigDict(
        frozen=True,
        extra="ignore",
        allow_inf_nan=False,
        validate_by_name=True,
        validate_by_alias=True,
        serialize_by_alias=True,
    )

    def encode(self) -> bytes:
        """UTF-8 JSON, as it goes to the topic."""
        return self.model_dump_json().encode()

    @classmethod
    def decode(cls, data: bytes | None) -> Self:
        """The record in these bytes. Raises CodecError with a readable reason."""
        if data is None:
            raise CodecError("empty", "the record has no value")
        try:
            return cls.model_validate_json(data)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            where = ".".join(str(part) for part in first["loc"])
            raise CodecError(first["type"], f"{where}: {first['msg']}" if where else first["msg"]) from None


class Ref(Wire):
    """A configuration record as it was called when it was written here."""

    id: str
    name: str


class Source(Wire):
    """Where the record that caused this one stands."""

    topic: str
    partition: int
    offset: int
