"""`tocsin check`: what is wrong with files, and what is merely suspicious."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from tocsin.console.drafts import Draft, SecretInput
from tocsin.console.findings import Finding, Findings, Place
from tocsin.console.plan import Plan, Planner
from tocsin.console.state import ConflictError, State, compose
from tocsin.console.trial.places import Places
from tocsin.console.trial.rules import AnyEnvironment, ids_in_order
from tocsin.console.trial.suspicious import Suspicions
from tocsin.console.yaml_fields import Reader
from tocsin.console.yaml_files import find_files, read_files
from tocsin.console.yaml_recipients import Rules
from tocsin.evaluator.backtest.facts import Facts
from tocsin.shared.configuration.names import record_key
from tocsin.shared.configuration.records import Record
from tocsin.shared.configuration.snapshot import Configuration
from tocsin.shared.secrets import KeyRing

_KEY_BYTES = 32


@dataclass(frozen=True, slots=True)
class Checked:
    """What was found in so many files."""

    files: int
    errors: tuple[Finding, ...]
    warnings: tuple[Finding, ...]


def check_files(
    paths: Iterable[str], rules: Rules, environment: Mapping[str, str], state: State | None, facts: Facts
) -> Checked:
    """`state`: the configuration there is; None: it is not known, and the files have to stand for themselves."""
    findings = Findings()
    known = AnyEnvironment(environment)
    files = find_files(paths, findings)
    drafts = read_files(files, Reader(findings, known), rules)
    places = Places.of(files)
    plan = _plan(drafts, findings, state)
    # A variable that is not set has a stand-in, which is nobody's mistake.
    stand_ins = {place for place, variable in places.variables.items() if variable in known.missing}
    errors = [finding for finding in findings.all if finding.place not in stand_ins]
    warnings = [_not_set(place, places.variables[place]) for place in stand_ins]
    after = _records(plan) or {key: one for draft in drafts for key, one in _by_itself(draft).items()}
    if not errors:
        errors += _conflicts(plan, state)
    gone = {step.before.id for step in plan.steps if step.before is not None}
    before = {key: one for key, one in (state.records if state is not None else {}).items() if one.id not in gone}
    warnings += Suspicions(places, facts).of(after.values(), Configuration.of(1, {**before, **after}))
    return Checked(len(files), tuple(sorted(set(errors))), tuple(sorted(set(warnings))))


def _records(plan: Plan) -> dict[str, Record]:
    return {record_key(step.after.kind, step.after.name): step.after for step in plan.steps if step.after is not None}


def _by_itself(draft: Draft) -> dict[str, Record]:
    """What refers to nothing can be looked at though something else is wrong."""
    if draft.kind not in ("sensor", "group"):
        return {}
    return _records(_plan([draft], Findings(), None))


def _plan(drafts: list[Draft], findings: Findings, state: State | None) -> Plan:
    keys = KeyRing({"check": os.urandom(_KEY_BYTES)})  # what is encrypted with it is thrown away
    ids = ids_in_order()
    if state is None:
        drafts = [replace(draft, secrets=_nothing_kept(draft.secrets)) for draft in drafts]
    planner = Planner(state or State(), findings, lambda: keys, lambda: next(ids), prune=False, now_ms=0)
    before = len(findings.all)
    plan = planner.plan(drafts)
    if state is None:
        findings.all[before:] = [_alone(finding) for finding in findings.all[before:]]
    return plan


def _nothing_kept(secrets: Mapping[str, SecretInput]) -> dict[str, SecretInput]:
    """Whether there is a secret to keep is known in Kafka only."""
    return {path: replace(one, text=one.text or "kept") for path, one in secrets.items()}


def _alone(finding: Finding) -> Finding:
    if finding.problem.startswith("there is no "):
        problem = f"{finding.problem} in these files (Kafka was not asked)"
        return replace(finding, problem=problem)
    return finding


def _not_set(place: Place, variable: str) -> Finding:
    problem = f"the environment variable {variable} is not set here"
    return Finding(place, "env", problem, "`tocsin apply` will need it")


def _conflicts(plan: Plan, state: State | None) -> list[Finding]:
    try:
        compose(state or State(), plan.operations(), 1, 0)
    except ConflictError as error:
        return [Finding(Place("configuration"), "", str(error))]
    return []
