"""Ready webhook templates for well-known services, one file each in `ready/`."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable
from types import MappingProxyType
from typing import Literal

from tocsin.dispatcher.core.variables import DEFAULT_BODY


@dataclass(frozen=True, slots=True)
class ReadyHeader:
    """A header the service wants. A sensitive one's value is the name of the environment variable to fill it from."""

    name: str
    value: str
    sensitive: bool = False


@dataclass(frozen=True, slots=True)
class ReadyTemplate:
    """How to reach one service: what a recipient's form is filled with."""

    name: str  # as commands call it
    title: str
    service: str
    url: str  # to be completed
    authentication: Literal["off", "basic", "signed-secret"]
    notes: str
    documentation: str
    body: str
    headers: tuple[ReadyHeader, ...] = ()
    permanent: tuple[int, ...] = ()
    content_type: str = "application/json"


@cache
def ready_templates() -> Mapping[str, ReadyTemplate]:
    """All there are, by name; the generic one first."""
    found = [_read(file.name.removesuffix(".toml"), file.read_text("utf-8")) for file in _files()]
    return MappingProxyType({one.name: one for one in sorted(found, key=lambda one: (one.name != "generic", one.name))})


def _files() -> list[Traversable]:
    folder = files("tocsin.dispatcher.core") / "ready"
    return [file for file in folder.iterdir() if file.name.endswith(".toml")]


def _read(name: str, text: str) -> ReadyTemplate:
    fields = tomllib.loads(text)
    fields["headers"] = tuple(ReadyHeader(**header) for header in fields.get("headers", ()))
    fields["permanent"] = tuple(fields.get("permanent", ()))
    fields.setdefault("body", DEFAULT_BODY)
    return ReadyTemplate(name=name, **fields)
