"""A JSON document as the tree that YAML files become, so that one reader checks both."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from tocsin.console import yaml_nodes
from tocsin.console.findings import Findings, Place
from tocsin.console.yaml_nodes import MAX_DEPTH, MAX_NODES, Node, Scalar

PLACE = Place("request")


class _TooMuchError(ValueError):
    """More than the format needs."""


def parse_json(text: str | bytes) -> dict[str, Any]:
    """One object. Raises ValueError, readable: not JSON, not an object, a name twice, NaN."""
    try:
        found = json.loads(text, object_pairs_hook=_once, parse_constant=_refuse)
    except json.JSONDecodeError as error:
        raise ValueError(f"not valid JSON: {error.msg} at line {error.lineno}, column {error.colno}") from None
    except UnicodeDecodeError as error:
        raise ValueError(f"not UTF-8: byte {error.start} is not part of a character") from None
    except RecursionError:
        raise ValueError("nested too deeply") from None
    if not isinstance(found, dict):
        raise ValueError("must be a JSON object")
    return found


def _once(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise ValueError(f"{name[:64]!r} is given twice")
        found[name] = value
    return found


def _refuse(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def to_node(document: Any, findings: Findings) -> Node | None:
    """None after a finding: too deep or too large."""
    budget = [MAX_NODES]
    try:
        return _node(document, 0, budget)
    except _TooMuchError as error:
        findings.add(PLACE, "", str(error))
        return None


def _node(value: Any, depth: int, budget: list[int]) -> Node:
    budget[0] -= 1
    if depth > MAX_DEPTH or budget[0] < 0:
        raise _TooMuchError("nested too deeply" if depth > MAX_DEPTH else f"more than {MAX_NODES} values")
    match value:
        case bool():
            return Scalar(PLACE, "true" if value else "false", "boolean")
        case None:
            return Scalar(PLACE, "null", "nothing")
        case int() | float():
            return Scalar(PLACE, _number(value), "number")
        case Mapping():
            entries = ((Scalar(PLACE, str(key), "text"), _node(item, depth + 1, budget)) for key, item in value.items())
            return yaml_nodes.Mapping(PLACE, tuple(entries))
        case list() | tuple():
            return yaml_nodes.Sequence(PLACE, tuple(_node(item, depth + 1, budget) for item in value))
        case _:
            return Scalar(PLACE, str(value), "text")


def _number(value: int | float) -> str:
    if isinstance(value, int) and abs(value) > 10**30:
        raise _TooMuchError("a number has more than 30 digits")
    return str(int(value)) if isinstance(value, float) and value.is_integer() and abs(value) < 1e15 else str(value)
