"""What tests of `backtest`, `test` and `check` need: the command as a user calls it, and its output read back."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from click.testing import CliRunner, Result

from tocsin.console.cli import root
from tocsin.shared.times import format_rfc3339, parse_rfc3339

HEADER = "time,system,metric,value,instance"
BEGIN = parse_rfc3339("2026-01-01T00:00:00Z")


def tocsin(*arguments: str | Path) -> Result:
    """The command; a bug's traceback comes through."""
    return CliRunner().invoke(root, [str(one) for one in arguments], catch_exceptions=False)


def series(
    values: Iterable[float | None], every: int = 60, system: str = "A", metric: str = "m", start: int = 0
) -> str:
    """CSV rows, one each `every` seconds; None is no reading."""
    return "".join(
        f"{format_rfc3339(BEGIN + (start + number * every) * 1000)},{system},{metric},{value},\n"
        for number, value in enumerate(values)
        if value is not None
    )


def backtest(folder: Path, rules: str, rows: str, *more: str) -> list[dict[str, Any]]:
    """Events of a run over these CSV rows."""
    (folder / "rules.yaml").write_text(rules)
    (folder / "readings.csv").write_text(f"{HEADER}\n{rows}")
    done = tocsin("backtest", folder / "rules.yaml", "--readings", folder / "readings.csv", "--json", *more)
    assert done.exit_code == 0, done.output
    return [json.loads(line) for line in done.stdout.splitlines()]


def seconds(event: dict[str, Any]) -> float:
    """Since BEGIN."""
    return (parse_rfc3339(event["time"]) - BEGIN) / 1000


def sensors(events: Iterable[dict[str, Any]]) -> list[tuple[float, str]]:
    """(seconds, state or level) of sensor changes."""
    return [(seconds(one), one["level"] or one["state"]) for one in events if one["kind"] == "sensor"]


def notifications(events: Iterable[dict[str, Any]], name: str | None = None) -> list[tuple[float, str, int, int]]:
    """(seconds, state, matched, reporting) of notification events."""
    return [
        (seconds(one), one["state"], one["matched"], one["reporting"])
        for one in events
        if one["kind"] == "notification" and name in (None, one["notification"])
    ]
