"""Records of `configuration-audit`: who changed what, with every secret masked."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any, Literal

from tocsin.console.diff import changed_fields
from tocsin.console.state import Change
from tocsin.console.yaml_export import document_of, names_of
from tocsin.shared.configuration.records import Answered, Record, Settings
from tocsin.shared.headers import Headers, cloud_event
from tocsin.shared.ids import NAMESPACE
from tocsin.shared.schemas.base import Time, Wire

MASK = "***"


class ConfigurationAudit(Wire):
    """One record of one change."""

    schema_version: Literal[1] = 1
    id: str
    change: int
    time: Time
    actor: str  # such as cli:alice
    action: Literal["created", "changed", "renamed", "deleted"]
    kind: str
    record_id: str
    name: str  # the new one of a rename
    fields: tuple[str, ...] = ()  # those that differ, secrets too
    before: dict[str, Any] | None = None
    after: dict[str, Any] | None = None


def audit_change(change: Change, before_names: Mapping[str, str], actor: str, now_ms: int) -> list[ConfigurationAudit]:
    """One record for each record of the change; a rename, which is two on the topic, is one here."""
    names = {**before_names, **names_of(change.state)}
    before = {entry.before.id: entry.before for entry in change.entries if entry.before is not None}
    after = {entry.after.id: entry.after for entry in change.entries if entry.after is not None}
    found = []
    for record_id in {**before, **after}:
        old, new = before.get(record_id), after.get(record_id)
        shown = new or old
        assert shown is not None
        if isinstance(shown, Answered):
            continue  # that a request was answered is no change of anybody's
        found.append(
            ConfigurationAudit(
                id=str(uuid.uuid5(NAMESPACE, f"configuration\x1f{change.number}\x1f{record_id}\x1f{now_ms}")),
                change=change.number,
                time=now_ms,
                actor=actor,
                action=_action(old, new),
                kind=shown.kind,
                record_id=record_id,
                name=shown.name,
                fields=tuple(changed_fields(old, new, names)),
                before=None if old is None else _masked(old, names),
                after=None if new is None else _masked(new, names),
            )
        )
    return found


def audit_headers(record: ConfigurationAudit) -> Headers:
    return cloud_event(record.id, f"configuration.{record.action}", "/configuration", record.time)


def _action(old: Record | None, new: Record | None) -> Literal["created", "changed", "renamed", "deleted"]:
    if old is None:
        return "created"
    if new is None:
        return "deleted"
    return "changed" if old.name == new.name else "renamed"


def _masked(record: Record, names: Mapping[str, str]) -> dict[str, Any]:
    document = document_of(record, names)
    if isinstance(record, Settings):
        document["tenant_id"] = record.tenant_id
    masked = mask(document)
    assert isinstance(masked, dict)
    return masked


def mask(value: Any) -> Any:
    """`{keep: true}`, which stands for a secret, as three stars."""
    if isinstance(value, dict):
        return MASK if value == {"keep": True} else {name: mask(item) for name, item in value.items()}
    if isinstance(value, list):
        return [mask(item) for item in value]
    return value
