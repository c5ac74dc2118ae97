"""`tocsin bench series`: what a million series take in the detector's memory, and how soon it goes on after `kill -9`.

Each beside the same of a detector with one series.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import click
import psutil

from tocsin.deploy.bench.common import Figure, broker, show
from tocsin.deploy.bench.detector import (
    ASKED_EVERY,
    CASES,
    LONGEST_SECONDS,
    METRICS,
    a_place,
    committed,
    environment,
    send_all,
)
from tocsin.deploy.fleet import Fleet, Member
from tocsin.deploy.processes import Supervisor
from tocsin.shared.clock import SystemClock
from tocsin.shared.errors import TocsinError

QUIET_SECONDS = 40.0
"""After the last reading: two checkpoints come in this time; the first one is of all of them."""


@click.command()
@click.option(
    "--series", default=1_000_000, type=click.IntRange(10_000), show_default=True, help="With one sensor each."
)
@click.option("--json", "as_json", is_flag=True, help="One object a line.")
def command(series: int, as_json: bool) -> None:
    """Memory of the detector with many series, and its start with them after kill -9."""
    show(measure(series), f"Detector: {series:,} series, beside one", as_json)


def measure(series: int) -> Iterator[Figure]:
    """Starts what it needs, and stops it."""
    with broker() as (stack, folder), Supervisor() as supervisor:
        settings = a_place(stack, folder, CASES[0])
        fleet = Fleet(supervisor, folder, {**environment(settings), "TOCSIN_LOG_FORMAT": "json"})
        send_all(settings, one_each(1))
        began = time.perf_counter()
        detector = fleet.start("detector")
        empty_start, idle = _until(detector, lambda: committed(detector.http_port) >= 1, began)
        send_all(settings, one_each(series))
        _, most = _until(detector, lambda: committed(detector.http_port) > series, began)
        quiet_until = time.perf_counter() + QUIET_SECONDS
        _, later = _until(detector, lambda: time.perf_counter() > quiet_until, began)
        yield Figure(f"memory with {series:,} series, beside one", _megabytes(detector), idle, "MB")
        yield Figure("the most while they came at full speed, and in a checkpoint", max(most, later), idle, "MB")
        send_all(settings, one_each(series // 10))
        began = time.perf_counter()
        detector.child.kill()
        again = fleet.restart("detector")
        start, _ = _until(again, lambda: committed(again.http_port) >= 1, began)
        yield Figure(f"evaluating again after kill -9 with {series:,} series, beside one", start, empty_start, "s")


def one_each(count: int) -> Iterator[tuple[str, str]]:
    """One reading each of so many series, by its system."""
    now = SystemClock().now_ms()
    for number in range(count):
        system, metric = f"SYSTEM-{number // 4:06d}", METRICS[number % 4]
        yield system, f'{{"system":"{system}","metric":"{metric}","value":{50 + number % 40},"time":{now}}}'


def _until(member: Member, done: Callable[[], bool], began: float) -> tuple[float, float]:
    """Seconds since it began, and the most memory seen meanwhile, MB."""
    most, until = 0.0, time.monotonic() + LONGEST_SECONDS
    while not done():
        if time.monotonic() > until or not member.child.running:
            raise TocsinError(f"the detector did not get there\n{member.child.log_tail(20)}")
        most = max(most, _megabytes(member))
        time.sleep(ASKED_EVERY)
    return time.perf_counter() - began, max(most, _megabytes(member))


def _megabytes(member: Member) -> float:
    return float(psutil.Process(member.child.pid).memory_info().rss) / 1e6
