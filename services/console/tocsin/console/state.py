"""The configuration as the writer sees it, and what one change to it comes to. Pure.

A change is a list of operations. `compose` turns it into the records to write, or refuses it as a whole.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from tocsin.shared.configuration.names import record_key
from tocsin.shared.configuration.records import (
    Group,
    Notification,
    Recipient,
    Record,
    Schedule,
    Sensor,
    Settings,
    Silence,
)
from tocsin.shared.configuration.rotation import with_retired
from tocsin.shared.configuration.schedules import PRESETS
from tocsin.shared.configuration.sensor_checks import check_sensor
from tocsin.shared.errors import UsageError

KINDS: dict[str, type[Record]] = {
    model.kind: model for model in (Sensor, Group, Schedule, Notification, Recipient, Silence)
}
"""What a user defines, in the order in which it is written down."""

SETTINGS_NAME = "deployment"
MAX_VALUE_BYTES = 256 << 10
"""Of one record: far above any real one, and two of them still fit the audit record that shows before and after."""


class ConflictError(UsageError):
    """The change does not fit the configuration as it is now."""


@dataclass(frozen=True)
class State:
    """All records by key, read to the end of the topic."""

    change: int = 0
    records: Mapping[str, Record] = field(default_factory=dict)
    unreadable: Mapping[str, str] = field(default_factory=dict)  # key → why

    @cached_property
    def keys(self) -> Mapping[str, str]:
        """The key of each id."""
        return {record.id: key for key, record in self.records.items()}

    def find(self, kind: str, name: str) -> Record | None:
        """By name, however it is written. Raises ValueError for what is no name."""
        return self.records.get(record_key(kind, name))

    def by_id(self, record_id: str) -> Record | None:
        key = self.keys.get(record_id)
        return None if key is None else self.records[key]

    def of_kind(self, kind: str) -> list[Record]:
        """In the order of their folded names."""
        return [record for key, record in sorted(self.records.items()) if record.kind == kind]

    @property
    def settings(self) -> Settings | None:
        found = self.find(Settings.kind, SETTINGS_NAME)
        return found if isinstance(found, Settings) else None


@dataclass(frozen=True, slots=True)
class Put:
    """Create or replace the record of this id. A new name for a known id is a rename.

    `expected_revision`: the revision the writer has seen, 0 for none; None writes whatever is there.
    """

    record: Record
    expected_revision: int | None = None


@dataclass(frozen=True, slots=True)
class Delete:
    """Remove the record of this id."""

    record_id: str
    expected_revision: int | None = None


Operation = Put | Delete


@dataclass(frozen=True, slots=True)
class Entry:
    """One record of a change as it will stand on the topic; `after` is None for a tombstone."""

    key: str
    before: Record | None
    after: Record | None


@dataclass(frozen=True, slots=True)
class Change:
    """What is written in one transaction, and the state it leads to."""

    number: int
    entries: tuple[Entry, ...]
    state: State


def compose(state: State, operations: Sequence[Operation], number: int, now_ms: int) -> Change:
    """Raises ConflictError when the state has moved on, a name is taken, or a reference would lead nowhere."""
    records = dict(state.records)
    keys = dict(state.keys)
    stamp = {"revision": number, "updated_at": now_ms}
    if state.settings is None:
        made = Settings(id=str(uuid.uuid4()), name=SETTINGS_NAME, tenant_id=str(uuid.uuid4()), **stamp)
        records[record_key(Settings.kind, SETTINGS_NAME)] = made
    # Deletions and renames free their names before anything takes one.
    for operation in operations:
        record_id = operation.record_id if isinstance(operation, Delete) else operation.record.id
        _check_revision(state.by_id(record_id), operation.expected_revision, record_id)
        old_key = keys.pop(record_id, None)
        if old_key is not None:
            del records[old_key]
    for operation in operations:
        if isinstance(operation, Put):
            record = _followed(state, operation.record, now_ms).model_copy(update=stamp)
            key = record_key(record.kind, record.name)
            if key in records:
                raise ConflictError(f"the name {record.name!r} is already taken by another {record.kind}")
            records[key] = record
    _check_references(state, records)
    touched = [key for key in {**state.records, **records} if state.records.get(key) is not records.get(key)]
    entries = tuple(Entry(key, state.records.get(key), records.get(key)) for key in touched)
    for entry in entries:
        _check_size(entry.after)
        _check_rule(entry.after)
    return Change(number, entries, State(number, records, state.unreadable))


def _followed(state: State, record: Record, now_ms: int) -> Record:
    """What follows from a change of a recipient, by whatever road it comes.

    Enabled again: what disabled it before counts no more. A new signing secret: the old one signs on for a while.
    """
    before = state.by_id(record.id)
    if not isinstance(record, Recipient) or not isinstance(before, Recipient):
        return record
    record = with_retired(before, record, now_ms)
    if record.enabled and not before.enabled:
        return record.model_copy(update={"enabled_at": now_ms})
    return record


def _check_revision(record: Record | None, expected: int | None, record_id: str) -> None:
    present = 0 if record is None else record.revision
    if expected is not None and expected != present:
        name = record_id if record is None else repr(record.name)
        raise ConflictError(f"{name} has been changed meanwhile (revision {present}, not {expected}); look at it again")


def _check_size(record: Record | None) -> None:
    if record is None:
        return
    size = len(record.encode())
    if size > MAX_VALUE_BYTES:
        limit = f"at most {MAX_VALUE_BYTES >> 10} KiB are possible"
        raise ConflictError(f"{record.kind} {record.name!r} would take {size >> 10} KiB; {limit}")


def _check_rule(record: Record | None) -> None:
    if isinstance(record, Sensor) and (problems := check_sensor(record)):
        said = "; ".join(str(problem) for problem in problems[:3])
        raise ConflictError(f"sensor {record.name!r}: {said}")


def _check_references(state: State, records: Mapping[str, Record]) -> None:
    """No change may leave a record naming what is not there, but for one that did so before."""
    already = _broken(state.records.values())
    users: dict[tuple[str, str], list[str]] = {}
    for user, kind, reference in _broken(records.values()):
        if (user, kind, reference) not in already:
            gone = state.by_id(reference) if kind != "level" else None
            shown = repr(reference) if kind == "level" else "that does not exist" if gone is None else repr(gone.name)
            users.setdefault((kind, shown), []).append(f"{user.kind} {user.name!r}")
    if users:
        lines = [f"{kind} {name} is used by {', '.join(names)}" for (kind, name), names in users.items()]
        raise ConflictError(f"{'; '.join(lines)}: change what uses it first")


def _broken(records: Iterable[Record]) -> list[tuple[Record, str, str]]:
    records = list(records)
    ids = {record.id: record for record in records}
    found = [
        (record, kind, reference)
        for record in records
        for kind, reference in references(record)
        if reference not in ids
    ]
    return found + [
        (record, "level", use.level)
        for record in records
        if isinstance(record, Notification)
        for use in record.sensors
        if use.level is not None and isinstance(sensor := ids.get(use.sensor_id), Sensor)
        if use.level not in [level.name for level in sensor.levels]
    ]


def references(record: Record) -> list[tuple[str, str]]:
    """(kind, id) of all that a record names."""
    if isinstance(record, Recipient):
        return [] if record.on_failing_id is None else [("recipient", record.on_failing_id)]
    if not isinstance(record, Notification):
        return []
    found = [("sensor", use.sensor_id) for use in record.sensors]
    if record.group_id is not None:
        found.append(("group", record.group_id))
    if record.schedule_id is not None and record.schedule_id not in PRESETS:
        found.append(("schedule", record.schedule_id))
    return found + [("recipient", recipient_id) for recipient_id in record.recipient_ids]
