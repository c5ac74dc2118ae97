"""What benchmarks share: a broker, a place of their own on it, and how figures are shown."""

from __future__ import annotations

import json
import tempfile
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from tocsin.deploy.stack import Stack
from tocsin.shared import kafka
from tocsin.shared.configuration.codec import change_headers, encode_record
from tocsin.shared.configuration.records import Record
from tocsin.shared.settings import CommonSettings
from tocsin.shared.topics import CONFIGURATION


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured case beside its reference, which was measured in the same run."""

    case: str
    rate: float
    reference: float
    unit: str

    @property
    def ratio(self) -> float:
        return self.rate / self.reference if self.reference else 0.0


def show(figures: Iterable[Figure], title: str, as_json: bool) -> None:
    """One JSON object a line as they come, or a table at the end."""
    if as_json:
        for one in figures:
            found = {
                "case": one.case,
                "rate": round(one.rate, 3),
                "reference": round(one.reference, 3),
                "ratio": round(one.ratio, 3),
                "unit": one.unit,
            }
            click.echo(json.dumps(found))
        return
    table = Table("case", title=title)
    for heading in ("rate", "reference", "ratio"):
        table.add_column(heading, justify="right")
    table.add_column("unit")
    for one in figures:
        table.add_row(one.case, _number(one.rate), _number(one.reference), f"{one.ratio:.2f}", one.unit)
    Console().print(table)


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:,.2f}"


@contextmanager
def broker(*, with_smtp: bool = False) -> Iterator[tuple[Stack, Path]]:
    """A stack of its own in a folder that is gone afterwards; a given KAFKA_BOOTSTRAP_SERVERS wins."""
    with (
        tempfile.TemporaryDirectory(prefix="tocsin-bench-") as folder,
        Stack(
            Path(folder), with_redis=False, with_smtp=with_smtp, say=lambda text: click.echo(text, err=True)
        ) as stack,
    ):
        yield stack, Path(folder)


def fresh_prefix() -> str:
    """Of topics that nobody else uses."""
    return f"bench-{uuid.uuid4().hex[:8]}."


def put_records(settings: CommonSettings, records: Iterable[Record]) -> None:
    """One change of the configuration, written straight to its topic."""
    rows = [encode_record(record) for record in records]
    producer = kafka.producer(settings.kafka)
    headers = change_headers(1, len(rows))
    for key, value in rows:
        producer.produce(settings.topic(CONFIGURATION), key=key, value=value, headers=headers, partition=0)
    producer.flush(30)
