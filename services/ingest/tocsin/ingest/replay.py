"""`tocsin replay FILE…`: recorded readings, played into Kafka as if they happened now."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import click
from confluent_kafka import KafkaError, Message

from tocsin.ingest.core.pace import Schedule, Speed, parse_speed
from tocsin.ingest.core.recordings import Columns, Flaw, Recorded, TimeUnit
from tocsin.ingest.core.wire import encode_reading, encode_report
from tocsin.ingest.files import Scan, merged, scan
from tocsin.ingest.progress import Progress, progress
from tocsin.shared import kafka
from tocsin.shared.clock import Clock, SystemClock
from tocsin.shared.errors import BrokerError, TocsinError, UsageError
from tocsin.shared.headers import cloud_event
from tocsin.shared.ids import new_id
from tocsin.shared.lifecycle import Lifecycle
from tocsin.shared.settings import CommonSettings
from tocsin.shared.telemetry import logs
from tocsin.shared.topics import SENSOR_READINGS

DELIVERY_TIMEOUT_MS = 60_000
_SHOWN_FLAWS = 20
"""Of one file; the rest is only counted."""
_POLL_EVERY = 256
_MAX_QUEUED = 200_000
_INTERRUPTED = 130


class StrictError(TocsinError):
    """A line is no reading, and none may be."""


class Player:
    """Sends recorded readings when they are due, and counts what the broker has acknowledged."""

    def __init__(self, settings: CommonSettings, clock: Clock, life: Lifecycle) -> None:
        self._topic = settings.topic(SENSOR_READINGS)
        self._clock = clock
        self._life = life
        self._run = new_id(clock.now_ms())
        self._messages = 0
        self.sent = 0  # readings
        self.failure: str | None = None
        self._producer = kafka.producer(
            settings.kafka,
            delivery_timeout_ms=DELIVERY_TIMEOUT_MS,
            queue_buffering_max_messages=_MAX_QUEUED,
            linger_ms=20,
            reconnect_backoff_max_ms=1000,
        )

    def play(self, recorded: Iterator[Recorded], schedule: Schedule, shown: Progress) -> bool:
        """False when it was stopped, or the broker has given up on a message."""
        for one in recorded:
            if not self._wait_until(schedule.due(one.time)):
                return False
            self._send(schedule.moved(one))
            self.sent += len(one.good)
            shown.at(self.sent)
        return True

    def finish(self) -> None:
        """Until everything is acknowledged. Raises BrokerError when it is not."""
        left = self._producer.flush(DELIVERY_TIMEOUT_MS / 1000 + 5)
        if self.failure or left:
            why = self.failure or f"{left} messages are still not acknowledged"
            raise BrokerError(f"not everything has arrived: {why}; play it again once the broker answers")

    def _wait_until(self, due: int) -> bool:
        self._messages += 1
        wait = due - self._clock.now_ms()
        if wait <= 0 and self._messages % _POLL_EVERY:
            return True
        self._producer.poll(0)
        while wait > 0 and not self._ended():
            self._life.stopping.wait(min(wait / 1000, 0.1))
            self._producer.poll(0)
            wait = due - self._clock.now_ms()
        return not self._ended()

    def _ended(self) -> bool:
        return self._life.stopping.is_set() or self.failure is not None

    def _send(self, one: Recorded) -> None:
        messages = encode_report(one.good, one.time) if one.is_report else [encode_reading(one.good[0])]
        key = one.good[0].system.encode()
        for part, message in enumerate(messages):
            event_id = f"{self._run}-{self._messages}" + (f"-{part}" if part else "")
            headers = cloud_event(event_id, "reading.received", "/replay", one.time)
            while not self._ended():
                try:
                    self._producer.produce(self._topic, message, key, on_delivery=self._delivered, headers=headers)
                    break
                except BufferError:
                    self._producer.poll(0.1)

    def _delivered(self, error: KafkaError | None, message: Message) -> None:
        if error is not None and self.failure is None:
            self.failure = error.str()


@click.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--speed", default="1x", show_default=True, help="Such as 60x, 0.5x, or max: as fast as Kafka takes it.")
@click.option("--keep-times", is_flag=True, help="Keep the recorded times instead of moving them to now.")
@click.option("--loop", is_flag=True, help="Start over at the end, until stopped.")
@click.option("--strict", is_flag=True, help="Send nothing at all when any line is no reading.")
@click.option("--system", help="System of all rows; {file} stands for the file's name without its ending.")
@click.option("--metric", help="Metric of all rows.")
@click.option("--time-column", help="Column of the time.  [default: time, or timestamp]")
@click.option("--value-column", help="Column of the value.  [default: value]")
@click.option("--skip-if-empty", metavar="COLUMN", help="A row in which this column is empty is no reading.")
@click.option("--time-unit", type=click.Choice(["ms", "s"]), default="ms", help="Of times that are plain numbers.")
def replay(  # noqa: PLR0913, PLR0917  each is an option
    files: tuple[Path, ...],
    speed: str,
    keep_times: bool,
    loop: bool,
    strict: bool,
    system: str | None,
    metric: str | None,
    time_column: str | None,
    value_column: str | None,
    skip_if_empty: str | None,
    time_unit: TimeUnit,
) -> None:
    """Play recorded readings as if they happened now.

    FILES hold CSV (time,system,metric,value[,instance]) or NDJSON (readings or reports, one a line), also as .gz. All
    are merged by time. At a speed, times are moved and scaled to begin now; with --speed max they are only moved, so
    that the newest is now. Times without a zone are UTC. Lines that are no readings are named and left out; the exit
    code is then 1.
    """
    pace = parse_speed(speed)
    if loop and pace.factor is None and not keep_times:
        raise UsageError("--loop needs a --speed: at max, the second pass would happen before the first has ended")
    columns = Columns(system, metric, time_column, value_column, skip_if_empty, time_unit)
    settings = CommonSettings.load()
    logs.configure("replay", settings.log_level, settings.log_format)
    clock = SystemClock()
    began = clock.monotonic()
    scans = [_scan(path, columns, strict=strict) for path in files]
    flaws = sum(one.flaws for one in scans)
    readings = sum(one.readings for one in scans)
    kafka.check_topics(settings, [SENSOR_READINGS])
    with Lifecycle() as life:
        life.install_signals()
        player = Player(settings, clock, life)
        complete = _play_all(player, scans, columns, _Course(pace, keep_times, loop, clock)) if readings else True
        player.finish()
    seconds = clock.monotonic() - began
    click.echo(f"{player.sent} readings sent and acknowledged, {flaws} lines refused, in {seconds:.1f} s")
    if flaws:
        sys.exit(1)
    if not complete and not loop:
        sys.exit(_INTERRUPTED)


class _Course:
    """How to play."""

    def __init__(self, speed: Speed, keep_times: bool, loop: bool, clock: Clock) -> None:
        self.speed, self.keep_times, self.loop, self.clock = speed, keep_times, loop, clock

    def schedule(self, scans: list[Scan]) -> Schedule:
        oldest = min(one.oldest for one in scans if one.oldest is not None)
        newest = max(one.newest for one in scans if one.newest is not None)
        return Schedule(oldest, newest, self.clock.now_ms(), self.speed, self.keep_times)


def _play_all(player: Player, scans: list[Scan], columns: Columns, course: _Course) -> bool:
    schedule = course.schedule(scans)
    total = None if course.loop else sum(one.readings for one in scans)
    with progress(total, sys.stderr) as shown:
        complete = player.play(merged(scans, columns), schedule, shown)
        while complete and course.loop:
            schedule = schedule.again()
            complete = player.play(merged(scans, columns), schedule, shown)
    return complete


def _scan(path: Path, columns: Columns, *, strict: bool) -> Scan:
    shown = 0

    def on_flaw(where: Path, flaw: Flaw) -> None:
        nonlocal shown
        if strict:
            raise StrictError(f"{where}:{flaw.line}: {flaw}")
        shown += 1
        if shown <= _SHOWN_FLAWS:
            click.echo(f"{where}:{flaw.line}: {flaw}", err=True)

    found = scan(path, columns, on_flaw)
    if found.flaws > _SHOWN_FLAWS:
        click.echo(f"{path}: and {found.flaws - _SHOWN_FLAWS} more", err=True)
    return found
