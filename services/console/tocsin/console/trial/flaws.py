"""Lines that are no readings: named, counted, and left out; or, where it has to be strict, the end of it."""

from __future__ import annotations

from pathlib import Path

import click

from tocsin.ingest.core.recordings import Flaw
from tocsin.shared.errors import UsageError

SHOWN = 20
"""Of one file; the rest is only counted."""


class Flaws:
    """Says on standard error where they are."""

    def __init__(self, strict: bool) -> None:
        self._strict = strict
        self._of_file: dict[Path, int] = {}

    @property
    def count(self) -> int:
        return sum(self._of_file.values())

    def add(self, path: Path, flaw: Flaw) -> None:
        """Raises UsageError when it is strict."""
        text = f"{path}:{flaw.line}: {flaw}"
        if self._strict:
            raise UsageError(text)
        seen = self._of_file[path] = self._of_file.get(path, 0) + 1
        if seen <= SHOWN:
            click.echo(text, err=True)

    def summarize(self) -> None:
        for path, count in self._of_file.items():
            if count > SHOWN:
                click.echo(f"{path}: and {count - SHOWN} more", err=True)
        if self.count:
            what = "line is no reading and was" if self.count == 1 else "lines are no readings and were"
            click.echo(f"{self.count} {what} left out", err=True)
