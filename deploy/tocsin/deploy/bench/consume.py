"""The reference: how fast `consume()` alone hands over the same messages. A process of its own.

usage: python -m tocsin.deploy.bench.consume TOPIC MESSAGES; prints messages a second after the first quarter.
"""

from __future__ import annotations

import sys
import time
import uuid

from tocsin.shared import kafka
from tocsin.shared.settings import CommonSettings

AT_ONCE = 50_000
WARM_UP = 4  # the first quarter is not counted, as in the detector's figure


def main(topic: str, messages: int) -> float:
    settings = CommonSettings.load()
    consumer = kafka.consumer(
        settings.kafka,
        f"bench-{uuid.uuid4()}",
        fetch_max_bytes=32 << 20,
        queued_min_messages=2 * AT_ONCE,
        queued_max_messages_kbytes=64 << 10,
        fetch_queue_backoff_ms=2,
    )
    consumer.subscribe([topic])
    count, counted_from, began = 0, 0, 0.0
    while count < messages:
        count += len(consumer.consume(AT_ONCE, 0.1))
        if not counted_from and count * WARM_UP >= messages:
            counted_from, began = count, time.perf_counter()
    rate = (count - counted_from) / (time.perf_counter() - began)
    consumer.close()
    return rate


if __name__ == "__main__":
    print(main(sys.argv[1], int(sys.argv[2])))
