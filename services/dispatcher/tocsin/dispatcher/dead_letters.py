"""Dead letters, read and replayed.

A replay takes the same delivery up again under a new replay number. Who replays holds the transactional id of all
replays, so two at once cannot give out one number twice: the later fences the earlier.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial

import msgspec
from confluent_kafka import KafkaException, Producer

from tocsin.dispatcher.core import audit
from tocsin.dispatcher.producing import produce
from tocsin.dispatcher.reading import UNREADABLE, ends_of, read_until
from tocsin.dispatcher.settings import DispatcherSettings
from tocsin.dispatcher.stages.records import audit_out, delivery_out, trace_of
from tocsin.shared import kafka
from tocsin.shared.bounded import bounded
from tocsin.shared.errors import BrokerError, CodecError
from tocsin.shared.schemas.delivery import DeadLetter, Delivery
from tocsin.shared.topics import DELIVERIES, DELIVERY_AUDIT, DELIVERY_DEAD_LETTER

CHUNK = 500
CALL_TIMEOUT = timedelta(seconds=15).total_seconds()
OVERRUN = 5.0  # after this a call that ignores its own timeout is given up


class _Routed(msgspec.Struct):
    kind: str
    delivery_id: str
    replay: int = 0


_routed = msgspec.json.Decoder(_Routed)


@dataclass(frozen=True, slots=True)
class Standing:
    """A dead letter, and whether it is the delivery's last word: nobody has replayed it yet."""

    letter: DeadLetter
    last: bool


def read_dead_letters(settings: DispatcherSettings) -> list[Standing]:
    """All there are, oldest first. Raises TocsinError."""
    counts = kafka.check_topics(settings, (DELIVERY_DEAD_LETTER, DELIVERY_AUDIT))
    try:
        letters = list(_read_letters(settings, counts[DELIVERY_DEAD_LETTER]))
        newest = _newest_replays(settings, counts[DELIVERY_AUDIT], {letter.delivery.id for letter in letters})
    except KafkaException as error:
        raise BrokerError(f"dead letters cannot be read: {error.args[0].str()}") from None
    letters.sort(key=lambda letter: letter.time)
    return [Standing(one, one.delivery.replay >= newest.get(one.delivery.id, 0)) for one in letters]


def replay(settings: DispatcherSettings, letters: Sequence[DeadLetter], now_ms: int) -> list[Delivery]:
    """Take these up again; those that somebody else has taken up meanwhile are left out. Raises TocsinError."""
    counts = kafka.check_topics(settings, (DELIVERIES, DELIVERY_AUDIT))
    producer = kafka.transactional_producer(settings.kafka, f"{settings.topic_prefix}tocsin-replay")
    try:
        bounded("init", partial(producer.init_transactions, CALL_TIMEOUT), CALL_TIMEOUT + OVERRUN)
        # Read after the id is held: whoever replayed before has committed or is fenced.
        newest = _newest_replays(settings, counts[DELIVERY_AUDIT], {one.delivery.id for one in letters})
        again = [
            one.delivery.model_copy(
                update={"replay": one.delivery.replay + 1, "attempts": 0, "rendered": None, "routed_at": now_ms}
            )
            for one in letters
            if one.delivery.replay >= newest.get(one.delivery.id, 0)
        ]
        for at in range(0, len(again), CHUNK):
            _write(settings, producer, again[at : at + CHUNK])
    except KafkaException as error:
        raise BrokerError(f"the replay failed; what was not written can be replayed: {error.args[0].str()}") from None
    return again


def _write(settings: DispatcherSettings, producer: Producer, deliveries: Iterable[Delivery]) -> None:
    producer.begin_transaction()
    for delivery in deliveries:
        line = audit.routed(delivery, audit.Origin(None, "replay"))
        produce(producer, settings, audit_out(line, trace_of(delivery), "/replay"))
        produce(producer, settings, delivery_out(delivery))
    bounded("commit", partial(producer.commit_transaction, CALL_TIMEOUT), CALL_TIMEOUT + OVERRUN)


def _read_letters(settings: DispatcherSettings, partitions: int) -> Iterable[DeadLetter]:
    places = [(settings.topic(DELIVERY_DEAD_LETTER), number) for number in range(partitions)]
    for message in read_until(settings, dict.fromkeys(places), ends_of(settings, places)):
        try:
            yield DeadLetter.decode(message.value())
        except CodecError:
            continue  # not one of ours


def _newest_replays(settings: DispatcherSettings, partitions: int, ids: set[str]) -> dict[str, int]:
    """The highest replay number that was routed, of these deliveries."""
    places = [(settings.topic(DELIVERY_AUDIT), number) for number in range(partitions)]
    newest: dict[str, int] = {}
    for message in read_until(settings, dict.fromkeys(places), ends_of(settings, places)) if ids else ():
        try:
            one = _routed.decode(message.value() or b"")
        except UNREADABLE:
            continue
        if one.kind == "routed" and one.delivery_id in ids:
            newest[one.delivery_id] = max(newest.get(one.delivery_id, 0), one.replay)
    return newest
