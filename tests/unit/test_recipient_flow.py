"""What a recipient says about how its deliveries flow: rate, order, pause, enabling."""

from __future__ import annotations

import pytest

from tocsin.console.state import ConflictError, Delete, Put, State, compose
from tocsin.shared.configuration.rate import interval_ms, parse_rate
from tocsin.shared.configuration.records import Recipient


def recipient(id_: str = "r", name: str = "R", **given: object) -> Recipient:
    return Recipient.model_validate({"id": id_, "name": name, "type": "system", "email": "a@example.com", **given})


@pytest.mark.parametrize(
    ("text", "kept", "every"), [("10/s", "10/s", 100), (" 090 / m", "90/m", 60_000 / 90), ("5/h", "5/h", 720_000)]
)
def test_a_rate_is_so_many_a_second_minute_or_hour(text: str, kept: str, every: float) -> None:
    assert parse_rate(text) == kept
    assert interval_ms(kept) == every


def test_whoever_is_enabled_again_gets_the_time_of_it() -> None:
    state = compose(State(), [Put(recipient(enabled=False))], 1, 1_000).state
    found = compose(state, [Put(recipient(enabled=True))], 2, 5_000).state.by_id("r")
    assert isinstance(found, Recipient)
    assert found.enabled_at == 5_000
    # A change that leaves it enabled is no new enabling.
    again = compose(state, [Put(recipient(enabled=True, enabled_at=7, paused=True))], 2, 9_000)
    later = compose(again.state, [Put(recipient(enabled=True, enabled_at=9_000))], 3, 20_000).state.by_id("r")
    assert isinstance(later, Recipient)
    assert later.enabled_at == 9_000


def test_a_recipient_who_is_told_of_anothers_failing_cannot_be_deleted() -> None:
    told, failing = recipient("t", "Told"), recipient("f", "Failing", on_failing_id="t")
    state = compose(State(), [Put(told), Put(failing)], 1, 0).state
    with pytest.raises(ConflictError, match="recipient 'Told' is used by recipient 'Failing'"):
        compose(state, [Delete("t")], 2, 0)
