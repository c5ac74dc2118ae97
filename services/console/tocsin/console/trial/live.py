"""What a back-test takes from Kafka: readings, and the rules that are in effect."""

from __future__ import annotations

import sys

import click

from tocsin.console.cli.configuration import actor
from tocsin.console.store import Store
from tocsin.console.trial.topic import read_topic
from tocsin.evaluator.backtest.recording import Recording
from tocsin.evaluator.detector.columns import Known
from tocsin.evaluator.detector.settings import DetectorSettings
from tocsin.ingest.progress import progress
from tocsin.shared.configuration.snapshot import Configuration
from tocsin.shared.errors import UsageError
from tocsin.shared.settings import CommonSettings


def readings_in_kafka(known: Known, since: int) -> Recording:
    """All that arrived since (epoch ms), in the order of their arrival."""
    with progress(None, sys.stderr, "read") as shown:
        found = read_topic(DetectorSettings.load(), since, known, shown.at)
    if found.refused:
        click.echo(f"{found.refused} messages held something that is no reading, which was left out", err=True)
    return found.recording()


def rules_in_kafka() -> Configuration:
    """The configuration that is in effect. Raises UsageError when there is none."""
    state = Store(CommonSettings.load(), actor()).read()
    found = Configuration.of(state.change, state.records)
    if not found.sensors:
        raise UsageError("there is no sensor in Kafka yet: name files with rules")
    return found
