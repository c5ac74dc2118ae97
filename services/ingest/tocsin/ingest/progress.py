"""How far a long run has got: a bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol, TextIO

import rich.progress
from rich.console import Console

_LINE_EVERY_SECONDS = 5.0
_LOOK_EVERY_SECONDS = 0.1


class Progress(Protocol):
    """Told how many readings there have been."""

    def at(self, count: int) -> None: ...


class _Lines:
    def __init__(self, total: int | None, out: TextIO, verb: str) -> None:
        self._total = total
        self._out = out
        self._verb = verb
        self._due = time.monotonic() + _LINE_EVERY_SECONDS

    def at(self, count: int) -> None:
        if time.monotonic() < self._due:
            return
        self._due += _LINE_EVERY_SECONDS
        of = "" if self._total is None else f" of {self._total} ({100 * count / self._total:.0f} %)"
        print(f"{count}{of} readings {self._verb}", file=self._out, flush=True)


class _Bar:
    def __init__(self, bar: rich.progress.Progress, task: rich.progress.TaskID) -> None:
        self._bar = bar
        self._task = task
        self._due = 0.0

    def at(self, count: int) -> None:
        if time.monotonic() >= self._due:
            self._bar.update(self._task, completed=count)
            self._due = time.monotonic() + _LOOK_EVERY_SECONDS


@contextmanager
def progress(total: int | None, out: TextIO, verb: str = "sent") -> Iterator[Progress]:
    """`total` None: without end. `verb`: what happens to readings."""
    if not out.isatty():
        yield _Lines(total, out, verb)
        return
    columns = (
        rich.progress.TextColumn(verb),
        rich.progress.BarColumn(),
        rich.progress.MofNCompleteColumn(),
        rich.progress.TimeRemainingColumn(),
    )
    with rich.progress.Progress(*columns, console=Console(file=out), transient=True) as bar:
        yield _Bar(bar, bar.add_task(verb, total=total))
