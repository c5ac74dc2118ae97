"""What applying drafts to a state would do: names become ids, secrets ciphertexts. Nothing is written here."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from tocsin.console.drafts import Draft, Named, SensorNamed
from tocsin.console.findings import Findings, nearest
from tocsin.console.state import KINDS, Delete, Operation, Put, State
from tocsin.console.yaml_timing import preset_of
from tocsin.shared.configuration.names import fold
from tocsin.shared.configuration.records import (
    RECORD_TYPES,
    BasicAuthentication,
    Ciphertext,
    Recipient,
    Record,
    Schedule,
    Sensor,
    SignedSecret,
    Silence,
)
from tocsin.shared.configuration.rotation import signed_secret, with_retired
from tocsin.shared.configuration.schedules import PRESETS, Week, parse_week
from tocsin.shared.secrets import KeyRing, UndecryptableError

_IDENTITY = {"revision", "updated_at"}


@dataclass(frozen=True, slots=True)
class Step:
    """One record: before None, it is created; after None, it is pruned; both the same, it stays."""

    before: Record | None
    after: Record | None

    @property
    def verb(self) -> str:
        if self.before is None:
            return "created"
        if self.after is None:
            return "pruned"
        return "unchanged" if same(self.before, self.after) else "changed"


@dataclass(frozen=True, slots=True)
class Plan:
    """Every record of the files, and those that would be pruned."""

    steps: tuple[Step, ...]

    def operations(self) -> list[Operation]:
        """What the store has to write; empty when all is as it should be."""
        found: list[Operation] = []
        for step in self.steps:
            if step.verb == "unchanged":
                continue
            if step.after is not None:
                found.append(Put(step.after, 0 if step.before is None else step.before.revision))
            elif step.before is not None:
                found.append(Delete(step.before.id, step.before.revision))
        return found


def same(before: Record, after: Record) -> bool:
    """Whether nothing a user could see differs; a kept secret is the same ciphertext."""
    return before.model_dump(exclude=_IDENTITY) == after.model_dump(exclude=_IDENTITY)


def secrets_of(record: Record | None) -> dict[str, Ciphertext]:
    """Ciphertexts by the path they are bound to."""
    if not isinstance(record, Recipient) or record.webhook is None:
        return {}
    found = {
        f"webhook.headers.{header.name.lower()}": header.secret
        for header in record.webhook.headers
        if header.secret is not None
    }
    match record.webhook.authentication:
        case BasicAuthentication(password=password):
            found["webhook.authentication.password"] = password
        case SignedSecret(secret=secret):
            found["webhook.authentication.secret"] = secret
        case _:
            pass
    return found


class Planner:
    """Plans one apply. What is wrong goes to the findings; the plan is of use only without any.

    `keys` is asked only when there is a secret to compare or to encrypt.
    """

    def __init__(
        self,
        state: State,
        findings: Findings,
        keys: Callable[[], KeyRing],
        new_id: Callable[[], str],
        *,
        prune: bool,
        now_ms: int,
    ) -> None:
        self._state = state
        self._findings = findings
        self._keys = keys
        self._new_id = new_id
        self._prune = prune
        self._now_ms = now_ms
        self._ids: dict[tuple[str, str], str] = {}  # (kind, folded name) → id, once this is applied
        self._shown: dict[tuple[str, str], str] = {}  # → the name as written
        self._leaving: dict[tuple[str, str], Record] = {}
        self._schedules: dict[str, Draft] = {}  # of the files
        self._levels: dict[str, list[str]] = {}  # of each sensor, by its folded name

    def plan(self, drafts: Sequence[Draft]) -> Plan:
        before = {id(draft): self._identify(draft) for draft in drafts}
        self._index(drafts, before)
        self._schedules = {draft.folded: draft for draft in drafts if draft.kind == "schedule"}
        steps = []
        for draft in drafts:
            after = self._build(draft, before[id(draft)])
            if after is not None:
                steps.append(Step(before[id(draft)], after))
        steps += [Step(record, None) for record in self._leaving.values()] if self._prune else []
        return Plan(tuple(steps))

    def _identify(self, draft: Draft) -> Record | None:
        """The record that this draft is about: that of its name, or of its former name."""
        named = self._state.find(draft.kind, draft.name)
        former = draft.renamed_from
        if former is None or fold(former.name) == draft.folded:
            return named
        found = self._state.find(draft.kind, former.name)
        if found is not None and named is not None:
            self._findings.add(
                former.place,
                former.path,
                f"there are both a {draft.kind} {named.name!r} and a {draft.kind} {found.name!r}",
                "remove renamed_from, or delete one of them first",
            )
        return named or found

    def _index(self, drafts: Sequence[Draft], before: Mapping[int, Record | None]) -> None:
        taken: dict[str, Draft] = {}
        for draft in drafts:
            record = before[id(draft)]
            other = taken.setdefault(record.id, draft) if record is not None else draft
            if other is not draft:
                place = draft.renamed_from or other.renamed_from or Named("", draft.place)
                problem = f"{other.name!r} and {draft.name!r} would be the same {draft.kind}"
                self._findings.add(place.place, "renamed_from", problem, "keep one of them")
            self._ids[draft.kind, draft.folded] = self._new_id() if record is None else record.id
            self._shown[draft.kind, draft.folded] = draft.name
            if draft.kind == "sensor":
                self._levels[draft.folded] = [level.name for level in draft.fields.get("levels", ())]
        for record in self._state.records.values():
            if record.kind not in KINDS or record.id in taken:
                continue
            key = (record.kind, fold(record.name))
            # Files of rules say nothing about silences, which operators add and which end by themselves.
            if self._prune and record.kind != Silence.kind:
                self._leaving[key] = record
            else:
                self._ids.setdefault(key, record.id)
                if isinstance(record, Sensor):
                    self._levels.setdefault(key[1], [level.name for level in record.levels])
                self._shown.setdefault(key, record.name)

    def _resolve(self, kind: str, named: Named, user: Draft) -> str | None:
        key = (kind, fold(named.name))
        found = self._ids.get(key)
        if found is None and key in self._leaving:
            self._findings.add(
                named.place,
                named.path,
                f"{kind} {named.name!r} is not in the files and would be pruned, but {user.name!r} uses it",
                "add it to the files, or leave --prune out",
            )
        elif found is None:
            known = [shown for other, shown in self._shown.items() if other[0] == kind]
            self._findings.add(
                named.place, named.path, f"there is no {kind} {named.name!r}", nearest(named.name, known)
            )
        return found

    def _level(self, use: SensorNamed) -> str:
        """Checked against the levels that the sensor will have."""
        assert use.level is not None
        known = self._levels.get(fold(use.sensor.name))
        if known is not None and use.level.name not in known:
            problem = f"sensor {use.sensor.name!r} has no level {use.level.name[:64]!r}"
            way_out = nearest(use.level.name, known) if known else "it has no levels: leave it out"
            self._findings.add(use.level.place, use.level.path, problem, way_out)
        return use.level.name

    def _build(self, draft: Draft, before: Record | None) -> Record | None:
        fields: dict[str, Any] = dict(draft.fields)
        fields["id"] = self._ids[draft.kind, draft.folded]
        fields["name"] = draft.name
        self._refer(draft, before, fields)
        ciphertexts = self._encrypt(draft, before, fields["id"])
        if self._findings.all:
            return None
        try:
            record = RECORD_TYPES[draft.kind].model_validate(_with_secrets(fields, ciphertexts))
        except ValidationError as error:
            for one in error.errors(include_url=False, include_input=False):
                self._findings.add(draft.place, ".".join(str(part) for part in one["loc"]), one["msg"])
            return None
        if isinstance(record, Recipient):
            former = before if isinstance(before, Recipient) else None
            self._check_kept(draft, former, record)
            return with_retired(former, record, self._now_ms)
        return record

    def _refer(self, draft: Draft, before: Record | None, fields: dict[str, Any]) -> None:
        """Names as ids, and what a file doesn't say but the record has."""
        if draft.kind == "notification":
            fields["sensors"] = [
                {"sensor_id": self._resolve("sensor", use.sensor, draft), "instance": use.instance}
                | ({"level": self._level(use)} if use.level is not None else {})
                for use in draft.sensors
            ]
            fields["group_id"] = self._resolve("group", draft.group, draft) if draft.group else None
            fields["schedule_id"] = self._schedule(draft.schedule, draft) if draft.schedule else None
            fields["recipient_ids"] = [self._resolve("recipient", named, draft) for named in draft.recipients]
        elif draft.kind == "schedule":
            fields["slots"] = self._week(draft, ())
        elif draft.kind == "silence" and isinstance(before, Silence):
            fields["created_by"] = before.created_by
        elif draft.kind == "recipient":
            told = draft.recipients
            fields["on_failing_id"] = self._resolve("recipient", told[0], draft) if told else None
            if isinstance(before, Recipient):
                # An operator's pause outlasts an apply of files that say nothing about it.
                for name in ("paused", "enabled", "enabled_at"):
                    fields.setdefault(name, getattr(before, name))

    def _schedule(self, named: Named, user: Draft) -> str | None:
        return preset_of(named.name) or self._resolve("schedule", named, user)

    def _week(self, draft: Draft, users: tuple[str, ...]) -> Week:
        """What it copies, with its own days in place of those."""
        base, copied = Week(), draft.copy_of
        if copied is not None:
            preset = preset_of(copied.name)
            original = self._schedules.get(fold(copied.name))
            if fold(copied.name) in (*users, draft.folded):
                self._findings.add(copied.place, copied.path, f"{draft.name!r} would be a copy of itself")
            elif preset is not None:
                base = PRESETS[preset]
            elif original is not None:
                base = self._week(original, (*users, draft.folded))
            elif self._resolve("schedule", copied, draft) is not None:
                found = self._state.find("schedule", copied.name)
                base = found.slots if isinstance(found, Schedule) else base
        return parse_week(draft.fields["slots"], base)

    def _check_kept(self, draft: Draft, before: Recipient | None, after: Recipient) -> None:
        """A kept secret was checked for the scheme it was given for."""
        old, new = signed_secret(before), signed_secret(after)
        path = "webhook.authentication.secret"
        given = draft.secrets.get(path)
        if old is None or new is None or given is None or given.text is not None or old.scheme == new.scheme:
            return
        problem = f"the stored secret was given for the scheme {old.scheme}"
        self._findings.add(given.place, path, problem, f"give one for the scheme {new.scheme}")

    def _encrypt(self, draft: Draft, before: Record | None, record_id: str) -> dict[str, Ciphertext]:
        stored = secrets_of(before)
        found: dict[str, Ciphertext] = {}
        for path, secret in draft.secrets.items():
            old = stored.get(path)
            if secret.text is not None:
                found[path] = self._unchanged(old, record_id, path, secret.text) or self._keys().encrypt(
                    secret.text, record_id, path
                )
            elif old is not None:
                found[path] = old
            else:
                problem = f"there is no secret to keep: {draft.kind} {draft.name!r} has none here"
                self._findings.add(secret.place, path, problem, "give it as {env: NAME}")
        return found

    def _unchanged(self, old: Ciphertext | None, record_id: str, path: str, text: str) -> Ciphertext | None:
        if old is None:
            return None
        try:
            return old if self._keys().decrypt(old, record_id, path) == text else None
        except UndecryptableError:
            return None  # its key is gone: the new text is the way to get it back


def _with_secrets(fields: dict[str, Any], ciphertexts: Mapping[str, Ciphertext]) -> dict[str, Any]:
    if not ciphertexts:
        return fields
    webhook = dict(fields["webhook"])
    authentication = dict(webhook["authentication"])
    headers = [dict(header) for header in webhook["headers"]]
    for path, ciphertext in ciphertexts.items():
        *_, holder, name = path.split(".", 2)
        if holder == "authentication":
            authentication[name] = ciphertext
        else:
            next(header for header in headers if header["name"].lower() == name)["secret"] = ciphertext
    return {**fields, "webhook": {**webhook, "authentication": authentication, "headers": headers}}
