"""Reading the fields of one YAML mapping: each getter returns the value, or None after adding a finding."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TypeVar

from tocsin.console.findings import Findings, Place, nearest
from tocsin.console.yaml_nodes import Mapping as MappingNode
from tocsin.console.yaml_nodes import Node, Scalar, Sequence
from tocsin.shared.configuration.names import check_name
from tocsin.shared.times import parse_duration

T = TypeVar("T")

MAX_TEXT = 2_000
"""Characters of a description or any other text without a bound of its own."""


@dataclass(frozen=True, slots=True)
class Schema:
    """Fields of a mapping; `later` are those a coming version will understand."""

    what: str  # as in "a sensor has no field …"
    known: tuple[str, ...]
    later: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Reader:
    """What reading needs beside the text."""

    findings: Findings
    environment: Mapping[str, str]


class Fields:
    """The fields of one mapping. `path` is where it stands in its record, empty for the record itself."""

    def __init__(self, node: Node, schema: Schema, reader: Reader, path: str = "") -> None:
        self.place = node.place
        self.reader = reader
        self.findings = reader.findings
        self._path = path
        self._nodes: dict[str, Node] = {}
        self._keys: dict[str, Place] = {}
        if not isinstance(node, MappingNode):
            self.findings.add(node.place, path, f"must be {schema.what}", f"fields: {', '.join(schema.known)}")
            self.valid = False
            return
        self.valid = True
        for key, value in node.entries:
            self._take(key, value, schema)

    def _take(self, key: Scalar, value: Node, schema: Schema) -> None:
        name = self.path(key.text[:64])
        if key.text in schema.known:
            self._nodes[key.text] = value
            self._keys[key.text] = key.place
        elif key.text in schema.later:
            self.findings.add(key.place, name, "not available yet in this version", "leave it out")
        else:
            self.findings.add(
                key.place, name, f"{schema.what} has no such field", nearest(key.text, schema.known + schema.later)
            )

    def path(self, name: str) -> str:
        return f"{self._path}.{name}" if self._path else name

    def place_of(self, name: str) -> Place:
        """Of the value; of the mapping when the field is missing."""
        node = self._nodes.get(name)
        return node.place if node is not None else self.place

    def problem(self, name: str, problem: str, way_out: str = "") -> None:
        self.findings.add(self.place_of(name), self.path(name), problem, way_out)

    def node(self, name: str, *, required: bool = False) -> Node | None:
        """The field, or None when it is missing or `null`."""
        found = self._nodes.get(name)
        if found is None or (isinstance(found, Scalar) and found.kind == "nothing"):
            if required and self.valid:
                self.findings.add(self.place_of(name), self.path(name), "is required")
            return None
        return found

    def has(self, name: str) -> bool:
        return self.node(name) is not None

    def text(self, name: str, *, required: bool = False, longest: int = MAX_TEXT) -> str | None:
        """Text, never empty."""
        node = self.node(name, required=required)
        return None if node is None else self.text_of(node, self.path(name), longest)

    def text_of(self, node: Node, path: str, longest: int = MAX_TEXT) -> str | None:
        if not isinstance(node, Scalar):
            self.findings.add(node.place, path, "must be text")
        elif node.kind != "text":
            self.findings.add(node.place, path, "must be text", f"put it in quotes: '{node.text[:64]}'")
        elif not node.text.strip():
            self.findings.add(node.place, path, "must not be empty")
        elif len(node.text) > longest:
            self.findings.add(node.place, path, f"has {len(node.text)} characters, at most {longest} are possible")
        elif any(unicodedata.category(letter) == "Cs" or letter == "\0" for letter in node.text):
            self.findings.add(node.place, path, "contains a character that is not one")
        else:
            return node.text
        return None

    def name(self, name: str = "name", *, required: bool = True) -> str | None:
        """A record's name, trimmed."""
        node = self.node(name, required=required)
        return None if node is None else self.name_of(node, self.path(name))

    def name_of(self, node: Node, path: str) -> str | None:
        if isinstance(node, Scalar) and node.kind == "text":
            return self.converted(node, path, check_name)
        return self.text_of(node, path)

    def choice(
        self,
        name: str,
        choices: tuple[str, ...],
        *,
        required: bool = False,
        elsewhere: dict[str, str] | None = None,
    ) -> str | None:
        """`elsewhere`: what other systems call a choice; named in the way out, not taken."""
        text = self.text(name, required=required)
        if text is None or text in choices:
            return text
        known = (elsewhere or {}).get(text.casefold())
        way_out = f"did you mean {known!r}?" if known else nearest(text, choices)
        self.problem(name, f"{text[:64]!r} is not one of {', '.join(choices)}", way_out)
        return None

    def duration(self, name: str) -> int | None:
        """Milliseconds."""
        return self.convert(name, parse_duration)

    def convert(self, name: str, read: Callable[[str], T], *, required: bool = False) -> T | None:
        """What `read` makes of the text; its ValueError becomes the finding."""
        node = self.node(name, required=required)
        return None if node is None else self.converted(node, self.path(name), read)

    def converted(self, node: Node, path: str, read: Callable[[str], T]) -> T | None:
        if not isinstance(node, Scalar):
            self.findings.add(node.place, path, "must be a single value")
            return None
        try:
            return read(node.text)
        except ValueError as error:
            self.findings.add(node.place, path, str(error))
            return None

    def flag(self, name: str) -> bool | None:
        node = self.node(name)
        if node is None:
            return None
        if isinstance(node, Scalar) and node.kind == "boolean":
            return node.text.lower() == "true"
        self.problem(name, "must be true or false")
        return None

    def items(self, name: str, *, required: bool = False, most: int = 10_000) -> Iterator[tuple[str, Node]]:
        """(path, item) of a list."""
        node = self.node(name, required=required)
        if node is None:
            return
        if not isinstance(node, Sequence):
            self.problem(name, "must be a list", "write it as [a, b]")
            return
        if required and not node.items:
            self.problem(name, "must not be empty")
        if len(node.items) > most:
            self.problem(name, f"has {len(node.items)} entries, at most {most} are possible")
            return
        for number, item in enumerate(node.items):
            yield f"{self.path(name)}[{number}]", item
