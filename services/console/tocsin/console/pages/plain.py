"""Fields that a form has no inputs for, as YAML in a text area: nothing a file can say is out of reach of a page."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from tocsin.console.findings import Findings, Place
from tocsin.console.yaml_export import dump_yaml
from tocsin.console.yaml_nodes import Mapping as MappingNode
from tocsin.console.yaml_nodes import Node, Scalar, parse_yaml

FIELD = "more"
_NUMBERS = (int, float)


def rest_of(document: Mapping[str, Any], shown: Iterable[str]) -> str:
    """What the inputs do not show; empty when there is nothing."""
    left = {name: value for name, value in document.items() if name not in set(shown)}
    return dump_yaml(left) if left else ""


def read_rest(text: str, findings: Findings) -> dict[str, Any]:
    """The fields written there. What is wrong goes to the findings, under the field `more`."""
    if not text.strip():
        return {}
    mine = Findings()
    nodes = parse_yaml(text, FIELD, mine)
    for finding in mine.all:
        where = f"line {finding.place.line}: " if finding.place.line else ""
        findings.add(Place(FIELD), FIELD, where + finding.problem, finding.way_out)
    if not nodes:
        return {}
    if len(nodes) > 1 or not isinstance(nodes[0], MappingNode):
        findings.add(Place(FIELD), FIELD, "must be fields with their values", "write one a line, such as keep: 2m")
        return {}
    found = plain(nodes[0])
    assert isinstance(found, dict)
    return found


def plain(node: Node) -> Any:
    """Values as JSON has them."""
    if isinstance(node, MappingNode):
        return {key.text: plain(value) for key, value in node.entries}
    if not isinstance(node, Scalar):
        return [plain(item) for item in node.items]
    match node.kind:
        case "boolean":
            return node.text.lower() == "true"
        case "nothing":
            return None
        case "number":
            return _number(node.text)
        case _:
            return node.text


def _number(text: str) -> Any:
    for kind in _NUMBERS:
        try:
            return kind(text)
        except ValueError:
            continue
    return text  # such as 0x10 or .inf: the field's own check says what it wants
