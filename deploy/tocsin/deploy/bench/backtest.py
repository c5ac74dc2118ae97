"""`tocsin bench backtest`: the whole command, start and output included, beside reading the same file row by row."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import click

from tocsin.deploy.bench.common import Figure, show
from tocsin.deploy.bench.detector import METRICS, SYSTEMS, level
from tocsin.shared.errors import TocsinError
from tocsin.shared.times import format_rfc3339

BEGIN = 1_764_064_800_000
EVERY_MS = 1.5
"""Each of the 40,000 series once a minute."""

_ROW_BY_ROW = """
import csv, sys
with open(sys.argv[1], newline="") as file:
    print(sum(float(row[3]) > 90 for row in csv.reader(file) if row[3] != "value"))
"""


@dataclass(frozen=True, slots=True)
class Case:
    """What is measured."""

    name: str
    sensors_per_metric: int = 1
    ndjson: bool = False
    waits: bool = False


CASES = (
    Case("CSV, 1 sensor per metric"),
    Case("CSV, 1,000 sensors per metric", sensors_per_metric=1_000),
    Case("CSV, for 2m and hysteresis", waits=True),
    Case("NDJSON, 1 sensor per metric", ndjson=True),
)


@click.command()
@click.option("--readings", default=2_000_000, type=click.IntRange(10_000), show_default=True, help="Of each file.")
@click.option("--case", "cases", multiple=True, type=click.IntRange(1, len(CASES)), help="Only these, by number.")
@click.option("--json", "as_json", is_flag=True, help="One object a line.")
def backtest(readings: int, cases: tuple[int, ...], as_json: bool) -> None:
    """Readings a second of `tocsin backtest FILE --json`; 1 % of them change something. No broker."""
    chosen = [CASES[number - 1] for number in cases] or list(CASES)
    show(measure(chosen, readings), "Back-test: readings a second, beside Python's csv module alone", as_json)


def measure(cases: list[Case], readings: int) -> Iterator[Figure]:
    """One figure a case, as it is measured."""
    with tempfile.TemporaryDirectory(prefix="tocsin-bench-") as name:
        folder = Path(name)
        csv_file, ndjson_file = folder / "readings.csv", folder / "readings.ndjson"
        write(csv_file, readings, ndjson=False)
        if any(case.ndjson for case in cases):
            write(ndjson_file, readings, ndjson=True)
        for case in cases:
            (folder / "rules.yaml").write_text(json.dumps(rules(case)))
            reference = readings / _seconds([sys.executable, "-c", _ROW_BY_ROW, str(csv_file)])
            file = ndjson_file if case.ndjson else csv_file
            command = [sys.executable, "-m", "tocsin.console.cli", "backtest", str(folder / "rules.yaml")]
            yield Figure(
                case.name, readings / _seconds([*command, "--readings", str(file), "--json"]), reference, "readings/s"
            )


def rules(case: Case) -> dict[str, object]:
    """Sensors whose thresholds lie above each other, and a notification on each metric's lowest. JSON is YAML."""
    sensors = []
    for metric in METRICS:
        for number in range(case.sensors_per_metric):
            sensor = {"name": f"{metric} {number}", "metric": metric, "trigger": f"> {90 + number * 0.01:.2f}"}
            if case.waits:
                sensor |= {"clear": "< 80", "for": "2m"}
            sensors.append(sensor)
    notifications = [
        {"name": metric, "sensors": [f"{metric} 0"], "threshold": "25%", "recipients": ["nobody"]} for metric in METRICS
    ]
    return {"sensors": sensors, "notifications": notifications}


def write(path: Path, readings: int, *, ndjson: bool) -> None:
    """In order of time, every series in its turn."""
    with path.open("w") as file:
        if not ndjson:
            file.write("time,system,metric,value\n")
        for number in range(readings):
            system, metric = f"SYSTEM-{number % SYSTEMS:05d}", METRICS[number // SYSTEMS % len(METRICS)]
            time_text = format_rfc3339(BEGIN + int(number * EVERY_MS))
            if ndjson:
                file.write(
                    f'{{"system":"{system}","metric":"{metric}","value":{level(number)},"time":"{time_text}"}}\n'
                )
            else:
                file.write(f"{time_text},{system},{metric},{level(number)}\n")


def _seconds(command: list[str]) -> float:
    began = time.perf_counter()
    done = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise TocsinError(f"{' '.join(command[:5])} failed: {done.stderr[-500:]}")
    return time.perf_counter() - began
