"""What would change, readable: a line for each record, a line for each field that differs. Secrets are stars."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from typing import Any

from tocsin.console.plan import Plan, Step, secrets_of
from tocsin.console.yaml_export import KEEP, document_of
from tocsin.shared.configuration.records import Record

SIGNS = {"created": "+", "changed": "~", "pruned": "-"}
MASK = "***"
MAX_SHOWN = 120


def flatten(document: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Paths and their values; headers by name, lists of words joined."""
    found: dict[str, Any] = {}
    for name, value in document.items():
        path = f"{prefix}{name}"
        if value == KEEP:
            found[path] = MASK
        elif isinstance(value, Mapping):
            found |= flatten(value, f"{path}.")
        elif isinstance(value, list) and value and isinstance(value[0], Mapping) and "name" in value[0]:
            for item in value:
                found[f"{path}.{item['name'].lower()}"] = MASK if item["value"] == KEEP else item["value"]
        elif isinstance(value, list):
            found[path] = ", ".join(_word(item) for item in value)
        else:
            found[path] = value
    return found


def _word(item: Any) -> str:
    if isinstance(item, Mapping):  # a sensor with its instance
        return f"{item['sensor']} ({item['instance']})"
    return str(item)


def changed_fields(before: Record | None, after: Record | None, names: Mapping[str, str]) -> list[str]:
    """Paths of the fields that differ, secrets too."""
    old = {} if before is None else flatten(document_of(before, names))
    new = {} if after is None else flatten(document_of(after, names))
    old_secrets, new_secrets = secrets_of(before), secrets_of(after)
    return [
        path
        for path in {**old, **new}
        if old.get(path) != new.get(path) or old_secrets.get(path) != new_secrets.get(path)
    ]


def render_plan(plan: Plan, names: Mapping[str, str]) -> Iterator[str]:
    """Lines; the last one counts."""
    counts = dict.fromkeys(("created", "changed", "pruned", "unchanged"), 0)
    for step in plan.steps:
        counts[step.verb] += 1
        if step.verb != "unchanged":
            yield from _render_step(step, names)
    yield ", ".join(f"{count} {verb}" for verb, count in counts.items() if count) or "nothing to do"


def _render_step(step: Step, names: Mapping[str, str]) -> Iterator[str]:
    shown = step.after or step.before
    assert shown is not None
    renamed = ""
    if step.before is not None and step.after is not None and step.before.name != step.after.name:
        renamed = f" (was {_line(step.before.name)})"
    yield f"{SIGNS[step.verb]} {shown.kind} {_line(shown.name)}{renamed}"
    if step.verb == "pruned":
        return
    old = {} if step.before is None else flatten(document_of(step.before, names))
    new = flatten(document_of(shown, names))
    for path in changed_fields(step.before, step.after, names):
        if path != "name":
            yield from _render_field(path, old.get(path), new.get(path), created=step.before is None)


def _render_field(path: str, old: Any, new: Any, *, created: bool) -> Iterator[str]:
    if isinstance(old, str) and isinstance(new, str) and ("\n" in old or "\n" in new):
        yield f"    {path}:"
        for line in difflib.ndiff(old.splitlines(), new.splitlines()):
            if line[:1] in "+-":
                yield f"      {_line(line)}"
    elif created:
        yield f"    {path}: {_value(new)}"
    elif old == new == MASK:
        yield f"    {path}: {MASK} → {MASK} (a new one)"
    else:
        yield f"    {path}: {_value(old)} → {_value(new)}"


def _value(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "true" if value else "false"
    return _line(str(value))


def _line(text: str) -> str:
    """One line of a terminal: control characters spelt out, long texts cut."""
    shown = "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in text)
    return shown if len(shown) <= MAX_SHOWN else f"{shown[:MAX_SHOWN]}… ({len(text)} characters)"
