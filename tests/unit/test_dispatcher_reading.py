"""Asking the broker for the ends of partitions, and for what a group has committed."""

from __future__ import annotations

import pytest
from confluent_kafka import KafkaError, KafkaException

from tocsin.dispatcher.reading import insist


@pytest.mark.parametrize(
    "refusals",
    [
        (KafkaError.NOT_LEADER_FOR_PARTITION, KafkaError.LEADER_NOT_AVAILABLE),
        (KafkaError.NOT_COORDINATOR, KafkaError.COORDINATOR_LOAD_IN_PROGRESS),
    ],
)
def test_a_broker_that_is_no_leader_and_no_coordinator_yet_is_asked_again(refusals: tuple[int, int]) -> None:
    answers = iter([*refusals, None])
    pauses: list[float] = []

    def ask() -> tuple[int, int]:
        if (code := next(answers)) is not None:
            raise KafkaException(KafkaError(code))
        return 3, 7

    assert insist(ask, pauses.append) == (3, 7)
    assert len(pauses) == 2


def test_any_other_refusal_is_raised_at_once() -> None:
    def ask() -> tuple[int, int]:
        raise KafkaException(KafkaError(KafkaError.TOPIC_AUTHORIZATION_FAILED))

    with pytest.raises(KafkaException):
        insist(ask, lambda seconds: pytest.fail("it must not wait"))
