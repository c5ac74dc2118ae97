"""`tocsin test FILE…`: unit tests of rules."""

from __future__ import annotations

import sys
from pathlib import Path

import click


@click.command()
@click.argument("paths", nargs=-1, required=True, metavar="FILE...")
@click.option("--junit", type=click.Path(dir_okay=False, path_type=Path), help="Also write the results here, as XML.")
def test(paths: tuple[str, ...], junit: Path | None) -> None:
    """Run unit tests of rules.

    FILE is a YAML file of tests, or a folder: then all *.test.yaml in it. A test gives series and says which changes
    and events are expected of them, and when; nothing else may come. Needs no broker. Exit code 1: a test has failed,
    or a file cannot be used.
    """
    from tocsin.console.trial.testing import run_unit_tests  # noqa: PLC0415 - half a second, which --help does without

    sys.exit(0 if run_unit_tests(paths, junit) else 1)
