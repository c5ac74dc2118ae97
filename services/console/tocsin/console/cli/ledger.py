"""`tocsin ledger`: the proof that nobody was forgotten."""

from __future__ import annotations

import json
import sys
from typing import Any

import click

from tocsin.console.cli.quiet import quiet_logs
from tocsin.console.cli.since import SINCE
from tocsin.dispatcher.core.ledger import Key, LedgerReport
from tocsin.dispatcher.ledger_reader import read_ledger
from tocsin.dispatcher.settings import DispatcherSettings
from tocsin.shared.clock import SystemClock
from tocsin.shared.times import format_duration

LISTED = 20


@click.command()
@click.option("--since", type=SINCE, default=0, help="Only what was routed since: 2h, 7d, or 2026-11-23T10:00:00Z.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def ledger(since: int, as_json: bool) -> None:
    """Reconcile what was routed with what ended and what still waits.

    Exit code 1 when a delivery is missing (neither ended nor waiting), ended twice, or ended without being routed.
    """
    quiet_logs()
    report = read_ledger(DispatcherSettings.load(), since)
    now = SystemClock().now_ms()
    if as_json:
        click.echo(json.dumps(_as_json(report, now)))
    else:
        _print(report, now)
    sys.exit(0 if report.clean else 1)


def _age(report: LedgerReport, now_ms: int) -> int | None:
    return None if report.oldest_open_ms is None else max(0, now_ms - report.oldest_open_ms)


def _as_json(report: LedgerReport, now_ms: int) -> dict[str, Any]:
    return {
        "clean": report.clean,
        "routed": report.routed,
        "ended": report.ended,
        "open": report.open,
        "oldest_open_ms": _age(report, now_ms),
        "attempts": report.attempts,
        "suppressed": report.suppressed,
        "missing": [_key(key) for key in report.missing],
        "doubled": [_key(key) for key in report.doubled],
        "unknown": [_key(key) for key in report.unknown],
    }


def _key(key: Key) -> dict[str, Any]:
    return {"delivery": key[0], "replay": key[1]}


def _print(report: LedgerReport, now_ms: int) -> None:
    rows = [("routed", str(report.routed)), *((kind, str(count)) for kind, count in report.ended.items())]
    age = _age(report, now_ms)
    rows.append(("open", f"{report.open}" if age is None else f"{report.open}, the oldest for {_rounded(age)}"))
    rows += [(f"attempts {outcome}", str(count)) for outcome, count in report.attempts.items()]
    for name, found in (("missing", report.missing), ("doubled", report.doubled), ("unknown", report.unknown)):
        rows.append((name, str(len(found))))
    for name, value in rows:
        click.echo(f"{name:<18} {value}")
    for name, found in (("missing", report.missing), ("doubled", report.doubled), ("unknown", report.unknown)):
        for delivery, replay in found[:LISTED]:
            click.echo(f"{name}: delivery {delivery}, replay {replay}")
        if len(found) > LISTED:
            click.echo(f"{name}: and {len(found) - LISTED} more (--json lists all)")
    click.echo("Every delivery has one end, or waits." if report.clean else "The ledger does not balance.")


def _rounded(milliseconds: int) -> str:
    return format_duration(milliseconds // 1000 * 1000)
