"""Series for the long runs: recorded ones where TOCSIN_RECORDINGS names them, else a generated one of the same kind."""

from __future__ import annotations

import csv
import os
import random
from pathlib import Path


def recordings() -> Path | None:
    """The folder of recorded data, or None."""
    folder = os.environ.get("TOCSIN_RECORDINGS")
    return Path(folder) if folder else None


def cpu_values() -> tuple[str, list[float]]:
    """(where they are from, some 4,000 values that cross 90 and 95 often)."""
    folder = recordings()
    if folder is not None:
        path = folder / "nab" / "ec2_cpu_utilization_825cc2.csv"
        with path.open(newline="") as file:
            return "recorded: NAB ec2_cpu_utilization_825cc2", [float(row["value"]) for row in csv.DictReader(file)]
    source = random.Random(20261124)
    values, level = [], 94.0
    for _ in range(4032):
        level += 0.25 * (94.0 - level) + source.gauss(0, 2.0)
        values.append(round(min(100.0, max(60.0, level)), 3))
    return "generated (TOCSIN_RECORDINGS is not set)", values


def crossings(values: list[float], trigger_below: float, clear_above: float) -> list[tuple[int, str]]:
    """(index, state) of every change of `trigger: < a` with `clear: > b`: the obvious loop, for comparison."""
    triggered, changes = False, []
    for index, value in enumerate(values):
        if not triggered and value < trigger_below:
            triggered = True
            changes.append((index, "triggered"))
        elif triggered and not value < trigger_below and value > clear_above:
            triggered = False
            changes.append((index, "clear"))
    return changes
