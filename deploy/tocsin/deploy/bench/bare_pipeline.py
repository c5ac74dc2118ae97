"""The reference: consumes readings and posts, signed, what crosses. No state, no transaction, nothing checked.

usage: python -m tocsin.deploy.bench.bare_pipeline TOPIC URL; says "ready" and runs until it is stopped.
"""

from __future__ import annotations

import asyncio
import sys
import uuid

import aiohttp
import uvloop
from confluent_kafka import Consumer, Message, TopicPartition

from tocsin.deploy.bench.delivering import BODY, SECRET, event_of
from tocsin.dispatcher.core.signing import signature_headers, signing_key
from tocsin.dispatcher.core.templates import render
from tocsin.dispatcher.core.variables import Values
from tocsin.shared import kafka
from tocsin.shared.clock import SystemClock
from tocsin.shared.headers import header
from tocsin.shared.settings import CommonSettings

TURN = "turn"
"""The header of a reading that crosses: which of its system's crossings it is."""


async def main(topic: str, url: str) -> None:
    settings = CommonSettings.load()
    consumer = kafka.consumer(settings.kafka, f"bench-{uuid.uuid4()}")
    partitions = kafka.existing_partitions(kafka.admin(settings.kafka))[topic]
    consumer.assign([TopicPartition(topic, partition, 0) for partition in range(partitions)])
    print("ready", flush=True)
    key = signing_key(SECRET)
    body = render(BODY, "application/json", Values.of(event_of())).encode()
    loop = asyncio.get_running_loop()
    tasks: set[asyncio.Task[None]] = set()

    async def post(session: aiohttp.ClientSession, id_: str) -> None:
        headers = signature_headers((key,), id_, SystemClock().now_ms() // 1000, body)
        headers["Content-Type"] = "application/json"
        async with session.post(f"{url}/timed", data=body, headers=headers) as response:
            await response.read()

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        while True:
            for message in await loop.run_in_executor(None, _take, consumer):
                if (turn := header(message.headers(), TURN)) is not None:
                    id_ = f"{(message.key() or b'').decode()}/{turn.decode()}"
                    tasks.add(task := loop.create_task(post(session, id_)))
                    task.add_done_callback(tasks.discard)


def _take(consumer: Consumer) -> list[Message]:
    return kafka.arrived(consumer, 1_000, 0.1)


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1], sys.argv[2]))
