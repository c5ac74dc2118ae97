"""`tocsin topics list | apply | check | grow`: the table of topics and the broker."""

from __future__ import annotations

import json
import sys
from typing import Any

import click

from tocsin.console.cli.quiet import quiet_logs
from tocsin.console.table import render_table
from tocsin.console.topics_page import render_page
from tocsin.shared import kafka
from tocsin.shared.errors import SettingsError, TocsinError
from tocsin.shared.settings import CommonSettings
from tocsin.shared.times import format_duration
from tocsin.shared.topic_admin import apply_topics
from tocsin.shared.topic_growth import grow_readings
from tocsin.shared.topics import Topic

output_option = click.option(
    "-o",
    "--output",
    type=click.Choice(["table", "json"]),
    default="table",
    show_default=True,
    help="Form of the answer.",
)


@click.group()
def topics() -> None:
    """The topics: what the table says, and what the broker has."""
    quiet_logs()


def describe(topic: Topic, settings: CommonSettings, existing: dict[str, int] | None) -> dict[str, Any]:
    """One row, as JSON. `partitions` are those there are, else those it would get."""
    name = settings.topic(topic.name)
    there = None if existing is None else existing.get(name)
    return {
        "topic": name,
        "key": topic.key,
        "value": topic.value,
        "policy": topic.cleanup,
        "retention": None if topic.retention_ms is None else format_duration(topic.retention_ms),
        "partitions": there or settings.partitions().of(topic),
        "writers": list(topic.writers),
        "readers": list(topic.readers),
        "public": topic.public,
        "schema": topic.schema,
        "exists": None if existing is None else there is not None,
    }


def _row(one: dict[str, Any]) -> list[str]:
    exists = {True: "yes", False: "no", None: "?"}[one["exists"]]
    flow = f"{', '.join(one['writers'])} → {', '.join(one['readers'])}"
    retention = one["retention"] or "for ever"
    return [one["topic"], one["key"], one["value"], one["policy"], retention, str(one["partitions"]), flow, exists]


@topics.command("list")
@click.option("-o", "--output", type=click.Choice(["table", "json", "markdown"]), default="table", show_default=True)
def list_topics(output: str) -> None:
    """Show the table, and which of the topics exist; without a broker the table alone."""
    if output == "markdown":
        click.echo(render_page(), nl=False)
        return
    settings, existing = _settings_and_existing()
    rows = [describe(topic, settings, existing) for topic in settings.topics()]
    if output == "json":
        click.echo(json.dumps(rows, indent=2, ensure_ascii=False))
        return
    header = ["topic", "key", "what", "policy", "retention", "partitions", "writers → readers", "exists"]
    for line in render_table(header, [_row(row) for row in rows]):
        click.echo(line)


def _settings_and_existing() -> tuple[CommonSettings, dict[str, int] | None]:
    try:
        settings = CommonSettings.load()
        return settings, kafka.existing_partitions(kafka.admin(settings.kafka))
    except SettingsError as error:
        if "no broker" not in str(error):
            raise
        click.echo(f"Note: {error}", err=True)
    except TocsinError as error:
        click.echo(f"Note: {error}", err=True)
    return CommonSettings(), None


@topics.command("apply")
@output_option
def apply(output: str) -> None:
    """Create what is missing and set what differs. Deletes nothing, changes no partition count."""
    applied = apply_topics(CommonSettings.load())
    if output == "json":
        answer = {"created": applied.created, "changed": applied.changed, "unchanged": applied.unchanged}
        click.echo(json.dumps(answer, indent=2))
        return
    for name in applied.created:
        click.echo(f"+ {name}")
    for name in applied.changed:
        click.echo(f"~ {name}")
    click.echo(f"{len(applied.created)} created, {len(applied.changed)} changed, {applied.unchanged} unchanged")


@topics.command("grow")
@click.option("--to", type=click.IntRange(1, 10_000), required=True, help="How many partitions sensor-readings gets.")
@click.option("--start-over", is_flag=True, help="Forget the detector's state: it belongs to the old partitions.")
def grow(to: int, start_over: bool) -> None:
    """Give sensor-readings more partitions, and begin detector-state anew.

    Stop all detectors first, once they have read everything: a system's readings then go to another partition, and
    what of them is still unread in the old one is refused as misplaced. Every sensor starts over.
    """
    if not start_over:
        raise click.UsageError(
            "systems move to other partitions, and what the detector knows of them can't move with them yet: "
            "stop all detectors, then add --start-over to let every sensor start over"
        )
    before = grow_readings(CommonSettings.load(), to)
    click.echo(f"sensor-readings: {before} → {to} partitions; detector-state is new and empty")


@topics.command("check")
@output_option
def check(output: str) -> None:
    """Say what services would refuse to run on, with the fix; exit 1 when there is any."""
    settings = CommonSettings.load()
    problems, _ = kafka.topic_problems(settings, settings.topics(), kafka.admin(settings.kafka))
    if output == "json":
        click.echo(json.dumps({"ok": not problems, "problems": problems}, indent=2))
    elif problems:
        click.echo("\n".join(problems), err=True)
    else:
        click.echo(f"all {len(settings.topics())} topics are as they must be")
    if problems:
        sys.exit(1)
