"""The work of `tocsin test`: finds the files, runs their tests, shows the results."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import click

from tocsin.console.cli.quiet import quiet_logs
from tocsin.console.findings import Findings, Place, RefusedError
from tocsin.console.trial.junit import junit_xml
from tocsin.console.trial.unit_files import UnitFile, UnitTest, read_unit_file
from tocsin.console.trial.unit_run import Result, run_test
from tocsin.console.yaml_files import UNIT_TEST_SUFFIXES
from tocsin.shared.errors import UsageError

OUTCOME = "nothing was tested"


def run_unit_tests(paths: Iterable[str], junit: Path | None) -> bool:
    """Whether all have passed. Raises UsageError for a file that cannot be used."""
    quiet_logs()
    findings = Findings()
    files = [read_unit_file(path, findings) for path in _find(paths, findings)]
    try:
        findings.refuse(OUTCOME)
    except RefusedError as refused:
        click.echo(str(refused), err=True)
        return False
    results = {file.path: [_run(one, file) for one in file.tests] for file in files}
    for path, of_file in results.items():
        _show(path, of_file)
    if junit is not None:
        _write(junit, junit_xml(results))
    everything = [one for of_file in results.values() for one in of_file]
    failed = sum(not one.passed for one in everything)
    click.echo(f"{len(everything)} test{'' if len(everything) == 1 else 's'}, {failed} failed")
    return not failed


def _run(one: UnitTest, file: UnitFile) -> Result:
    return run_test(one, file.configuration)


def _find(paths: Iterable[str], findings: Findings) -> list[str]:
    found: list[str] = []
    for path in paths:
        if not Path(path).is_dir():
            found.append(path)
            continue
        below = sorted(str(file) for file in Path(path).rglob("*") if file.name.endswith(UNIT_TEST_SUFFIXES))
        if not below:
            findings.add(Place(path), "", f"the folder holds no *{UNIT_TEST_SUFFIXES[0]}")
        found += below
    return list(dict.fromkeys(found))


def _show(path: str, results: Iterable[Result]) -> None:
    click.echo(path)
    for one in results:
        click.echo(f"  {'ok    ' if one.passed else 'FAILED'}  {one.name}")
        if not one.passed:
            click.echo("          - expected, did not come   + came, not expected")
            for line in one.diff:
                click.echo(f"          {line}")


def _write(path: Path, data: bytes) -> None:
    try:
        path.write_bytes(data)
    except OSError as error:
        raise UsageError(f"{path}: cannot be written: {error.strerror}") from None
