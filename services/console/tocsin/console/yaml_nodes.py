"""YAML text as a tree that knows the line and column of everything in it.

Built from the parser's events rather than by its constructor: no tag can make an object, nothing recurses on what a
stranger wrote, aliases are followed but counted, and a repeated key is an error instead of a silent choice.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError, YAMLStreamError
from ruamel.yaml.events import (
    AliasEvent,
    DocumentEndEvent,
    DocumentStartEvent,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
)
from ruamel.yaml.nodes import ScalarNode

from tocsin.console.findings import ConfigurationError, Findings, Place

MAX_FILE_BYTES = 1 << 20
"""The parser reads some 50,000 nodes a second: a file of this size takes seconds, not minutes."""
MAX_NODES = 100_000
"""Of one file, aliases counted as often as they are used: nine aliases can otherwise stand for a billion nodes."""
MAX_DEPTH = 20
"""The format needs seven levels; the parser takes quadratic time in nested brackets."""

_KINDS = {
    "tag:yaml.org,2002:int": "number",
    "tag:yaml.org,2002:float": "number",
    "tag:yaml.org,2002:bool": "boolean",
    "tag:yaml.org,2002:null": "nothing",
}


@dataclass(frozen=True, slots=True)
class Scalar:
    """One value as it was written; `kind` is what YAML 1.2 takes it for."""

    place: Place
    text: str
    kind: str  # text, number, boolean, nothing


@dataclass(frozen=True, slots=True)
class Sequence:
    """A list."""

    place: Place
    items: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Mapping:
    """Fields, in the order they were written; no key comes twice."""

    place: Place
    entries: tuple[tuple[Scalar, Node], ...]


Node = Scalar | Sequence | Mapping


def parse_yaml(text: str, file: str, findings: Findings) -> list[Node]:
    """The documents of one file. What is wrong goes to the findings, and then nothing is returned."""
    if len(text.encode("utf-8", "surrogatepass")) > MAX_FILE_BYTES:
        findings.add(Place(file), "", f"the file is larger than {MAX_FILE_BYTES >> 10} KiB", "split it into several")
        return []
    try:
        return _Builder(text, file, findings).documents()
    except _RefusedError as refused:
        findings.add(*refused.finding)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = Place(file, mark.line + 1, mark.column + 1) if mark else Place(file)
        context = f"{error.context}, " if error.context else ""
        findings.add(place, "", f"not valid YAML: {context}{error.problem}", "correct the indentation or quoting")
    except (YAMLError, YAMLStreamError) as error:  # a character YAML does not allow
        why = getattr(error, "reason", "it cannot be read")
        findings.add(Place(file), "", f"not valid YAML: {why}", "remove control characters")
    return []


class _RefusedError(ConfigurationError):
    """Valid YAML that is not taken."""

    def __init__(self, place: Place, problem: str, way_out: str) -> None:
        super().__init__(problem)
        self.finding = (place, "", problem, way_out)


class _Builder:
    """Turns events into nodes. `_size` holds how many nodes each anchor stands for."""

    def __init__(self, text: str, file: str, findings: Findings) -> None:
        self._file = file
        self._findings = findings
        parser = YAML(typ="safe", pure=True)
        self._events: Iterator[Any] = parser.parse(text)
        self._resolver = parser.resolver
        self._anchors: dict[str, tuple[Node, int]] = {}
        self._count = 0

    def documents(self) -> list[Node]:
        found: list[Node] = []
        for event in self._events:
            if isinstance(event, DocumentStartEvent):
                self._anchors.clear()
                node = self._node(next(self._events), 0)
                if not (isinstance(node, Scalar) and node.kind == "nothing"):  # an empty document
                    found.append(node)
            elif isinstance(event, DocumentEndEvent):
                continue
        return found

    def _place(self, event: Any) -> Place:
        return Place(self._file, event.start_mark.line + 1, event.start_mark.column + 1)

    def _node(self, event: Any, depth: int) -> Node:
        before = self._count
        if isinstance(event, AliasEvent):
            return self._alias(event)
        self._grow(1, event)
        if depth > MAX_DEPTH:
            raise _RefusedError(self._place(event), "nested too deeply", f"use at most {MAX_DEPTH} levels")
        if event.tag is not None and not (isinstance(event, ScalarEvent) and event.tag == "!"):
            raise _RefusedError(self._place(event), f"the tag {event.tag!r} is not taken", "leave it out")
        node: Node
        if isinstance(event, ScalarEvent):
            node = Scalar(self._place(event), event.value, self._kind(event))
        elif isinstance(event, SequenceStartEvent):
            node = Sequence(self._place(event), tuple(self._items(depth)))
        else:
            assert isinstance(event, MappingStartEvent)
            node = Mapping(self._place(event), tuple(self._entries(depth)))
        if event.anchor is not None:
            self._anchors[event.anchor] = (node, self._count - before)
        return node

    def _grow(self, by: int, event: Any) -> None:
        self._count += by
        if self._count > MAX_NODES:
            raise _RefusedError(
                self._place(event), f"more than {MAX_NODES} values, aliases counted as often as used", "split the file"
            )

    def _alias(self, event: Any) -> Node:
        if event.anchor not in self._anchors:
            raise _RefusedError(self._place(event), f"there is no anchor &{event.anchor} above", "define it first")
        node, size = self._anchors[event.anchor]
        self._grow(size, event)
        return node

    def _kind(self, event: Any) -> str:
        if not event.implicit[0]:
            return "text"
        return _KINDS.get(str(self._resolver.resolve(ScalarNode, event.value, event.implicit)), "text")

    def _items(self, depth: int) -> Iterator[Node]:
        for event in self._events:
            if isinstance(event, SequenceEndEvent):
                return
            yield self._node(event, depth + 1)

    def _entries(self, depth: int) -> Iterator[tuple[Scalar, Node]]:
        seen: dict[str, Place] = {}
        for event in self._events:
            if isinstance(event, MappingEndEvent):
                return
            key = self._node(event, depth + 1)
            if not isinstance(key, Scalar):
                raise _RefusedError(key.place, "a field's name must be a word", "remove the brackets")
            value = self._node(next(self._events), depth + 1)
            if key.text == "<<" and key.kind == "text" and isinstance(event, ScalarEvent) and event.implicit[0]:
                self._findings.add(key.place, "<<", "merge keys are not taken", "write the fields out")
            elif key.text in seen:
                first = seen[key.text].line
                self._findings.add(key.place, key.text[:64], f"already given in line {first}", "remove one of them")
            else:
                seen[key.text] = key.place
                yield key, value
