"""Ids: those of things that are replayed come from their cause."""

from __future__ import annotations

import uuid

from hypothesis import given
from hypothesis import strategies as st

from tocsin.shared import ids


def test_derived_ids_are_written_out_here_so_that_no_change_goes_unnoticed() -> None:
    activation = ids.activation_id("t", "n", "r", 3, 42)
    assert activation == str(
        uuid.uuid5(uuid.UUID("6f1d1c1e-2d0b-5a7e-9b58-7c6f0e1f3a11"), '["activation", "t", "n", "r", "3", "42"]')
    )
    event = ids.event_id(activation, "activated", 1)
    assert event == str(uuid.uuid5(ids.NAMESPACE, f'["event", "{activation}", "activated", "1"]'))
    assert ids.delivery_id(event, "r") == str(uuid.uuid5(ids.NAMESPACE, f'["delivery", "{event}", "r"]'))


def test_the_same_cause_gives_the_same_id_and_another_cause_another() -> None:
    assert ids.event_id("a", "resolved", 2) == ids.event_id("a", "resolved", 2)
    causes = [("a", "resolved", 2), ("a", "resolved", 3), ("a", "activated", 2), ("b", "resolved", 2)]
    assert len({ids.event_id(*cause) for cause in causes}) == 4


def test_no_instance_and_an_empty_one_are_two_series() -> None:
    assert ids.change_id("s", "r", ("PC", None), (0, 1)) != ids.change_id("s", "r", ("PC", ""), (0, 1))


@given(st.integers(0, (1 << 48) - 1))
def test_a_new_id_is_a_version_7_uuid_that_holds_its_time(now_ms: int) -> None:
    made = uuid.UUID(ids.new_id(now_ms))
    assert made.version == 7
    assert made.variant == uuid.RFC_4122
    assert made.int >> 80 == now_ms


def test_new_ids_sort_by_time_and_never_repeat() -> None:
    made = [ids.new_id(now_ms) for now_ms in range(1_000, 2_000)]
    assert made == sorted(made)
    assert len({ids.new_id(5) for _ in range(1_000)}) == 1_000
