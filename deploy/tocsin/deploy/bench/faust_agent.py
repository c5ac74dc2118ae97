"""A Faust agent that does the benchmark's first case, as its documentation would have it written.

    python -m tocsin.deploy.bench.faust_agent TOPIC READINGS

Prints readings a second, after a warm-up. It judges one threshold a metric with its state in a table, and publishes
changes; at least once, because Faust has nothing stronger that works.
"""

from __future__ import annotations

import json
import os
import sys
import time
from typing import Any

import faust
from confluent_kafka.admin import NewTopic

from tocsin.deploy.bench.detector import PARTITIONS
from tocsin.shared import kafka
from tocsin.shared.settings import CommonSettings

WARM_UP = 5_000
LIMIT = 90.0
CHANGES = "-faust-changes"


def make_app(servers: str, topic: str, readings: int) -> faust.App:
    """Ends the process when it has had so many."""
    app = faust.App(
        f"{topic}-faust",
        broker=[f"kafka://{server}" for server in servers.split(",")],
        store="memory://",
        topic_partitions=PARTITIONS,
        consumer_auto_offset_reset="earliest",
        topic_disable_leader=True,
        web_enabled=False,
    )
    source = app.topic(topic, key_type=bytes, key_serializer="raw", value_type=bytes, value_serializer="raw")
    changes = app.topic(topic + CHANGES, partitions=PARTITIONS, value_serializer="json")
    triggered: Any = app.Table("triggered", partitions=PARTITIONS, default=bool)
    seen, began = 0, 0.0

    async def judge(stream: Any) -> None:
        nonlocal seen, began
        async for value in stream:
            reading = json.loads(value)
            series = f"{reading['system']}/{reading['metric']}"
            now = reading["value"] > LIMIT
            if now != triggered[series]:
                triggered[series] = now
                await changes.send(key=reading["system"], value={**reading, "triggered": now})
            seen += 1
            if seen == WARM_UP:
                began = time.perf_counter()
            elif seen == readings:
                # A line of its own: Faust has written to the terminal's cursor by now.
                sys.stdout.write(f"\n{(readings - WARM_UP) / (time.perf_counter() - began)}\n")
                sys.stdout.flush()
                os._exit(0)

    app.agent(source)(judge)
    return app


def main() -> None:
    topic, readings = sys.argv[1], int(sys.argv[2])
    settings = CommonSettings.load()
    created = kafka.admin(settings.kafka).create_topics([NewTopic(topic + CHANGES, PARTITIONS, 1)])
    created[topic + CHANGES].result(30)
    app = make_app(settings.kafka.bootstrap_servers, topic, readings)
    faust.Worker(app, loglevel="WARNING", quiet=True, redirect_stdouts=False).execute_from_commandline()


if __name__ == "__main__":
    main()
