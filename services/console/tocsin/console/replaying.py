"""Dead letters taken up again from the console: the dispatcher's own replay, given what the read model holds."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from tocsin.console.web.context import Console
from tocsin.dispatcher.dead_letters import replay as replay_letters
from tocsin.shared.schemas.delivery import DeadLetter


async def replay(services: Console, delivery_ids: Sequence[str]) -> list[str]:
    """The newest dead letter of each; the ids of those taken up. Whoever was replayed meanwhile is left out."""
    newest: dict[str, DeadLetter] = {}
    for start in range(0, len(delivery_ids), 500):
        for record in await services.queries.dead_letter_records(delivery_ids[start : start + 500]):
            letter = DeadLetter.decode(record)
            newest[letter.delivery.id] = letter
    if not newest:
        return []
    again = await asyncio.to_thread(replay_letters, services.settings, list(newest.values()), services.clock.now_ms())
    return [delivery.id for delivery in again]
