"""`tocsin backtest CONFIG… --readings FILE…`: what would have fired."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import ModuleType

import click

from tocsin.console.cli.quiet import quiet_logs
from tocsin.console.cli.since import SINCE
from tocsin.console.trial.files import read_blocks
from tocsin.console.trial.flaws import Flaws
from tocsin.console.trial.rules import read_rules
from tocsin.console.trial.timeline import Timeline, summary_lines
from tocsin.evaluator.backtest.events import Event
from tocsin.evaluator.backtest.recording import Block, Recording
from tocsin.evaluator.backtest.run import Run
from tocsin.evaluator.backtest.summary import Summary
from tocsin.ingest.core.recordings import Columns, TimeUnit
from tocsin.ingest.progress import progress

OUTCOME = "nothing was tried"


class _Command(click.Command):
    """`--readings A B C`: every word after it that is no option is a file."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        return super().parse_args(ctx, list(_spread(args)))


def _spread(args: Iterable[str]) -> Iterator[str]:
    spreading = after_option = False
    for arg in args:
        if arg == "--readings":
            spreading = after_option = True
        elif arg.startswith("-") and len(arg) > 1:
            spreading = False
        elif spreading and not after_option:
            yield "--readings"
        else:
            after_option = False
        yield arg


@click.command(cls=_Command)
@click.argument("config", nargs=-1)
@click.option(
    "--readings",
    "files",
    multiple=True,
    metavar="FILE...",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Recorded readings: CSV (time,system,metric,value[,instance]) or NDJSON, also as .gz; several are merged.",
)
@click.option("--from-topic", is_flag=True, help="Readings that are still in Kafka, in the order of their arrival.")
@click.option("--since", type=SINCE, default=0, help="Of those in Kafka, what arrived since: 2h, 7d, or a time.")
@click.option("--as-it-came", is_flag=True, help="Judge in the order of the lines instead of in order of time.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line, and nothing else.")
@click.option("--events", default=200, show_default=True, type=click.IntRange(0), help="Most events shown; 0: all.")
@click.option("--strict", is_flag=True, help="Try nothing when any line is no reading.")
@click.option("--system", help="System of all rows; {file} stands for the file's name without its ending.")
@click.option("--metric", help="Metric of all rows.")
@click.option("--time-column", help="Column of the time.  [default: time, or timestamp]")
@click.option("--value-column", help="Column of the value.  [default: value]")
@click.option("--skip-if-empty", metavar="COLUMN", help="A row in which this column is empty is no reading.")
@click.option("--time-unit", type=click.Choice(["ms", "s"]), default="ms", help="Of times that are plain numbers.")
def backtest(  # noqa: PLR0913, PLR0917  each is an option
    config: tuple[str, ...],
    files: tuple[Path, ...],
    from_topic: bool,
    since: int,
    as_it_came: bool,
    as_json: bool,
    events: int,
    strict: bool,
    system: str | None,
    metric: str | None,
    time_column: str | None,
    value_column: str | None,
    skip_if_empty: str | None,
    time_unit: TimeUnit,
) -> None:
    """Show what rules would have done with recorded readings.

    CONFIG are YAML files or folders; recipients and secrets in them are not needed. Readings are judged in order of
    time (equal times in the order of the files and their lines), by the code that runs live. Lines that are no
    readings are named and left out. With --from-topic and no CONFIG, the rules in Kafka are tried.
    Exit code 1: the rules or the readings cannot be used; else 0, whatever fired.
    """
    quiet_logs()
    if bool(files) is from_topic:
        raise click.UsageError("name recorded readings, --readings FILE, or else --from-topic")
    if not config and not from_topic:
        raise click.UsageError("name the rules: YAML files or folders")
    configuration = read_rules(config, OUTCOME) if config else _live().rules_in_kafka()
    run = Run(configuration)
    flaws = Flaws(strict)
    if from_topic:
        recording = _live().readings_in_kafka(run.known, since)
    else:
        columns = Columns(system, metric, time_column, value_column, skip_if_empty, time_unit)
        recording = _recording(files, columns, run, flaws, as_it_came=as_it_came)
    if as_json:
        found = _events(run, recording)
        in_order = run.in_order and not as_it_came and not from_topic
        for event in found if in_order else sorted(found, key=lambda one: one.time):
            sys.stdout.write(json.dumps(event.as_json(), ensure_ascii=False) + "\n")
    else:
        summary = Summary(
            [sensor.name for sensor in configuration.sensors.values()],
            [notification.name for notification in configuration.notifications.values()],
        )
        _show(run, recording, summary, events)
    flaws.summarize()


def _live() -> ModuleType:
    """What needs a broker takes a while to load, and most runs do without."""
    return importlib.import_module("tocsin.console.trial.live")


def _recording(paths: Iterable[Path], columns: Columns, run: Run, flaws: Flaws, *, as_it_came: bool) -> Recording:
    blocks: list[Block] = []
    with progress(None, sys.stderr, "read") as shown:
        count = 0
        for path in paths:
            for block in read_blocks(path, columns, run.known, flaws.add):
                blocks.append(block)
                count += len(block)
                shown.at(count)
    return Recording.as_it_came(blocks) if as_it_came else Recording.by_time(blocks)


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
    click.echo(f"\n{counts.evaluated} readings, {counts.late} of them late, {counts.repeated} repeated", err=True)
