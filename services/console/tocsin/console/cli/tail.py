"""`tocsin tail audit | events | changes`: the public topics as they are written."""

from __future__ import annotations

import json
import uuid
from typing import Any

import click
from confluent_kafka import OFFSET_BEGINNING, OFFSET_END, KafkaException, TopicPartition

from tocsin.console.cli.quiet import quiet_logs
from tocsin.shared import kafka
from tocsin.shared.errors import BrokerError
from tocsin.shared.settings import CommonSettings
from tocsin.shared.topics import DELIVERY_AUDIT, NOTIFICATION_EVENTS, SENSOR_CHANGES

TOPICS = {"audit": DELIVERY_AUDIT, "events": NOTIFICATION_EVENTS, "changes": SENSOR_CHANGES}


@click.command()
@click.argument("what", type=click.Choice(list(TOPICS)))
@click.option(
    "--where", "filters", multiple=True, metavar="FIELD=VALUE", help="Such as recipient.name=On call. All must hold."
)
@click.option("--from-start", is_flag=True, help="Everything that is kept, then what comes.")
@click.option("--count", type=click.IntRange(1), default=None, help="Leave after so many.")
@click.option("-o", "--output", type=click.Choice(["line", "json"]), default="line", show_default=True)
def tail(what: str, filters: tuple[str, ...], from_start: bool, count: int | None, output: str) -> None:
    """Show delivery AUDIT records, notification EVENTS or sensor CHANGES as they are written, until Ctrl-C."""
    quiet_logs()
    wanted = [one.partition("=")[::2] for one in filters]
    if any(not name or "=" not in one for (name, _), one in zip(wanted, filters, strict=True)):
        raise click.UsageError("--where is FIELD=VALUE, such as --where kind=delivered")
    settings = CommonSettings.load()
    partitions = kafka.check_topics(settings, [TOPICS[what]])[TOPICS[what]]
    start = OFFSET_BEGINNING if from_start else OFFSET_END
    reader = kafka.consumer(settings.kafka, f"tocsin-tail-{uuid.uuid4()}")
    shown = 0
    try:
        reader.assign([TopicPartition(settings.topic(TOPICS[what]), number, start) for number in range(partitions)])
        while count is None or shown < count:
            for message in reader.consume(100, 0.2):
                record = None if message.error() else _record(message.value())
                if record is None or not all(_value(record, name) == value for name, value in wanted):
                    continue
                click.echo(json.dumps(record, ensure_ascii=False) if output == "json" else line(what, record))
                shown += 1
                if shown == count:
                    break
    except KafkaException as error:
        raise BrokerError(f"{what} cannot be read: {error.args[0].str()}") from None
    finally:
        reader.close()


def _record(value: bytes | None) -> dict[str, Any] | None:
    try:
        found = json.loads(value or b"")
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def _value(record: dict[str, Any], path: str) -> str:
    found: Any = record
    for part in path.split("."):
        found = found.get(part) if isinstance(found, dict) else None
    return "" if found is None else str(found)


def line(what: str, record: dict[str, Any]) -> str:
    """One record in one line."""
    time = str(record.get("time", ""))[:23].replace("T", " ")
    if what == "audit":
        answer = record.get("status") or record.get("reason") or ""
        attempt = f" {record.get('attempt')} {record.get('outcome')}" if record.get("kind") == "attempt" else ""
        text = f"{_value(record, 'recipient.name')}: {record.get('kind')}{attempt} {answer}"
    elif what == "events":
        counts = f"{record.get('matched')} of {record.get('reporting')}"
        text = f"{_value(record, 'notification.name')}: {record.get('kind')}, {counts}"
    else:
        instance = f" ({record['instance']})" if record.get("instance") else ""
        change = f"{record.get('previous')} → {record.get('state')} at {record.get('value')}"
        text = f"{record.get('system')}{instance}: {record.get('sensor')} {change}"
    shown = "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in text.rstrip())
    return f"{time}  {shown}"
