"""What YAML files say, before names have become ids and secrets ciphertexts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tocsin.console.findings import Place
from tocsin.shared.configuration.names import fold


@dataclass(frozen=True, slots=True)
class Named:
    """A record called by its name, somewhere in a file."""

    name: str
    place: Place
    path: str = ""  # the field it stands in


@dataclass(frozen=True, slots=True)
class SensorNamed:
    """A sensor in a notification: on one instance or all, at one level or any."""

    sensor: Named
    instance: str | None = None
    level: Named | None = None


@dataclass(frozen=True, slots=True)
class SecretInput:
    """A secret to be: its text, or None to keep what is stored. Its repr shows nothing."""

    place: Place
    text: str | None = field(repr=False)


@dataclass(frozen=True, slots=True)
class Draft:
    """One record of a file. `fields` are those of the record's model but for references and secrets."""

    kind: str
    name: str
    place: Place
    fields: Mapping[str, Any]
    renamed_from: Named | None = None
    sensors: tuple[SensorNamed, ...] = ()
    group: Named | None = None
    recipients: tuple[Named, ...] = ()
    schedule: Named | None = None
    copy_of: Named | None = None
    secrets: Mapping[str, SecretInput] = field(default_factory=dict)  # by path, as the key ring binds them

    @property
    def folded(self) -> str:
        return fold(self.name)
