"""Every change that pages and API make: checked by the rules for YAML files, written by the one fenced writer."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from tocsin.console.directory import Directory
from tocsin.console.drafts import Draft, Named
from tocsin.console.findings import Findings, RefusedError
from tocsin.console.json_nodes import PLACE, to_node
from tocsin.console.plan import Plan, Planner
from tocsin.console.repeats import done_before, in_hand, with_key
from tocsin.console.state import Change, ConflictError, Delete, Operation, Put, State
from tocsin.console.store import Store, WriterFencedError
from tocsin.console.yaml_fields import Reader
from tocsin.console.yaml_files import read_document
from tocsin.console.yaml_nodes import Mapping as MappingNode
from tocsin.console.yaml_nodes import Scalar
from tocsin.console.yaml_nodes import Sequence as SequenceNode
from tocsin.console.yaml_recipients import Rules
from tocsin.shared.clock import Clock
from tocsin.shared.configuration.names import fold
from tocsin.shared.configuration.records import Notification, Recipient, Record
from tocsin.shared.errors import UsageError
from tocsin.shared.ids import new_id
from tocsin.shared.secrets import KeyRing
from tocsin.shared.settings import CommonSettings

FENCED_TRIES = 6
"""Two consoles writing at once fence each other; each try starts anew from what the other has written."""

Document = Mapping[str, Any]


class StaleError(UsageError):
    """It has been changed meanwhile."""

    def __init__(self, record: Record) -> None:
        super().__init__(f"{record.kind} {record.name!r} has been changed meanwhile; look at it again")
        self.revision = record.revision


class GoneError(UsageError):
    """There is no such record."""

    def __init__(self, kind: str, record_id: str) -> None:
        super().__init__(f"there is no {kind} {record_id}")


class Editor:
    """Writes one change at a time. Every method answers when the change is durable and visible here."""

    def __init__(
        self,
        settings: CommonSettings,
        rules: Rules,
        directory: Directory,
        keys: Callable[[], KeyRing],
        clock: Clock,
    ) -> None:
        self._settings = settings
        self._rules = rules
        self._directory = directory
        self._keys = keys
        self._clock = clock
        self._lock = asyncio.Lock()

    def new_id(self) -> str:
        return new_id(self._clock.now_ms())

    async def save(
        self,
        kind: str,
        document: Document,
        actor: str,
        *,
        record_id: str | None = None,
        expected: int | None = None,
        create_as: str | None = None,
    ) -> Record:
        """Create a record (with the id `create_as`, if given), or replace the one of this id.

        Raises RefusedError with findings whose fields are paths into the document; StaleError, GoneError,
        ConflictError.
        """
        made: list[str] = []
        findings = Findings()
        self.draft(kind, document, findings)
        findings.refuse()  # what is wrong by itself is said without asking the broker for the state

        def build(state: State) -> Sequence[Operation]:
            plan = self.plan(state, kind, document, record_id=record_id, expected=expected, create_as=create_as)
            made[:] = [step.after.id for step in plan.steps if step.after is not None]
            return plan.operations()

        await self.write(build, actor)
        its_id = made[0] if made else record_id or create_as or ""  # nothing is made by a write that was done before
        found = self._directory.get(kind, its_id)
        if found is None:
            raise GoneError(kind, its_id)  # somebody else deleted it in this very moment, or since
        return found

    def plan(
        self,
        state: State,
        kind: str,
        document: Document,
        *,
        record_id: str | None = None,
        expected: int | None = None,
        create_as: str | None = None,
    ) -> Plan:
        """What saving would do. Raises as `save` does; writes nothing."""
        before = None if record_id is None else existing(state, kind, record_id, expected)
        findings = Findings()
        draft = self.draft(kind, document, findings)
        if draft is not None:
            _check_name(state, draft, before, findings)
        findings.refuse()
        assert draft is not None, "a draft that could not be made says why"
        if before is not None and draft.folded != fold(before.name):
            draft = replace(draft, renamed_from=Named(before.name, PLACE, "name"))
        planner = Planner(
            state,
            findings,
            self._keys,
            lambda: create_as or self.new_id(),
            now_ms=self._clock.now_ms(),
            prune=False,
        )
        plan = planner.plan([draft])
        findings.refuse()
        return plan

    def draft(self, kind: str, document: Document, findings: Findings) -> Draft | None:
        """The document read as an entry of a YAML file; nothing in it can name this process's environment."""
        node = to_node(document, findings)
        if node is None:
            return None
        section = SequenceNode(PLACE, (node,))
        root = MappingNode(PLACE, ((Scalar(PLACE, f"{kind}s", "text"), section),))
        drafts = read_document(root, Reader(findings, {}), self._rules)
        return drafts[0] if drafts else None

    async def delete(self, kind: str, record_id: str, actor: str, expected: int | None = None) -> None:
        """A recipient leaves its notifications too. Raises ConflictError naming what would be left without one."""

        def build(state: State) -> Sequence[Operation]:
            record = existing(state, kind, record_id, expected)
            leaving = _leave_notifications(state, record) if isinstance(record, Recipient) else []
            return [*leaving, Delete(record.id, record.revision)]

        await self.write(build, actor)

    async def assign(
        self, recipient_id: str, notification_ids: Sequence[str], actor: str, *, allow_none_left: bool = False
    ) -> list[str]:
        """Make these the notifications of a recipient; the names of those left without any recipient.

        Raises ConflictError when there would be such, unless they are allowed.
        """
        alone: list[str] = []

        def build(state: State) -> Sequence[Operation]:
            existing(state, Recipient.kind, recipient_id, None)
            for wanted in notification_ids:
                existing(state, Notification.kind, wanted, None)
            operations, left = _assignment(state, recipient_id, frozenset(notification_ids))
            alone[:] = left
            if left and not allow_none_left:
                raise ConflictError(
                    f"{', '.join(map(repr, left))} would be left without a recipient: nobody would be told"
                )
            return operations

        await self.write(build, actor)
        return alone

    async def put(self, record: Record, actor: str, expected: int | None = None) -> Record:
        """A record that no file defines: a user, a token, or an existing one with one field changed."""
        await self.write(lambda state: [Put(record, expected)], actor)
        found = self._directory.get(record.kind, record.id)
        if found is None:
            raise GoneError(record.kind, record.id)
        return found

    async def write(self, build: Callable[[State], Sequence[Operation]], actor: str) -> Change | None:
        """One change by the fenced writer; None when there was nothing to change, or it was done before under its key.

        Raises what `build` and the store raise.
        """
        store = Store(self._settings, actor, self._clock)
        keyed, seen = in_hand.get(), 0

        def once(state: State) -> Sequence[Operation]:
            nonlocal seen
            seen, now = state.change, self._clock.now_ms()
            if done_before(state, keyed, now):
                return ()
            operations = build(state)
            return operations if keyed is None else with_key(state, operations, keyed, now)

        async with self._lock:
            for tried in range(FENCED_TRIES):
                try:
                    change = await asyncio.to_thread(store.write, once)
                    break
                except WriterFencedError:
                    if tried == FENCED_TRIES - 1:
                        raise
                    await asyncio.sleep(random.uniform(0.05, 0.3) * (tried + 1))  # noqa: S311  spreads, no secret
        if change is not None:
            self._directory.written(change)
        else:
            # What stands there may be another console's, of a moment ago.
            await asyncio.to_thread(self._directory.wait_for, seen)
        return change


def existing(state: State, kind: str, record_id: str, expected: int | None) -> Record:
    """Raises GoneError, StaleError."""
    record = state.by_id(record_id)
    if record is None or record.kind != kind:
        raise GoneError(kind, record_id)
    if expected is not None and record.revision != expected:
        raise StaleError(record)
    return record


def _check_name(state: State, draft: Draft, before: Record | None, findings: Findings) -> None:
    other = state.find(draft.kind, draft.name)
    if other is not None and (before is None or other.id != before.id):
        alike = "" if other.name == draft.name else f" (written {other.name!r}: upper and lower case are the same)"
        problem = f"the name {draft.name!r} is already taken by another {draft.kind}{alike}"
        findings.add(PLACE, "name", problem, "choose another name")


def _leave_notifications(state: State, recipient: Recipient) -> list[Operation]:
    operations, alone = _assignment(state, recipient.id, frozenset())
    if alone:
        raise ConflictError(
            f"{recipient.name!r} is the last recipient of {', '.join(map(repr, alone))}: give it another one first"
        )
    return operations


def _assignment(state: State, recipient_id: str, wanted: frozenset[str]) -> tuple[list[Operation], list[str]]:
    """What to write, and the names of the notifications left without a recipient."""
    operations: list[Operation] = []
    alone: list[str] = []
    for record in state.of_kind(Notification.kind):
        assert isinstance(record, Notification)
        has, shall = recipient_id in record.recipient_ids, record.id in wanted
        if has == shall:
            continue
        if shall:
            recipients = (*record.recipient_ids, recipient_id)
        else:
            recipients = tuple(one for one in record.recipient_ids if one != recipient_id)
            if not recipients:
                alone.append(record.name)
        operations.append(Put(record.model_copy(update={"recipient_ids": recipients}), record.revision))
    return operations, alone


__all__ = ["ConflictError", "Editor", "GoneError", "RefusedError", "StaleError"]
