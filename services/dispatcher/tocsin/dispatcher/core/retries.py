"""What happens after an attempt. Pure: the time comes in, a decision goes out."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime

from tocsin.dispatcher.core.outcomes import Accepted, Outcome, Refused, Unavailable, Unknown
from tocsin.shared.topics import DEFAULT_RETRY_TIERS

MAX_RETRY_AFTER_MS = 24 * 3_600_000
JITTER_SHARE = 0.2
MAX_JITTER_MS = 10_000


@dataclass(frozen=True, slots=True)
class Done:
    """Delivered."""


@dataclass(frozen=True, slots=True)
class RetryAt:
    """Goes into the retry topic of this tier, due at this time and not earlier."""

    tier_ms: int
    due_ms: int


@dataclass(frozen=True, slots=True)
class DeadLettered:
    """Will not be tried again unless someone replays it."""

    reason: str


Decision = Done | RetryAt | DeadLettered


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """The delay after each failed attempt, and the retry topics there are."""

    schedule: tuple[int, ...]
    tiers: tuple[int, ...]  # ascending

    @classmethod
    def of(cls, tiers: Sequence[int], own: Sequence[int] | None = None) -> RetryPolicy:
        """A recipient's own schedule, or the deployment's: one attempt after each tier, in order."""
        return cls(tuple(tiers if own is None else own), tuple(sorted(tiers)))

    def tier_for(self, wanted_ms: int) -> int:
        """The shortest tier that is long enough; the longest one where none is."""
        return next((tier for tier in self.tiers if tier >= wanted_ms), self.tiers[-1])


DEFAULT_POLICY = RetryPolicy.of(DEFAULT_RETRY_TIERS)


def decide(outcome: Outcome, attempts: int, ended_ms: int, policy: RetryPolicy) -> Decision:
    """`attempts` counts the one that has just ended."""
    match outcome:
        case Accepted():
            return Done()
        case Refused(reason=reason):
            return DeadLettered(reason)
        case Unavailable() | Unknown():
            if attempts > len(policy.schedule) or not policy.tiers:
                return DeadLettered("attempts_exhausted")
            asked = outcome.retry_after_ms if isinstance(outcome, Unavailable) else None
            wanted = max(policy.schedule[attempts - 1], min(asked or 0, MAX_RETRY_AFTER_MS))
            tier = policy.tier_for(wanted)
            return RetryAt(tier, ended_ms + tier)


def parse_retry_after(value: str | None, now_ms: int) -> int | None:
    """Milliseconds from now, at most a day; None for junk and for what lies in the past. Source: RFC 9110 10.2.3."""
    if value is None:
        return None
    text = value.strip()
    if text.isascii() and text.isdigit():
        # Ten digits are 300 years; more would only be work to convert.
        return min(int(text[:10]) * 1000 if len(text) <= 10 else MAX_RETRY_AFTER_MS, MAX_RETRY_AFTER_MS)
    try:
        when = parsedate_to_datetime(text[:64])
        delay = int(when.replace(tzinfo=when.tzinfo or UTC).timestamp() * 1000) - now_ms
    except (ValueError, TypeError, OverflowError, IndexError):
        return None
    return min(delay, MAX_RETRY_AFTER_MS) if delay > 0 else None


def jitter_ms(delivery_id: str, attempts: int, tier_ms: int) -> int:
    """How long after it is due this retry starts: spread evenly over 20 % of the delay, at most 10 s.

    Made from the delivery and the attempt, so that a reader that starts anew waits for the same moment.
    """
    span = min(int(tier_ms * JITTER_SHARE), MAX_JITTER_MS)
    digest = hashlib.blake2b(f"{delivery_id}:{attempts}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") % (span + 1)
