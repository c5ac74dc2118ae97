"""What is wrong with configuration: all of it is collected, then the whole is refused.

ConfigurationError (a UsageError)
└── its text is one line for each finding: `file:line:column: field: what is wrong; way out`
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass

from tocsin.shared.errors import UsageError

MAX_SHOWN = 200
"""Findings printed; a generated file can have thousands, all alike."""


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """Where something stands; line and column count from 1, 0 means the file as a whole."""

    file: str
    line: int = 0
    column: int = 0

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}" if self.line else self.file


@dataclass(frozen=True, slots=True, order=True)
class Finding:
    """One thing that is wrong. Holds no value of a secret field."""

    place: Place
    field: str
    problem: str
    way_out: str = ""

    def __str__(self) -> str:
        parts = [str(self.place), self.field, self.problem + (f"; {self.way_out}" if self.way_out else "")]
        text = ": ".join(part for part in parts if part)
        return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in text)


class ConfigurationError(UsageError):
    """The configuration was refused as a whole; nothing was changed."""


class RefusedError(ConfigurationError):
    """The configuration was refused for these findings."""

    def __init__(self, findings: Iterable[Finding], outcome: str = "nothing was applied") -> None:
        self.findings = tuple(sorted(set(findings)))
        count = len(self.findings)
        lines = [str(finding) for finding in self.findings[:MAX_SHOWN]]
        if count > MAX_SHOWN:
            lines.append(f"... and {count - MAX_SHOWN} more")
        lines.append(f"{count} problem{'' if count == 1 else 's'}: {outcome}")
        super().__init__("\n".join(lines))


class Findings:
    """A list to add to."""

    def __init__(self) -> None:
        self.all: list[Finding] = []

    def add(self, place: Place, field: str, problem: str, way_out: str = "") -> None:
        self.all.append(Finding(place, field, problem, way_out))

    def refuse(self, outcome: str = "nothing was applied") -> None:
        """Raises RefusedError when there are any."""
        if self.all:
            raise RefusedError(self.all, outcome)


def nearest(word: str, known: Iterable[str]) -> str:
    """`did you mean 'CPU busy'?`, or what there is to choose from."""
    choices = list(known)
    folded = {choice.casefold(): choice for choice in choices}
    found = difflib.get_close_matches(word.casefold(), folded, n=1, cutoff=0.6)
    if found:
        return f"did you mean {folded[found[0]]!r}?"
    if not choices:
        return "there is none yet"
    shown = ", ".join(sorted(choices)[:8])
    return f"there is {shown}{' and more' if len(choices) > 8 else ''}"
