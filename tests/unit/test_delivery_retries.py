"""What happens after an attempt."""

from __future__ import annotations

import pytest

from tocsin.dispatcher.core.outcomes import (
    Accepted,
    Outcome,
    Refused,
    Unavailable,
    Unknown,
    classify_status,
    excerpt_of,
)
from tocsin.dispatcher.core.retries import (
    DEFAULT_POLICY,
    DeadLettered,
    Done,
    RetryAt,
    RetryPolicy,
    decide,
    jitter_ms,
    parse_retry_after,
)

S, M, H = 1_000, 60_000, 3_600_000
FAILED = Unavailable("http_500", 500)


def test_the_default_schedule_is_ten_attempts_over_about_45_hours() -> None:
    assert DEFAULT_POLICY.schedule == (5 * S, 30 * S, 2 * M, 10 * M, 30 * M, 2 * H, 6 * H, 12 * H, 24 * H)
    at, dues = 0, []
    for attempt in range(1, 10):
        decision = decide(FAILED, attempt, at, DEFAULT_POLICY)
        assert isinstance(decision, RetryAt)
        at = decision.due_ms
        dues.append(decision.tier_ms)
    assert tuple(dues) == DEFAULT_POLICY.schedule
    assert 44 * H < at < 46 * H
    assert decide(FAILED, 10, at, DEFAULT_POLICY) == DeadLettered("attempts_exhausted")


def test_ends() -> None:
    assert decide(Accepted(200), 1, 0, DEFAULT_POLICY) == Done()
    assert decide(Refused("gone", 410), 1, 0, DEFAULT_POLICY) == DeadLettered("gone")
    assert decide(Unknown("connection_lost"), 1, 7, DEFAULT_POLICY) == RetryAt(5 * S, 5 * S + 7)


@pytest.mark.parametrize(
    ("asked", "tier"),
    [(None, 5 * S), (0, 5 * S), (4 * S, 5 * S), (5 * S + 1, 30 * S), (H, 2 * H), (24 * H, 24 * H), (99 * H, 24 * H)],
)
def test_retry_after_goes_up_to_the_tier_that_is_long_enough(asked: int | None, tier: int) -> None:
    outcome = Unavailable("http_429", 429, retry_after_ms=asked)
    assert decide(outcome, 1, 1000, DEFAULT_POLICY) == RetryAt(tier, 1000 + tier)


def test_a_recipient_may_have_its_own_schedule_from_the_tiers_there_are() -> None:
    policy = RetryPolicy.of((5 * S, 30 * S, 2 * M), (30 * S, 30 * S))
    assert decide(FAILED, 1, 0, policy) == RetryAt(30 * S, 30 * S)
    assert decide(FAILED, 2, 0, policy) == RetryAt(30 * S, 30 * S)
    assert decide(FAILED, 3, 0, policy) == DeadLettered("attempts_exhausted")
    odd = RetryPolicy.of((5 * S, 30 * S), (7 * S, 10 * M))
    assert decide(FAILED, 1, 0, odd) == RetryAt(30 * S, 30 * S)
    assert decide(FAILED, 2, 0, odd) == RetryAt(30 * S, 30 * S)


@pytest.mark.parametrize(
    ("text", "milliseconds"),
    [
        ("120", 120_000),
        (" 3 ", 3_000),
        ("0", 0),
        ("1000000000", 24 * H),
        ("9" * 5000, 24 * H),
        ("Tue, 25 Nov 2025 10:02:00 GMT", 2 * M),
        ("Tue, 25 Nov 2025 09:00:00 GMT", None),
        ("Tue, 25 Nov 2099 09:00:00 GMT", 24 * H),
        ("-5", None),
        ("1.5", None),
        ("soon", None),
        ("", None),
        ("٣", None),
        (None, None),
    ],
)
def test_retry_after_is_seconds_or_a_date_and_junk_is_ignored(text: str | None, milliseconds: int | None) -> None:
    assert parse_retry_after(text, 1_764_064_800_000) == milliseconds


def test_jitter_is_spread_over_a_fifth_of_the_delay_at_most_ten_seconds_and_repeatable() -> None:
    short = [jitter_ms(f"delivery {at}", 1, 5 * S) for at in range(500)]
    assert 0 <= min(short) < 100
    assert 900 < max(short) <= 1000
    assert max(jitter_ms(f"delivery {at}", 1, 24 * H) for at in range(500)) <= 10 * S
    assert jitter_ms("a", 1, H) == jitter_ms("a", 1, H) != jitter_ms("a", 2, H)


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (200, Accepted(200)),
        (204, Accepted(204)),
        (299, Accepted(299)),
        (302, Unavailable("http_302", 302)),
        (304, Unavailable("http_304", 304)),
        (400, Unavailable("http_400", 400)),
        (404, Refused("permanent_refusal", 404)),
        (410, Refused("gone", 410)),
        (429, Unavailable("http_429", 429)),
        (503, Unavailable("http_503", 503)),
        (101, Unavailable("http_101", 101)),
    ],
)
def test_only_2xx_is_success(status: int, expected: Outcome) -> None:
    assert classify_status(status, (404,), "", None) == expected


def test_an_excerpt_is_short_and_harmless() -> None:
    assert excerpt_of(b"a\r\nb\x00\x1b[31m\xff") == "a\\r\\nb\\x00\\x1b[31m�"
    assert len(excerpt_of("é".encode() * 5000).encode()) <= 1024
    assert len(excerpt_of(b"\x00" * 5000)) == 1024
