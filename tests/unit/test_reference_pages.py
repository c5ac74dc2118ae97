"""docs/reference: what the models say, and that every example in it is one the console would take."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tocsin.console.api.documents import DOCUMENTS
from tocsin.console.checks import EgressPolicy
from tocsin.console.field_notes import NOTES
from tocsin.console.findings import Findings
from tocsin.console.json_nodes import to_node
from tocsin.console.reference_page import PAGES, RECORDS
from tocsin.console.settings_page import PROCESSES, WORDS, meaning, own_fields
from tocsin.console.yaml_fields import Reader
from tocsin.console.yaml_files import read_document
from tocsin.console.yaml_recipients import Rules
from tocsin.shared.topics import DEFAULT_RETRY_TIERS

FOLDER = Path(__file__).parents[2] / "docs" / "reference"

USER = {"type": "user", "name": "U", "first_name": "U", "last_name": "V", "email": "u@example.com"}
HOOK = {"type": "system", "name": "H", "webhook": {"url": "https://example.com/hook"}}
LEVELS = {"levels": {"warn": {"trigger": "> 80"}}}
BOTH_LEVELS = {"levels": {"warn": {"trigger": "> 70"}, "crit": {"trigger": "> 90"}}}
SENSOR = {"name": "S", "metric": "m", "trigger": "> 90"}
WINDOW = {"function": "avg", "window": "5m"}
NOTIFICATION = {"name": "N", "sensors": ["S"], "threshold": 1, "recipients": []}
SILENCE = {"name": "Q", "matchers": ["notification=*"], "until": "2026-12-02T00:00:00Z"}
SIGNED = {"type": "signed-secret", "secret": "s" * 30}

MINIMAL: dict[str, tuple[str, Any, tuple[str | int, ...]]] = {
    "SensorDocument": ("sensor", SENSOR, ()),
    "Level": ("sensor", {"name": "S", "metric": "m", **LEVELS}, ("levels", "warn")),
    "Aggregate": ("sensor", {**SENSOR, "aggregate": WINDOW}, ("aggregate",)),
    "NoData": ("sensor", {**SENSOR, "no_data": {"after": "15m"}}, ("no_data",)),
    "Flapping": ("sensor", {**SENSOR, "flapping": {}}, ("flapping",)),
    "Override": ("sensor", {**SENSOR, "overrides": [{"systems": ["A*"]}]}, ("overrides", 0)),
    "Override.levels": (
        "sensor",
        {"name": "S", "metric": "m", **BOTH_LEVELS, "overrides": [{"systems": ["A*"]}]},
        ("overrides", 0),
    ),
    "GroupDocument": ("group", {"name": "G"}, ()),
    "NotificationDocument": ("notification", NOTIFICATION, ()),
    "SensorUse": ("notification", {**NOTIFICATION, "sensors": [{"sensor": "S"}]}, ("sensors", 0)),
    "RecipientDocument": ("recipient", HOOK, ()),
    "Webhook": ("recipient", HOOK, ("webhook",)),
    "Authentication": (
        "recipient",
        {**HOOK, "webhook": {**HOOK["webhook"], "authentication": SIGNED}},  # type: ignore[dict-item]
        ("webhook", "authentication"),
    ),
    "Header": (
        "recipient",
        {**HOOK, "webhook": {**HOOK["webhook"], "headers": [{"name": "X-A", "value": "b"}]}},  # type: ignore[dict-item]
        ("webhook", "headers", 0),
    ),
    "MailTemplates": ("recipient", {**USER, "mail": {}}, ("mail",)),
    "ScheduleDocument": ("schedule", {"name": "C", "time_zone": "Europe/Berlin", "copy_of": "12x5"}, ()),
    "SilenceDocument": ("silence", SILENCE, ()),
}
"""The kind, a document of it, and where in it the part with the fields stands."""

NEEDED: dict[tuple[str, str], dict[str, Any]] = {
    ("SensorDocument", "levels"): {"trigger": None},
    ("SensorDocument", "lateness"): {"aggregate": WINDOW},
    ("Override", "systems"): {"trigger": "> 97"},
    ("Override", "lateness"): {"aggregate": WINDOW},
    ("Override", "clear"): {"trigger": "> 95"},
    ("Aggregate", "tumbling"): {"window": None},
    ("Aggregate", "count"): {"window": None},
    **{("RecipientDocument", name): {**USER, "webhook": None} for name in ("first_name", "last_name", "email", "mail")},
    ("Authentication", "username"): {"type": "basic", "secret": None, "password": "p"},
    ("Authentication", "password"): {"type": "basic", "secret": None, "username": "u"},
    ("Authentication", "header"): {"scheme": "header"},
}
"""What else a field's part must say (None: must not say) for the field to make sense."""


EXAMPLES = [(part, field) for part, notes in NOTES.items() for field in notes]


def _with(document: Any, path: tuple[str | int, ...], more: dict[str, Any]) -> Any:
    if not path:
        return {name: value for name, value in {**document, **more}.items() if value is not None}
    if isinstance(document, list):
        return [_with(item, path[1:], more) if at == path[0] else item for at, item in enumerate(document)]
    return {**document, path[0]: _with(document[path[0]], path[1:], more)}


@pytest.mark.parametrize("name", PAGES)
def test_the_pages_are_what_the_models_say(name: str) -> None:
    assert (FOLDER / name).read_text() == PAGES[name](), "run: make reference"


@pytest.mark.parametrize(("part", "field"), EXAMPLES)
def test_every_example_is_one_the_console_takes(part: str, field: str) -> None:
    kind, document, path = MINIMAL.get(f"{part}.{field}") or MINIMAL[part]
    more = {**NEEDED.get((part, field), {}), field: NOTES[part][field].example}
    findings = Findings()
    node = to_node({f"{kind}s": [_with(document, path, more)]}, findings)
    assert node is not None
    rules = Rules(EgressPolicy(), DEFAULT_RETRY_TIERS)
    (draft,) = read_document(node, Reader(findings, {}), rules)  # type: ignore[arg-type]
    assert [str(one) for one in findings.all] == []
    assert draft.kind == kind


def test_every_field_is_noted_and_nothing_else_is() -> None:
    fields: dict[str, set[str]] = {}
    for document in DOCUMENTS.values():
        schema = document.model_json_schema(by_alias=True)
        for name, part in ((document.__name__, schema), *schema.get("$defs", {}).items()):
            fields[name] = set(part["properties"])
            assert all(one.get("description") for one in part["properties"].values()), name
    assert {name: set(notes) for name, notes in NOTES.items()} == fields
    assert set(RECORDS) == set(fields) - {"Header"}


def test_every_setting_has_a_meaning_and_no_word_is_of_a_setting_that_has_gone() -> None:
    found = {name: info for model in PROCESSES.values() for name, info in own_fields(model)}
    unsaid = [name for name, info in found.items() if not meaning(name, info)]
    assert not unsaid, f"give these settings a description: {unsaid}"
    assert set(WORDS) == {name for name, info in found.items() if not info.description}
