"""`tocsin bench dispatcher`: signed webhooks, audited and committed, each case beside a loop that does nothing else.

The reference sends the same signed requests to the same receiver in the same run, as many in flight: no Kafka, no
template, no audit, no commit. Where the case is about latency or memory, the reference is said beside it.
"""

from __future__ import annotations

import asyncio
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import quantiles

import aiosmtplib
import click
import psutil
import uvloop

from tocsin.deploy.bench.common import Figure, broker, put_records, show
from tocsin.deploy.bench.delivering import (
    Feeder,
    Receiver,
    bare_loop,
    consume_and_post,
    delivery_to,
    dispatcher,
    event_of,
    fresh_settings,
    receiver,
    recipient_of,
    wait_until_settled,
)
from tocsin.deploy.stack import Stack
from tocsin.dispatcher.core.mail import build_letter, render_email
from tocsin.dispatcher.core.variables import Values
from tocsin.dispatcher.settings import DispatcherSettings
from tocsin.shared import kafka
from tocsin.shared.configuration.records import Recipient
from tocsin.shared.errors import TocsinError
from tocsin.shared.partitioning import partition_for
from tocsin.shared.telemetry import logs
from tocsin.shared.topics import DELIVERY_PARKED

RATE = "deliveries/s"
MANY = 100
MIXED, LIGHT = (400.0, 12.0), (50.0, 15.0)
"""Deliveries a second, and for how many seconds."""

WARM_UP_SECONDS = 2.0
WAITING_TIMES = 20  # as many deliveries wait in the memory case: a million at 50,000


@dataclass(frozen=True, slots=True)
class Bench:
    """What every case has."""

    stack: Stack
    folder: Path
    receiver: Receiver
    deliveries: int


def _backlog(bench: Bench, name: str, recipients: int, path: str, in_flight: int, count: int) -> Iterator[Figure]:
    settings, url = fresh_settings(bench.stack, bench.folder), f"{bench.receiver.url}/{path}"
    reference = uvloop.run(bare_loop(url, count, in_flight))
    targets = [recipient_of(settings, url, number) for number in range(recipients)]
    put_records(settings, targets)
    feeder = Feeder(settings, linger_ms=50)
    for number in range(count):
        feeder.put(targets[number % recipients])
    feeder.flush()
    bench.receiver.begin()
    # Only where it is all about what is in flight: elsewhere the dispatcher finds out by itself.
    concurrency = {"TOCSIN_CONCURRENCY": str(in_flight)} if path == "slow" else {}
    with dispatcher(settings, **concurrency) as process:
        found = bench.receiver.wait_for(count, process)
        wait_until_settled(settings, count)
    yield Figure(name, (count - 1) / (found["last"] - found["first"]), reference, RATE)


def one_recipient(bench: Bench) -> Iterator[Figure]:
    yield from _backlog(bench, "backlog to one recipient", 1, "plain", 32, bench.deliveries)


def many_recipients(bench: Bench) -> Iterator[Figure]:
    yield from _backlog(bench, "backlog over 100 recipients", MANY, "plain", 32, bench.deliveries)


def slow_receiver(bench: Bench) -> Iterator[Figure]:
    count = min(bench.deliveries, 20_000)
    yield from _backlog(bench, "receiver answering after 50 ms, 200 in flight", MANY, "slow", 200, count)


def one_hangs(bench: Bench) -> Iterator[Figure]:
    well = _others_p99(bench, "timed")
    yield Figure("one of 100 hangs and gets half: the others' p99, beside without it", _others_p99(bench, "hang"), well,
                 "ms")  # fmt: skip


def _others_p99(bench: Bench, first: str) -> float:
    settings = fresh_settings(bench.stack, bench.folder)
    targets = [recipient_of(settings, f"{bench.receiver.url}/{first}", 0)]
    targets += [recipient_of(settings, f"{bench.receiver.url}/timed", number) for number in range(1, MANY)]
    put_records(settings, targets)
    # Every other delivery goes to the first one.
    turns = [target for other in targets[1:] for target in (targets[0], other)]
    with dispatcher(settings) as process:
        late = _latencies(bench, settings, process, turns, MIXED, targets[0].id)
    return _percentile(late, 99)


def _latencies(
    bench: Bench,
    settings: DispatcherSettings,
    process: subprocess.Popen[bytes] | None,
    turns: Sequence[Recipient],
    load: tuple[float, float],
    without: str = "",
) -> list[float]:
    """Milliseconds from `deliveries` to arrival, under so many a second for so many seconds.

    Of all recipients but one; those of the first seconds are left out.
    """
    feeder = Feeder(settings, linger_ms=0)
    bench.receiver.begin()
    for turn in dict.fromkeys(turns):
        feeder.put(turn)
    feeder.flush()
    until = time.monotonic() + 60
    while bench.receiver.ask()["count"] < len(set(turns)) - 1 and time.monotonic() < until:
        time.sleep(0.1)
    sent = feeder.at_rate(turns, *load)
    begins = min(at for _, at in sent.values()) + WARM_UP_SECONDS
    counted = {id_: at for id_, (whom, at) in sent.items() if whom != without and at >= begins}
    until = time.monotonic() + 60
    while not counted.keys() <= (arrived := bench.receiver.ask("arrivals")).keys():
        if time.monotonic() > until or (process is not None and process.poll() is not None):
            raise TocsinError("deliveries to recipients who are well did not arrive")
        time.sleep(0.2)
    return [(arrived[id_] - at) * 1000 for id_, at in counted.items()]


def _percentile(values: Sequence[float], percent: int) -> float:
    return quantiles(values, n=100)[percent - 1]


def many_waiting(bench: Bench) -> Iterator[Figure]:
    settings = fresh_settings(bench.stack, bench.folder)
    target = recipient_of(settings, f"{bench.receiver.url}/plain", 0).model_copy(update={"paused": True})
    put_records(settings, [target])
    count = WAITING_TIMES * bench.deliveries
    with dispatcher(settings) as process:
        time.sleep(5)
        idle = _megabytes(process)
    _park(settings, target, count)
    with dispatcher(settings) as process:
        most, quiet = 0.0, 0
        while quiet < 20:
            before = psutil.Process(process.pid).cpu_times().user
            time.sleep(0.5)
            most = max(most, _megabytes(process))
            quiet = quiet + 1 if psutil.Process(process.pid).cpu_times().user - before < 0.1 else 0
            if process.poll() is not None:
                raise TocsinError("the dispatcher ended while reading what waits")
    yield Figure(f"memory with {count:,} waiting, beside none", most, idle, "MB")


def _park(settings: DispatcherSettings, target: Recipient, count: int) -> None:
    """As the dispatcher parks them, in the recipient's partition."""
    producer = kafka.producer(settings.kafka, linger_ms=50)
    example = delivery_to(target, event_of(), 1)
    value, topic = example.encode(), settings.topic(DELIVERY_PARKED)
    number = _partition_of(settings, target)
    for at in range(count):
        id_ = f"{at:08x}{example.id[8:]}"
        while True:
            try:
                producer.produce(
                    topic, value.replace(example.id.encode(), id_.encode()), f"{target.id}/{id_}/0", number
                )
                break
            except BufferError:
                producer.poll(0.1)
        producer.poll(0)
    producer.flush(120)


def _partition_of(settings: DispatcherSettings, target: Recipient) -> int:
    return partition_for(target.id.encode(), settings.partitions_deliveries)


def _megabytes(process: subprocess.Popen[bytes]) -> float:
    return float(psutil.Process(process.pid).memory_info().rss) / 1e6


def light_load(bench: Bench) -> Iterator[Figure]:
    url = f"{bench.receiver.url}/timed"
    bare = fresh_settings(bench.stack, bench.folder)
    targets = [recipient_of(bare, url, number) for number in range(10)]
    count = len(targets) + int(LIGHT[0] * LIGHT[1])
    loop = threading.Thread(target=lambda: uvloop.run(consume_and_post(bare, url, count)), daemon=True)
    loop.start()
    reference = _latencies(bench, bare, None, targets, LIGHT)
    loop.join(30)
    settings = fresh_settings(bench.stack, bench.folder)
    targets = [recipient_of(settings, url, number) for number in range(10)]
    put_records(settings, targets)
    with dispatcher(settings) as process:
        found = _latencies(bench, settings, process, targets, LIGHT)
    for percent in (50, 99):
        name = f"light load, 50/s over ten recipients: p{percent}, beside a bare consume-and-post loop"
        yield Figure(name, _percentile(found, percent), _percentile(reference, percent), "ms")


def emails(bench: Bench) -> Iterator[Figure]:
    count = max(100, min(bench.deliveries // 25, 2_000))
    settings = fresh_settings(bench.stack, bench.folder)
    target = Recipient(id="mail", name="On call", type="distribution-list", email="oncall@example.com")
    put_records(settings, [target])
    reference = asyncio.run(_bare_mail(bench.stack.smtp_port or 0, target, count))
    feeder = Feeder(settings, linger_ms=50)
    for _ in range(count):
        feeder.put(target)
    feeder.flush()
    smtp = {
        "TOCSIN_SMTP_HOST": "127.0.0.1",
        "TOCSIN_SMTP_PORT": str(bench.stack.smtp_port),
        "TOCSIN_SMTP_TLS": "none",
    }
    began = time.monotonic()
    with dispatcher(settings, **smtp):
        wait_until_settled(settings, count)
        took = time.monotonic() - began
    yield Figure("emails over pooled connections, start included", count / took, reference, "emails/s")


async def _bare_mail(port: int, target: Recipient, count: int) -> float:
    left = iter(range(count))
    event = event_of()
    letter = build_letter(delivery_to(target, event, 1), target, render_email(Values.of(event)), "T <t@localhost>")

    async def worker() -> None:
        async with aiosmtplib.SMTP(hostname="127.0.0.1", port=port, start_tls=False) as smtp:
            for _ in left:
                await smtp.sendmail(letter.sender, [letter.receiver], letter.data)

    started = time.perf_counter()
    await asyncio.gather(*(worker() for _ in range(4)))
    return count / (time.perf_counter() - started)


CASES: tuple[Callable[[Bench], Iterator[Figure]], ...] = (
    one_recipient,
    many_recipients,
    slow_receiver,
    one_hangs,
    many_waiting,
    light_load,
    emails,
)


@click.command(name="dispatcher")
@click.option("-n", "--deliveries", default=50_000, show_default=True, help="How large each backlog is.")
@click.option("--case", "number", type=click.IntRange(1, len(CASES)), help="Only this one of the cases, in order.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
def command(deliveries: int, number: int | None, as_json: bool) -> None:
    """Webhooks: 600-byte bodies, signed, audited, committed; latency, memory and emails."""
    logs.configure("bench", "error", "console")
    show(measure(deliveries, number), f"Dispatcher: backlogs of {deliveries:,}", as_json)


def measure(deliveries: int, number: int | None = None) -> Iterator[Figure]:
    """Starts what it needs, and stops it."""
    cases = CASES if number is None else CASES[number - 1 : number]
    with broker(with_smtp=emails in cases) as (stack, folder), receiver() as hooks:
        for case in cases:
            yield from case(Bench(stack, folder, hooks, deliveries))
