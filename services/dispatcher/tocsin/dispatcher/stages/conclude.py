"""Stage 4: what follows from the attempt, as records."""

from __future__ import annotations

import logging
from functools import lru_cache
from typing import Protocol, assert_never

from tocsin.dispatcher.core.audit import Attempt, attempted, ended, outcome_word
from tocsin.dispatcher.core.outcomes import Accepted
from tocsin.dispatcher.core.quick_delivery import as_model
from tocsin.dispatcher.core.retries import DeadLettered, Decision, Done, RetryAt, RetryPolicy, decide
from tocsin.dispatcher.stages.records import audit_out, dead_letter_out, done_key, parked_out, retry_out, trace_of
from tocsin.dispatcher.stages.steps import Attempted, Out, Settled
from tocsin.shared.configuration.records import Recipient
from tocsin.shared.schemas.audit import AuditKind
from tocsin.shared.schemas.delivery import DeadLetter
from tocsin.shared.telemetry import metrics
from tocsin.shared.telemetry.logs import logger
from tocsin.shared.times import format_duration

log = logger(__name__)
_stdlib = logging.getLogger(__name__)


@lru_cache(maxsize=1024)
def _policy(tiers: tuple[int, ...], own: tuple[int, ...] | None) -> RetryPolicy:
    return RetryPolicy.of(tiers, own)


class Attempts(Protocol):
    """Who keeps how recipients stand."""

    def attempted(self, recipient: Recipient, attempt: Attempt, partition: int) -> tuple[Out, ...]:
        """What this attempt changes, as records."""
        ...


class Conclude:
    """The attempt's audit record, its successor (a terminal record, or a retry), and how its recipient stands now."""

    def __init__(self, tiers: tuple[int, ...], standings: Attempts) -> None:
        self._tiers = tiers
        self._standings = standings

    def __call__(self, done: Attempted) -> Settled:
        policy = _policy(self._tiers, done.addressed.recipient.retry)
        decision = decide(done.attempt.outcome, done.attempt.number, done.attempt.ended_ms, policy)
        trace = trace_of(done.delivery)
        line = attempted(done.delivery, done.attempt, decision, done.addressed.taken.origin)
        attempt = audit_out(line, trace)
        standing = self._standings.attempted(done.addressed.recipient, done.attempt, done.addressed.taken.number)
        _log_attempt(done, decision)
        match decision:
            case Done():
                return _end(done, "delivered", None, trace, attempt, *standing)
            case RetryAt():
                metrics.RETRIES.labels(format_duration(decision.tier_ms)).inc()
                return _wait(done, decision, attempt, *standing)
            case DeadLettered():
                letter = _dead_letter(done, decision)
                return _end(done, "dead-lettered", decision.reason, trace, attempt, letter, *standing)
            case _:
                assert_never(decision)


def _wait(done: Attempted, decision: RetryAt, *records: Out) -> Settled:
    """In its tier's topic; with an order, at the head of its lane, so that what follows waits behind it."""
    taken, outcome = done.addressed.taken, done.attempt.outcome
    if taken.lane is None:
        after = retry_out(done.delivery, decision)
        return Settled(taken.partition, taken.offset, (*records, after), attempt=outcome)
    value = done.delivery.encode()
    after = parked_out(taken, taken.number, taken.lane, value=value, due_ms=decision.due_ms, front=True)
    return Settled(taken.partition, taken.offset, (*records, after), attempt=outcome, parked_again=True)


def _end(done: Attempted, kind: AuditKind, reason: str | None, trace: str, *records: Out) -> Settled:
    taken = done.addressed.taken
    record = ended(done.delivery, kind, done.attempt.ended_ms, taken.origin, reason=reason)
    terminal = audit_out(record, trace)
    key = done_key(done.delivery)
    return Settled(taken.partition, taken.offset, (*records, terminal), kind, key, done.attempt.outcome)


def _dead_letter(done: Attempted, decision: DeadLettered) -> Out:
    outcome = done.attempt.outcome
    letter = DeadLetter(
        delivery=as_model(done.delivery),
        reason=decision.reason,
        detail=getattr(outcome, "detail", "") or ("" if isinstance(outcome, Accepted) else outcome.reason),
        status=outcome.status,
        response_excerpt=outcome.excerpt,
        time=done.attempt.ended_ms,
    )
    return dead_letter_out(letter)


def _log_attempt(done: Attempted, decision: Decision) -> None:
    """One wide event an attempt: successes only when asked for, the audit has them all."""
    outcome = done.attempt.outcome
    if isinstance(outcome, Accepted) and not _stdlib.isEnabledFor(logging.DEBUG):
        return
    level = log.debug if isinstance(outcome, Accepted) else log.warning
    level(
        "delivery attempted",
        delivery=done.delivery.id,
        replay=done.delivery.replay,
        recipient=done.delivery.recipient.name,
        notification=done.delivery.event.notification.name,
        event_kind=done.delivery.event.kind,
        channel=done.attempt.channel,
        attempt=done.attempt.number,
        outcome=outcome_word(outcome),
        reason=None if isinstance(outcome, Accepted) else outcome.reason,
        detail=getattr(outcome, "detail", None) or None,
        status=outcome.status,
        latency_ms=round(done.attempt.latency_ms, 1),
        decision=type(decision).__name__,
        next_attempt_in=format_duration(decision.tier_ms) if isinstance(decision, RetryAt) else None,
    )
