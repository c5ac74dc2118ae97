"""`tocsin backtest CONFIG… --readings FILE…`: what would have fired."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import click

from tocsin.console.cli.since import SINCE
from tocsin.ingest.core.recordings import Columns, TimeUnit


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
    if bool(files) is from_topic:
        raise click.UsageError("name recorded readings, --readings FILE, or else --from-topic")
    if not config and not from_topic:
        raise click.UsageError("name the rules: YAML files or folders")
    # Half a second to load, which --help and a mistake do without.
    from tocsin.console.trial.backtesting import Readings, Shown, try_rules  # noqa: PLC0415

    columns = Columns(system, metric, time_column, value_column, skip_if_empty, time_unit)
    try_rules(config, Readings(files, columns, since, as_it_came, strict), Shown(events, as_json))
