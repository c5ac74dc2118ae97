"""A configuration from files alone: no broker, no secret, no recipient is needed to try rules."""

from __future__ import annotations

import itertools
import uuid
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

from tocsin.console.drafts import Draft
from tocsin.console.findings import Findings
from tocsin.console.plan import Planner
from tocsin.console.state import State
from tocsin.console.yaml_fields import Reader
from tocsin.console.yaml_files import find_files, read_files
from tocsin.console.yaml_recipients import Rules
from tocsin.dispatcher.core.egress import EgressPolicy
from tocsin.shared.configuration.names import record_key
from tocsin.shared.configuration.records import Record
from tocsin.shared.configuration.snapshot import Configuration
from tocsin.shared.errors import UsageError
from tocsin.shared.secrets import KeyRing
from tocsin.shared.topics import DEFAULT_RETRY_TIERS

RULES = Rules(EgressPolicy(), DEFAULT_RETRY_TIERS)


class AnyEnvironment(Mapping[str, str]):
    """The environment, in which every variable is set; remembers which of them are not. Its values are never used."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment
        self.missing: set[str] = set()

    def __getitem__(self, name: str) -> str:
        if name not in self._environment:
            self.missing.add(name)
        return self._environment.get(name, "whsec_" + "A" * 32)

    def __contains__(self, name: object) -> bool:
        return True

    def __iter__(self) -> Iterator[str]:
        return iter(self._environment)

    def __len__(self) -> int:
        return len(self._environment)


def ids_in_order() -> Iterator[str]:
    """The same for every run: what comes of them can be compared."""
    return (str(uuid.UUID(int=number)) for number in itertools.count(1))


def without_recipients(drafts: Iterable[Draft]) -> list[Draft]:
    """Who is told does not change what fires."""
    return [replace(draft, recipients=()) for draft in drafts if draft.kind != "recipient"]


def configuration_of(drafts: Iterable[Draft], findings: Findings) -> Configuration:
    """Drafts with names resolved among themselves. What is wrong goes to the findings."""
    ids = ids_in_order()

    def no_keys() -> KeyRing:
        raise UsageError("secrets are not read here")  # recipients have been left out

    plan = Planner(State(), findings, no_keys, lambda: next(ids), prune=False, now_ms=0).plan(
        without_recipients(drafts)
    )
    records: dict[str, Record] = {}
    for one in plan.steps:
        if one.after is not None:
            records[record_key(one.after.kind, one.after.name)] = one.after
    return Configuration.of(1, records)


def read_rules(paths: Iterable[str], outcome: str) -> Configuration:
    """From files and folders. Raises RefusedError with all that is wrong in them, ending with `outcome`."""
    findings = Findings()
    drafts = read_files(find_files(paths, findings), Reader(findings, AnyEnvironment({})), RULES)
    configuration = configuration_of(drafts, findings)
    findings.refuse(outcome)
    if not configuration.sensors:
        raise UsageError("the files define no sensor: there is nothing to try")
    return configuration
