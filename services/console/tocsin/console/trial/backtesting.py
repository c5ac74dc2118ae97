"""The work of `tocsin backtest`: reads rules and readings, runs them, shows what came of it."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import click

from tocsin.console.cli.quiet import quiet_logs
from tocsin.console.trial.files import read_blocks
from tocsin.console.trial.flaws import Flaws
from tocsin.console.trial.rules import read_rules
from tocsin.console.trial.timeline import Timeline, summary_lines
from tocsin.evaluator.backtest.events import Event
from tocsin.evaluator.backtest.recording import Block, Recording
from tocsin.evaluator.backtest.run import Run
from tocsin.evaluator.backtest.summary import Summary
from tocsin.ingest.core.recordings import Columns
from tocsin.ingest.progress import progress

OUTCOME = "nothing was tried"


@dataclass(frozen=True, slots=True)
class Readings:
    """Which readings are judged, and in which order. No files: those in Kafka, of what arrived since (epoch ms)."""

    files: tuple[Path, ...]
    columns: Columns
    since: int
    as_it_came: bool
    strict: bool


@dataclass(frozen=True, slots=True)
class Shown:
    """How the outcome is shown. `events`: the most, 0 for all."""

    events: int
    as_json: bool


def try_rules(config: tuple[str, ...], readings: Readings, shown: Shown) -> None:
    """No config: the rules in Kafka. Raises UsageError when the rules or the readings cannot be used."""
    quiet_logs()
    configuration = read_rules(config, OUTCOME) if config else _live().rules_in_kafka()
    run = Run(configuration)
    flaws = Flaws(readings.strict)
    if readings.files:
        recording = _recording(readings, run, flaws)
    else:
        recording = _live().readings_in_kafka(run.known, readings.since)
    if shown.as_json:
        found = _events(run, recording)
        in_order = run.in_order and not readings.as_it_came and bool(readings.files)
        for event in found if in_order else sorted(found, key=lambda one: one.time):
            sys.stdout.write(json.dumps(event.as_json(), ensure_ascii=False) + "\n")
    else:
        summary = Summary(
            [sensor.name for sensor in configuration.sensors.values()],
            [notification.name for notification in configuration.notifications.values()],
        )
        _show(run, recording, summary, shown.events)
    flaws.summarize()


def _live() -> ModuleType:
    """What needs a broker takes a while to load, and most runs do without."""
    return importlib.import_module("tocsin.console.trial.live")


def _recording(readings: Readings, run: Run, flaws: Flaws) -> Recording:
    blocks: list[Block] = []
    with progress(None, sys.stderr, "read") as shown:
        count = 0
        for path in readings.files:
            for block in read_blocks(path, readings.columns, run.known, flaws.add):
                blocks.append(block)
                count += len(block)
                shown.at(count)
    return Recording.as_it_came(blocks) if readings.as_it_came else Recording.by_time(blocks)


def _events(run: Run, recording: Recording) -> Iterator[Event]:
    with progress(len(recording), sys.stderr, "judged") as shown:
        yield from run.events(recording, shown.at)


def _show(run: Run, recording: Recording, summary: Summary, most: int) -> None:
    timeline = Timeline(most)
    for event in _events(run, recording):
        summary.add(event)
        for line in timeline.lines(event):
            click.echo(line)
    if timeline.left_out:
        click.echo(f"  ... and {timeline.left_out} more (--events 0 shows all of them, --json too)")
    span = run.span
    if span is not None:
        summary.finish(span, run.watched())
    if timeline.count:
        click.echo()
    for line in summary_lines(summary, span):
        click.echo(line)
    counts = run.counts()
    readings = "1 reading" if counts.evaluated == 1 else f"{counts.evaluated} readings"
    click.echo(f"\n{readings}, {counts.late} of them late, {counts.repeated} repeated", err=True)
