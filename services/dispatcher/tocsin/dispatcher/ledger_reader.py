"""Where the ledger's records come from.

1. The ends of `delivery-audit`, so that what is routed later is not judged.
2. The group's committed offsets and metadata, all at once: a transaction that settles is in them whole or not at all.
3. What is parked, and then what waits beyond the offsets, in `deliveries` and the retry topics: what goes from the
   one to the others between is seen in both, never in neither.
4. The audit to its end of now: whatever had been settled at 2 has its terminal record there.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import msgspec
from confluent_kafka import Consumer, KafkaException, TopicPartition

from tocsin.dispatcher.core.ledger import Key, Ledger, LedgerReport
from tocsin.dispatcher.core.offsets import Progress
from tocsin.dispatcher.reading import ASK_TIMEOUT, UNREADABLE, PartitionKey, ends_of, insist, read_until
from tocsin.dispatcher.settings import DispatcherSettings
from tocsin.shared import kafka
from tocsin.shared.errors import BrokerError
from tocsin.shared.times import parse_rfc3339
from tocsin.shared.topics import DELIVERIES, DELIVERY_AUDIT, DELIVERY_PARKED, retry_topic

LONGEST_LIFE_MS = 4 * 86_400_000
"""A day more than a delivery lives: near a retention's edge its `routed` may be gone and its end not."""


class _Waiting(msgspec.Struct):
    id: str
    replay: int = 0


class _Audited(msgspec.Struct):
    kind: str
    delivery_id: str
    time: str
    replay: int = 0
    outcome: str | None = None


_waiting = msgspec.json.Decoder(_Waiting)
_audited = msgspec.json.Decoder(_Audited)


def read_ledger(settings: DispatcherSettings, since_ms: int = 0) -> LedgerReport:
    """Raises TocsinError when the topics are not there or the broker does not answer."""
    names = (DELIVERIES, *(retry_topic(tier) for tier in settings.retry_tiers))
    counts = kafka.check_topics(settings, (*names, DELIVERY_PARKED, DELIVERY_AUDIT))
    audit = [(settings.topic(DELIVERY_AUDIT), number) for number in range(counts[DELIVERY_AUDIT])]
    places = [(settings.topic(name), number) for name in names for number in range(counts[name])]
    parked = [(settings.topic(DELIVERY_PARKED), number) for number in range(counts[DELIVERY_PARKED])]
    try:
        judged_until = ends_of(settings, audit)
        committed = _committed(settings, places)
        waiting = _read_parked(settings, parked)
        waiting |= set(_read_waiting(settings, places, committed))
        ledger = Ledger(max(since_ms, _complete_since(settings, judged_until)))
        _read_audit(settings, ledger, audit, judged_until)
    except KafkaException as error:
        raise BrokerError(f"the ledger cannot be read: {error.args[0].str()}") from None
    return ledger.report(waiting)


def _committed(settings: DispatcherSettings, places: list[PartitionKey]) -> list[TopicPartition]:
    asker: Consumer = kafka.consumer(settings.kafka, settings.dispatcher_group)
    try:
        return insist(partial(asker.committed, [TopicPartition(*place) for place in places], timeout=ASK_TIMEOUT))
    finally:
        asker.close()


def _read_parked(settings: DispatcherSettings, places: list[PartitionKey]) -> set[Key]:
    waiting: set[Key] = set()
    for message in read_until(settings, dict.fromkeys(places), ends_of(settings, places)):
        delivery, _, replay = (message.key() or b"").decode(errors="replace").partition("/")[2].rpartition("/")
        if not (delivery and replay.isdigit()):
            continue  # poison
        if message.value() is None:
            waiting.discard((delivery, int(replay)))
        else:
            waiting.add((delivery, int(replay)))
    return waiting


def _read_waiting(
    settings: DispatcherSettings, places: list[PartitionKey], answers: list[TopicPartition]
) -> Iterator[Key]:
    known = {
        (answer.topic, answer.partition): Progress(answer.offset, answer.metadata or "")
        for answer in answers
        if answer.offset >= 0
    }
    starts = {(answer.topic, answer.partition): answer.offset if answer.offset >= 0 else None for answer in answers}
    for message in read_until(settings, starts, ends_of(settings, places)):
        progress = known.get((message.topic() or "", message.partition() or 0))
        if progress is not None and progress.settled(message.offset() or 0):
            continue
        try:
            one = _waiting.decode(message.value() or b"")
        except UNREADABLE:
            continue  # poison: the dispatcher passes over it, too
        yield one.id, one.replay


def _complete_since(settings: DispatcherSettings, audit: dict[PartitionKey, tuple[int, int]]) -> int:
    """From when on the audit can be judged: retention may have taken the beginning."""
    cut = {place: (first, first + 1) for place, (first, end) in audit.items() if 0 < first < end}
    oldest: dict[PartitionKey, int] = {}
    for message in read_until(settings, dict.fromkeys(cut), cut):
        _, timestamp = message.timestamp()
        oldest.setdefault((message.topic() or "", message.partition() or 0), timestamp)
        if len(oldest) == len(cut):
            break
    return max(oldest.values()) + LONGEST_LIFE_MS if oldest else 0


def _read_audit(
    settings: DispatcherSettings,
    ledger: Ledger,
    audit: list[PartitionKey],
    judged_until: dict[PartitionKey, tuple[int, int]],
) -> None:
    for message in read_until(settings, dict.fromkeys(audit), ends_of(settings, audit)):
        try:
            one = _audited.decode(message.value() or b"")
            time_ms = parse_rfc3339(one.time)
        except UNREADABLE:
            continue
        end = judged_until[(message.topic() or "", message.partition() or 0)][1]
        judged = (message.offset() or 0) < end
        ledger.audited((one.delivery_id, one.replay), one.kind, time_ms, outcome=one.outcome, judged=judged)
