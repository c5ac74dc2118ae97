"""Stage 4: what follows from the attempt, as records."""

from __future__ import annotations

import logging
from typing import assert_never

from tocsin.dispatcher.core.audit import attempted, ended, outcome_word
from tocsin.dispatcher.core.outcomes import Accepted
from tocsin.dispatcher.core.retries import DeadLettered, Decision, Done, RetryAt, RetryPolicy, decide
from tocsin.dispatcher.stages.records import audit_out, dead_letter_out, done_key, retry_out, trace_of
from tocsin.dispatcher.stages.steps import Attempted, Out, Settled
from tocsin.shared.schemas.audit import AuditKind
from tocsin.shared.schemas.delivery import DeadLetter
from tocsin.shared.telemetry import metrics
from tocsin.shared.telemetry.logs import logger
from tocsin.shared.times import format_duration

log = logger(__name__)


class Conclude:
    """The attempt's audit record, and its successor: a terminal record, or a retry."""

    def __init__(self, tiers: tuple[int, ...]) -> None:
        self._tiers = tiers

    async def __call__(self, done: Attempted) -> Settled:
        policy = RetryPolicy.of(self._tiers, done.addressed.recipient.retry)
        decision = decide(done.attempt.outcome, done.attempt.number, done.attempt.ended_ms, policy)
        trace = trace_of(done.delivery)
        line = attempted(done.delivery, done.attempt, decision, done.addressed.taken.origin)
        attempt = audit_out(line, done.attempt.ended_ms, trace)
        _log_attempt(done, decision)
        match decision:
            case Done():
                return _end(done, "delivered", None, attempt)
            case RetryAt():
                metrics.RETRIES.labels(format_duration(decision.tier_ms)).inc()
                taken = done.addressed.taken
                return Settled(taken.partition, taken.offset, (attempt, retry_out(done.delivery, decision)))
            case DeadLettered():
                return _end(done, "dead-lettered", decision.reason, attempt, _dead_letter(done, decision))
            case _:
                assert_never(decision)


def _end(done: Attempted, kind: AuditKind, reason: str | None, *records: Out) -> Settled:
    taken = done.addressed.taken
    record = ended(done.delivery, kind, done.attempt.ended_ms, taken.origin, reason=reason)
    terminal = audit_out(record, done.attempt.ended_ms, trace_of(done.delivery))
    return Settled(taken.partition, taken.offset, (*records, terminal), kind, done_key(done.delivery))


def _dead_letter(done: Attempted, decision: DeadLettered) -> Out:
    outcome = done.attempt.outcome
    letter = DeadLetter(
        delivery=done.delivery,
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
    if isinstance(outcome, Accepted) and not logging.getLogger(__name__).isEnabledFor(logging.DEBUG):
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
