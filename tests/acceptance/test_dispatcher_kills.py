"""The dispatcher killed at random in the middle of a backlog: nothing lost, one terminal each, few repeats.

Three kills in the suite; twenty in a backlog of 50,000 where TOCSIN_FAULTS is `full`, as `make faults` sets it.
"""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest

from delivering import SECRET, ServiceProcess, delivery_for, dispatcher_settings, put_deliveries, webhook_recipient
from receiver import Receiver
from support import eventually, put_records
from tocsin.deploy.stack import Stack
from tocsin.dispatcher.ledger_reader import read_ledger

FULL = os.environ.get("TOCSIN_FAULTS") == "full"
KILLS, BACKLOG = (20, 50_000) if FULL else (3, 3_000)
OPEN_AT_MOST = 256 + 2 * 1_000
"""In flight, and answered since the last commit: what one transaction holds, and what has come meanwhile."""


@pytest.mark.kafka
@pytest.mark.slow
@pytest.mark.timeout(1_800 if FULL else 300)
def test_kills_at_random_lose_nothing_and_repeat_little(stack: Stack, tmp_path: Path) -> None:
    seed = int(os.environ.get("TOCSIN_SEED") or random.randrange(1_000_000))
    print(f"seed: {seed}")
    chance = random.Random(seed)
    settings = dispatcher_settings(stack, tmp_path, partitions_deliveries=4)
    with Receiver(SECRET) as receiver:
        recipients = [webhook_recipient(settings, receiver.url, f"R{at}") for at in range(20)]
        put_records(settings, *recipients)
        ids = put_deliveries(settings, (delivery_for(recipients[at % 20]) for at in range(BACKLOG)))
        for _ in range(KILLS):
            so_far = len({one.id for one in receiver.requests})
            more = chance.randint(1, max(2, (BACKLOG - so_far) // (KILLS + 1)))
            with ServiceProcess("dispatcher", settings, tmp_path / "log") as process:
                eventually(lambda so_far=so_far, more=more: len(receiver.requests) >= so_far + more, 60, 0.01)
                process.kill()
        with ServiceProcess("dispatcher", settings, tmp_path / "log") as process:
            eventually(lambda: len({one.id for one in receiver.requests}) == BACKLOG, within=300, every=0.5)
            eventually(lambda: not read_ledger(settings).open, within=60, every=1.0)
            assert process.stop() == 0
    report = read_ledger(settings)
    assert report.clean
    assert report.ended == {"delivered": BACKLOG}
    assert {one.id for one in receiver.requests} == set(ids)
    repeated = sum(receiver.repeats().values()) - len(receiver.repeats())
    print(f"{KILLS} kills, {BACKLOG} deliveries, {repeated} sent again, {report}")
    assert repeated <= KILLS * OPEN_AT_MOST
    assert all(one.verified for one in receiver.requests)
