"""How a recipient stands: circuit, disabling, pauses, and how old its deliveries are."""

from __future__ import annotations

from tocsin.dispatcher.core.outcomes import Accepted, Outcome, Refused, Unavailable, Unknown
from tocsin.dispatcher.core.standing import (
    MAX_RETRYING,
    MAX_STOPS,
    CircuitPolicy,
    Recent,
    after_attempt,
    age_ms,
    hold_of,
    keeps_failing,
    reconciled,
    with_retrying,
    worth_writing,
)
from tocsin.shared.configuration.records import Recipient
from tocsin.shared.schemas.recipient_state import RecipientState, Stop

POLICY = CircuitPolicy()
NOW = 1_764_064_800_000
MINUTE, HOUR, DAY = 60_000, 3_600_000, 86_400_000
OK = Accepted(200)
FAILED = Unavailable("http_500", 500)
HOOK = Recipient(id="r", name="Hook", type="system", email="a@example.com")


class Story:
    """One recipient's attempts, one after the other."""

    def __init__(self) -> None:
        self.state = RecipientState()
        self.recent = Recent(POLICY.window)
        self.now = NOW

    def attempt(self, outcome: Outcome, *, probe: bool = False, after_ms: int = 1_000) -> Story:
        self.now += after_ms
        self.state = after_attempt(self.state, outcome, self.recent, probe=probe, now_ms=self.now, policy=POLICY)
        return self


def test_five_failures_in_a_row_open_the_circuit_and_a_success_closes_it() -> None:
    story = Story()
    for _ in range(4):
        story.attempt(FAILED)
    assert hold_of(story.state, HOOK) is None
    story.attempt(FAILED)
    assert hold_of(story.state, HOOK) == "circuit_open"
    assert story.state.probe_at == story.now + 30_000
    story.attempt(OK, probe=True)
    assert story.state == RecipientState()


def test_more_than_half_of_the_last_twenty_open_it_too_but_not_of_fewer() -> None:
    story = Story()
    for _ in range(6):
        story.attempt(OK)
        story.attempt(FAILED).attempt(FAILED)
    assert story.state.opened_at is None  # 12 of 18 failed
    story.attempt(OK).attempt(FAILED)
    assert hold_of(story.state, HOOK) == "circuit_open"


def test_probes_come_at_30_s_doubling_to_10_min() -> None:
    story = Story()
    for _ in range(5):
        story.attempt(FAILED)
    waits = []
    for _ in range(7):
        assert story.state.probe_at is not None
        waits.append(story.state.probe_at - story.now)
        story.attempt(FAILED, probe=True, after_ms=waits[-1])
    assert [wait // 1000 for wait in waits] == [30, 60, 120, 240, 480, 600, 600]
    # What was still in flight when it opened is no probe.
    before = story.state
    assert story.attempt(FAILED).state.probe_at == before.probe_at


def test_a_refusal_of_one_delivery_says_that_the_recipient_is_there() -> None:
    story = Story()
    for _ in range(4):
        story.attempt(FAILED)
    story.attempt(Refused("permanent_refusal", 404))
    assert story.state == RecipientState()


def test_what_was_our_own_doing_says_nothing() -> None:
    story = Story()
    for _ in range(10):
        story.attempt(Unknown("shutdown"))
    assert story.state == RecipientState()


def test_410_disables_at_once_and_enabling_makes_a_new_beginning() -> None:
    story = Story().attempt(Refused("gone", 410))
    assert hold_of(story.state, HOOK) == "disabled"
    assert story.state.disabled_because == "gone"
    enabled = HOOK.model_copy(update={"enabled_at": story.now + 1})
    assert hold_of(story.state, enabled) is None
    after = reconciled(story.state, enabled, story.now + 2)
    assert (after.disabled_at, after.failures_in_a_row, after.failing_since) == (None, 0, None)
    # An enabling that is older than the disabling counts for nothing.
    assert hold_of(story.state, HOOK.model_copy(update={"enabled_at": story.now - 1})) == "disabled"


def test_five_days_of_nothing_but_failures_disable() -> None:
    story = Story()
    for _ in range(5):
        story.attempt(FAILED)
    for _ in range(119):
        story.attempt(FAILED, probe=True, after_ms=HOUR)
    assert story.state.disabled_at is None
    story.attempt(FAILED, probe=True, after_ms=HOUR)
    assert (story.state.disabled_because, hold_of(story.state, HOOK)) == ("failing", "disabled")


def test_its_owner_is_told_when_a_probe_has_failed_and_only_once() -> None:
    story = Story()
    for _ in range(5):
        story.attempt(FAILED)
    assert not keeps_failing(story.state, POLICY)
    story.attempt(FAILED, probe=True)
    assert keeps_failing(story.state, POLICY)
    told = story.state.model_copy(update={"told": True})
    assert not keeps_failing(told, POLICY)
    assert Story().attempt(OK).state.told is False


def test_paused_by_hand_disabled_by_hand() -> None:
    assert hold_of(RecipientState(), HOOK.model_copy(update={"paused": True})) == "paused"
    assert hold_of(RecipientState(), HOOK.model_copy(update={"paused": True, "enabled": False})) == "disabled"


def test_a_delivery_does_not_grow_old_while_its_recipient_is_paused_or_disabled() -> None:
    paused = HOOK.model_copy(update={"paused": True})
    state = reconciled(RecipientState(), paused, NOW + HOUR)
    assert reconciled(state, paused, NOW + 2 * HOUR) is state
    assert age_ms(state, NOW, NOW + 10 * DAY) == HOUR
    state = reconciled(state, HOOK, NOW + 3 * HOUR)
    assert state.stops == (Stop(start=NOW + HOUR, end=NOW + 3 * HOUR),)
    assert age_ms(state, NOW, NOW + 5 * HOUR) == 3 * HOUR
    assert age_ms(state, NOW + 2 * HOUR, NOW + 5 * HOUR) == 2 * HOUR
    assert age_ms(state, NOW + 4 * HOUR, NOW + 5 * HOUR) == HOUR


def test_what_is_retried_is_remembered_until_it_ends_and_only_so_much_of_it() -> None:
    state = RecipientState()
    assert with_retrying(state, "a", still=False) is state
    once = with_retrying(state, "a", still=True)
    assert with_retrying(once, "a", still=True) is once
    both = with_retrying(once, "b", still=True)
    assert both.retrying == ("a", "b")
    assert with_retrying(both, "a", still=False).retrying == ("b",)
    for at in range(100):
        both = with_retrying(both, f"c{at}", still=True)
    assert both.retrying == tuple(f"c{at}" for at in range(100 - MAX_RETRYING, 100))


def test_ever_so_many_pauses_stay_bounded_and_never_make_a_delivery_older() -> None:
    paused = HOOK.model_copy(update={"paused": True})
    state, now, stopped = RecipientState(), NOW, 0
    for _ in range(3 * MAX_STOPS):
        state = reconciled(state, paused, now)
        state = reconciled(state, HOOK, now + 1_000)
        stopped += 1_000
        now += MINUTE
    assert len(state.stops) <= MAX_STOPS + 1
    assert age_ms(state, NOW, now) <= now - NOW - stopped


def test_the_mere_count_of_failures_is_not_worth_a_record() -> None:
    first = Story().attempt(FAILED)
    assert worth_writing(RecipientState(), first.state)
    before = first.state
    assert not worth_writing(before, first.attempt(FAILED).state)
