"""`tocsin check PATH…`: mistakes and suspicious rules, before anything is applied."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import click

from tocsin.console.cli.configuration import actor
from tocsin.console.cli.quiet import quiet_logs
from tocsin.console.findings import Finding
from tocsin.console.state import State
from tocsin.console.store import Store
from tocsin.console.trial.checking import Checked, check_files
from tocsin.console.trial.flaws import Flaws
from tocsin.console.yaml_recipients import Rules
from tocsin.dispatcher.settings import DispatcherSettings
from tocsin.evaluator.backtest.facts import Facts, facts_of
from tocsin.evaluator.backtest.recording import Block
from tocsin.evaluator.detector.columns import Known
from tocsin.evaluator.detector.names import Names
from tocsin.evaluator.detector.settings import DetectorSettings
from tocsin.ingest.core.recordings import Columns
from tocsin.shared import kafka
from tocsin.shared.errors import BrokerError, SettingsError, UsageError
from tocsin.shared.settings import KafkaSettings

ANSWER_WITHIN = 3.0
"""Seconds a broker has: what can be checked without one must not wait for it."""

SAMPLED = 20_000
"""Of the newest messages of each partition: enough to know who there is and how often readings come."""


@click.command()
@click.argument("paths", nargs=-1, required=True, metavar="PATH...")
@click.option(
    "--readings",
    "recorded",
    multiple=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Recorded readings (CSV, NDJSON): who there is, and how often readings come.",
)
@click.option(
    "--systems",
    "systems_file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Names of all systems, one a line.",
)
@click.option("--offline", is_flag=True, help="Ask no broker, even where there is one.")
@click.option("--strict", is_flag=True, help="Exit code 1 for warnings, too.")
@click.option("-o", "--output", type=click.Choice(["text", "json"]), default="text", show_default=True)
def check(
    paths: tuple[str, ...],
    recorded: tuple[Path, ...],
    systems_file: Path | None,
    offline: bool,
    strict: bool,
    output: str,
) -> None:
    """Check configuration: mistakes, and rules that hardly mean what they say.

    PATH are YAML files or folders, - is standard input. Where a broker answers, names may also be of records in Kafka,
    and systems and intervals are known from its readings; without one the files have to stand for themselves.
    Exit code 0: nothing is wrong (there may be warnings); 1: something is.
    """
    quiet_logs()
    settings = DispatcherSettings.load(kafka=KafkaSettings({"bootstrap.servers": "none"}))
    broker = None if offline else _broker(settings)
    if broker is not None:
        settings = settings.model_copy(update={"kafka": broker})
    state = _state(settings) if broker is not None else None
    facts = _facts(recorded, systems_file, settings if state is not None else None)
    rules = Rules(settings.egress_policy, settings.retry_tiers)
    found = check_files(paths, rules, os.environ, state, facts)
    if output == "json":
        click.echo(json.dumps(_as_json(found), ensure_ascii=False))
    else:
        _show(found)
    sys.exit(1 if found.errors or (strict and found.warnings) else 0)


def _broker(settings: DispatcherSettings) -> KafkaSettings | None:
    try:
        found = KafkaSettings.from_environment(os.environ, settings.state_dir)
    except SettingsError:  # there is none
        return None
    try:
        kafka.existing_partitions(kafka.admin(found), ANSWER_WITHIN)
    except BrokerError as error:
        click.echo(f"checked without a broker: {error}", err=True)
        return None
    return found


def _state(settings: DispatcherSettings) -> State | None:
    try:
        return Store(settings, actor()).read()
    except BrokerError as error:
        click.echo(f"checked without a broker: {error}", err=True)
        return None


def _facts(recorded: Iterable[Path], systems_file: Path | None, settings: DispatcherSettings | None) -> Facts:
    """From recorded readings, else from those in Kafka; names of systems from their file, if there is one."""
    known = Known(Names(), Names(), Names())
    facts = Facts()
    if recorded:
        from tocsin.console.trial.files import read_blocks  # noqa: PLC0415 - half a second, and most checks need none

        flaws = Flaws(strict=False)
        blocks = [block for path in recorded for block in read_blocks(path, Columns(), known, flaws.add)]
        flaws.summarize()
        facts = facts_of(Block.joined(blocks), known, "in the readings")
    elif settings is not None:
        facts = _from_topic(settings, known)
    if systems_file is None:
        return facts
    names = frozenset(filter(None, map(str.strip, _lines(systems_file))))
    return Facts(names, facts.metrics, facts.interval, facts.origin)


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: cannot be read: {error}") from None


def _from_topic(settings: DispatcherSettings, known: Known) -> Facts:
    from tocsin.console.trial.topic import Portion, read_topic  # noqa: PLC0415 - it loads the detector and its compiler

    try:
        detector = DetectorSettings.load(kafka=settings.kafka)
        found = read_topic(detector, 0, known, portion=Portion(each=SAMPLED))
    except BrokerError as error:
        click.echo(f"readings in Kafka were not looked at: {error}", err=True)
        return Facts()
    block = Block.joined(found.blocks)
    return facts_of(block, known, "among the newest readings in Kafka") if len(block) else Facts()


def _as_json(found: Checked) -> dict[str, Any]:
    return {
        "files": found.files,
        "errors": [_finding(one) for one in found.errors],
        "warnings": [_finding(one) for one in found.warnings],
    }


def _finding(one: Finding) -> dict[str, Any]:
    place = one.place
    return {
        "file": place.file,
        "line": place.line or None,
        "column": place.column or None,
        "field": one.field,
        "problem": one.problem,
        "hint": one.way_out or None,
    }


def _show(found: Checked) -> None:
    shown = sorted([(one, "error") for one in found.errors] + [(one, "warning") for one in found.warnings])
    for one, what in shown:
        prefix = f"{one.place}: "
        click.echo(f"{prefix}{what}: {str(one).removeprefix(prefix)}")
    errors, warnings = len(found.errors), len(found.warnings)
    click.echo(f"{_count(found.files, 'file')}: {_count(errors, 'error')}, {_count(warnings, 'warning')}")


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
