"""The broker's disk is full, or its follower is gone: what cannot be written is waited for.

Of each: nothing is lost, each delivery has one end, and all of it goes on without a hand at router and dispatcher.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from broker_faults import RECIPIENTS, at_work, set_topic
from support import eventually
from tocsin.deploy.processes import Supervisor
from tocsin.deploy.stack import Stack
from tocsin.deploy.stack.kafka import Kafka, cluster_id
from tocsin.deploy.stack.ports import HOST, answers, free_port
from tocsin.shared.topics import DELIVERIES, DELIVERY_AUDIT

pytestmark = [pytest.mark.kafka, pytest.mark.slow, pytest.mark.timeout(240)]


@contextmanager
def small_disk(folder: Path, size: str) -> Iterator[Path]:
    """A file system of its own."""
    if os.geteuid() != 0 or sys.platform != "linux":
        pytest.skip("a small file system can be mounted by root on Linux only")
    folder.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder], capture_output=True, text=True, check=False
    )
    if done.returncode:
        pytest.skip(f"a small file system cannot be mounted here: {done.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


def fill(disk: Path) -> Path:
    """All there is left."""
    filler = disk / "filler"
    with suppress(OSError), filler.open("wb", buffering=0) as out:
        while True:
            out.write(bytes(4096))
    assert shutil.disk_usage(disk).free == 0
    return filler


def test_a_disk_that_is_full_and_has_room_again(tmp_path: Path) -> None:
    """The broker ends itself, as it does when its only disk fails; somebody makes room and starts it again."""
    with (
        small_disk(tmp_path / "disk", "96m") as disk,
        Stack(disk / "stack", with_redis=False, with_smtp=False) as stack,
        at_work(stack, tmp_path) as work,
    ):
        port = int(stack.bootstrap_servers.rpartition(":")[2])
        work.put(200)
        work.has_arrived(50 * RECIPIENTS)
        filler = fill(disk)
        eventually(lambda: not answers(port))
        filler.unlink()
        stack.restart_kafka()
        work.nothing_is_lost_so_far()
        work.put(10)
        work.ends_well(repeats=256)


@contextmanager
def two_brokers(folder: Path) -> Iterator[tuple[Stack, Kafka]]:
    """The second one may go."""
    ports = [free_port() for _ in range(3)]
    controller = f"{HOST}:{ports[2]}"
    properties = {
        "listeners": f"CLIENTS://{HOST}:{ports[0]},CONTROLLER://{controller}",
        "controller.quorum.voters": f"1@{controller}",
        "default.replication.factor": "2",
        "offsets.topic.replication.factor": "2",
        "transaction.state.log.replication.factor": "2",
    }
    further = {
        **properties,
        "process.roles": "broker",
        "node.id": "2",
        "listeners": f"CLIENTS://{HOST}:{ports[1]}",
    }
    first = Stack(
        folder / "first", kafka_port=ports[0], with_redis=False, with_smtp=False, broker_properties=properties
    )
    with first, Supervisor() as supervisor:
        second = Kafka(folder / "second", supervisor, port=ports[1], properties=further)
        second.cluster_id = cluster_id(first.bootstrap_servers) or ""
        second.start()
        yield first, second


def test_too_few_replicas_are_waited_for(tmp_path: Path) -> None:
    """With one of two brokers gone nothing can be written; in flight is what was, and nothing of it is sent again."""
    with two_brokers(tmp_path) as (first, second), at_work(first, tmp_path) as work:
        for topic in (DELIVERIES, DELIVERY_AUDIT):
            set_topic(work.settings, topic, min_insync_replicas=2)
        work.put(100)
        work.has_arrived(30 * RECIPIENTS)
        before = len(work.log("dispatcher"))
        second.stop()
        eventually(lambda: "a transaction failed" in work.log("dispatcher")[before:], within=60)
        second.restart()  # until then not even the ends of a topic can be asked for
        work.put(10)
        work.ends_well(repeats=256)
