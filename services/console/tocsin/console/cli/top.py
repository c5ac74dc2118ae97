"""`tocsin top`: rates, how far each service is behind, recipients in trouble; live on a terminal."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass

import click
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient, OffsetSpec

from tocsin.console.cli.configuration import actor
from tocsin.console.cli.history import recipient_standings
from tocsin.console.cli.quiet import quiet_logs
from tocsin.console.lag import Lag, Place, read_lags, read_offsets
from tocsin.console.standing import Standing, standing
from tocsin.console.store import Store
from tocsin.shared import kafka
from tocsin.shared.clock import SystemClock
from tocsin.shared.configuration.records import Recipient
from tocsin.shared.errors import BrokerError
from tocsin.shared.settings import CommonSettings
from tocsin.shared.times import format_rfc3339, parse_duration
from tocsin.shared.topics import DELIVERIES, DELIVERY_AUDIT, NOTIFICATION_EVENTS, SENSOR_CHANGES, SENSOR_READINGS

RATES = {
    "readings": SENSOR_READINGS,
    "changes": SENSOR_CHANGES,
    "events": NOTIFICATION_EVENTS,
    "deliveries": DELIVERIES,
    "audit": DELIVERY_AUDIT,
}
"""What is counted, and where it goes by."""

RECIPIENTS_EVERY_SECONDS = 10.0
"""They are read from the beginning of their topic each time."""


@dataclass(frozen=True, slots=True)
class Frame:
    """One look at everything."""

    time: int
    rates: dict[str, float]  # messages a second; a transaction's mark counts as one
    lags: tuple[Lag, ...]
    troubled: tuple[tuple[str, Standing], ...]


@click.command()
@click.option("--every", default="2s", show_default=True, help="How often to look.")
@click.option("--once", is_flag=True, help="Look once and leave; rates are those of one interval.")
def top(every: str, once: bool) -> None:
    """Show rates, consumer lag and recipients in trouble, until Ctrl-C; plain lines when not on a terminal."""
    quiet_logs()
    try:
        seconds = parse_duration(every) / 1000
    except ValueError as error:
        raise click.UsageError(f"--every: {error}") from None
    if seconds < 0.1:
        raise click.UsageError("--every: at least 100ms")
    frames = _frames(CommonSettings.load(), seconds)
    if once or not sys.stdout.isatty():
        for frame in frames:
            for line in lines(frame):
                click.echo(line)
            if once:
                return
    else:
        _live(frames)


def _frames(settings: CommonSettings, seconds: float) -> Iterator[Frame]:
    client = kafka.admin(settings.kafka)
    counts = kafka.check_topics(settings, RATES.values(), client)
    places = {name: [(settings.topic(topic), at) for at in range(counts[topic])] for name, topic in RATES.items()}
    before, ends = time.monotonic(), _ends(client, places)
    read_at, troubled = -RECIPIENTS_EVERY_SECONDS, ()  # type: tuple[float, tuple[tuple[str, Standing], ...]]
    while True:
        if before - read_at >= RECIPIENTS_EVERY_SECONDS:
            read_at, troubled = before, _troubled(settings)
        time.sleep(max(0.0, seconds - (time.monotonic() - before)))
        now, newer = time.monotonic(), _ends(client, places)
        rates = {name: (newer[name] - ends[name]) / (now - before) for name in RATES}
        before, ends = now, newer
        yield Frame(SystemClock().now_ms(), rates, read_lags(settings, client), troubled)


def _ends(client: AdminClient, places: dict[str, list[Place]]) -> dict[str, int]:
    try:
        every = [place for its in places.values() for place in its]
        found = read_offsets(client, every, OffsetSpec.latest())  # type: ignore[no-untyped-call]
    except KafkaException as error:
        raise BrokerError(f"the topics' ends cannot be read: {error.args[0].str()}") from None
    return {name: sum(found[place] for place in its) for name, its in places.items()}


def _troubled(settings: CommonSettings) -> tuple[tuple[str, Standing], ...]:
    states = recipient_standings(settings)
    records = Store(settings, actor()).read().of_kind(Recipient.kind)
    stands = [(one.name, standing(one, states.get(one.id))) for one in records if isinstance(one, Recipient)]
    return tuple((name, how) for name, how in stands if how.tone != "good")


def lines(frame: Frame) -> Iterator[str]:
    """Plain text, for logs and pipes."""
    rates = "  ".join(f"{name} {_rate(rate)}/s" for name, rate in frame.rates.items())
    yield f"{format_rfc3339(frame.time)}  {rates}"
    for lag in frame.lags:
        yield f"  lag  {lag.service:<10}  {lag.topic:<28}  {lag.behind:>9} behind  {_processes(lag.members)}"
    for name, how in frame.troubled:
        yield f"  recipient  {_printable(name)}  {how.word}  {_printable(how.why)}".rstrip()


def _rate(rate: float) -> str:
    return f"{rate:,.0f}" if rate >= 10 or not rate else f"{rate:.1f}"


def _processes(count: int) -> str:
    return f"{count} process{'' if count == 1 else 'es'}"


def _printable(text: str) -> str:
    return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in text)


def _live(frames: Iterator[Frame]) -> None:
    from rich.console import Group  # noqa: PLC0415  on a terminal only
    from rich.live import Live  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    def shown(frame: Frame) -> Group:
        rates = Table("", *RATES, title=f"tocsin top · {format_rfc3339(frame.time)[:19]}Z", title_justify="left")
        rates.add_row("per second", *(_rate(frame.rates[name]) for name in RATES))
        lags = Table("service", "topic", "behind", "processes")
        for lag in frame.lags:
            style = "yellow" if lag.behind and not lag.members else ""
            lags.add_row(lag.service, lag.topic, f"{lag.behind:,}", str(lag.members), style=style)
        if not frame.troubled:
            return Group(rates, lags, Text("All recipients can be reached.", style="green"))
        troubled = Table("recipient", "state", "why")
        for name, how in frame.troubled:
            style = "red" if how.tone == "bad" else "yellow"
            troubled.add_row(Text(_printable(name)), how.word, Text(_printable(how.why)), style=style)
        return Group(rates, lags, troubled)

    with Live(auto_refresh=False, screen=True) as live:
        for frame in frames:
            live.update(shown(frame), refresh=True)
