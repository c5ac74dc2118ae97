"""Where the fields of records stand in their files: what has become a record no longer knows it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from tocsin.console.findings import Findings, Place
from tocsin.console.yaml_files import DOCUMENT, read_text
from tocsin.console.yaml_nodes import Mapping, Node, Scalar, Sequence, parse_yaml
from tocsin.shared.configuration.names import fold


@dataclass
class Places:
    """`fields`: by kind, folded name and path, such as `systems[0]`; the record itself has the path ''."""

    fields: dict[tuple[str, str, str], Place] = field(default_factory=dict)
    variables: dict[Place, str] = field(default_factory=dict)  # of values given as {env: NAME}

    @classmethod
    def of(cls, files: Iterable[str]) -> Places:
        """What cannot be read is passed over: it has been reported."""
        found = cls()
        ignored = Findings()
        for file in files:
            text = read_text(file, ignored)
            for document in parse_yaml(text, file, ignored) if text is not None else []:
                found._document(document)
        return found

    def of_field(self, kind: str, name: str, path: str) -> Place:
        """The nearest there is: of the field, of what it is in, of the record."""
        while True:
            place = self.fields.get((kind, fold(name), path))
            if place is not None or not path:
                return place or Place("")
            path = path[: max(path.rfind("."), path.rfind("["), 0)]

    def _document(self, document: Node) -> None:
        for place, variable in _variables(document):
            self.variables[place] = variable
        for key, value in document.entries if isinstance(document, Mapping) else ():
            if key.text in DOCUMENT.known and isinstance(value, Sequence):
                for item in value.items:
                    self._record(key.text.removesuffix("s"), item)

    def _record(self, kind: str, node: Node) -> None:
        if not isinstance(node, Mapping):
            return
        name = next((value.text for key, value in node.entries if key.text == "name" and isinstance(value, Scalar)), "")
        try:
            folded = fold(name)
        except ValueError:
            return
        for path, place in _paths(node, ""):
            self.fields.setdefault((kind, folded, path), place)


def _paths(node: Node, path: str) -> Iterator[tuple[str, Place]]:
    yield path, node.place
    if isinstance(node, Mapping):
        for key, value in node.entries:
            yield from _paths(value, f"{path}.{key.text}" if path else key.text)
    elif isinstance(node, Sequence):
        for number, item in enumerate(node.items):
            yield from _paths(item, f"{path}[{number}]")


def _variables(node: Node) -> Iterator[tuple[Place, str]]:
    match node:
        case Mapping(entries=entries):
            if [key.text for key, _ in entries] == ["env"] and isinstance(entries[0][1], Scalar):
                yield node.place, entries[0][1].text
            for _, value in entries:
                yield from _variables(value)
        case Sequence(items=items):
            for item in items:
                yield from _variables(item)
        case _:
            pass
