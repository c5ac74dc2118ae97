"""Partitions that the group has given to nobody: found without waiting, and only where to join anew would help."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest
from confluent_kafka import ConsumerGroupState, KafkaError, KafkaException, TopicCollection

from tocsin.dispatcher.unclaimed import ASK_EVERY, Unclaimed
from tocsin.shared.clock import SystemClock

STABLE, REBALANCING = ConsumerGroupState.STABLE, ConsumerGroupState.PREPARING_REBALANCING
ALL = [("a", 0), ("a", 1), ("b", 0), ("b", 1)]


@dataclass
class Admin:
    """Two topics of two partitions."""

    group: Future[Any] = field(default_factory=Future)
    hidden: bool = False
    asked: int = 0

    def describe_consumer_groups(self, group_ids: Sequence[str], **given: Any) -> Mapping[str, Future[Any]]:
        self.asked += 1
        self.group = Future()
        return {group_ids[0]: self.group}

    def describe_topics(self, topics: TopicCollection, **given: Any) -> Mapping[str, Future[Any]]:
        answers = {}
        for name in ("a", "b"):
            answers[name] = answer = Future[Any]()
            if self.hidden:
                answer.set_exception(KafkaException(KafkaError(KafkaError.TOPIC_AUTHORIZATION_FAILED)))
            else:
                answer.set_result(SimpleNamespace(name=name, partitions=[SimpleNamespace(id=at) for at in (0, 1)]))
        return answers

    def says(self, state: ConsumerGroupState, *members: list[tuple[str, int]]) -> None:
        shares = [
            SimpleNamespace(
                assignment=SimpleNamespace(
                    topic_partitions=[SimpleNamespace(topic=topic, partition=at) for topic, at in share]
                )
            )
            for share in members
        ]
        self.group.set_result(SimpleNamespace(state=state, members=shares))


@dataclass
class Clock(SystemClock):
    now: float = 0.0

    def monotonic(self) -> float:
        return self.now


@pytest.mark.parametrize(
    ("state", "shares", "hidden", "expected"),
    [
        (STABLE, [ALL], False, False),
        (STABLE, [ALL[:2], ALL[2:], []], False, False),
        (STABLE, [[]], False, True),
        (STABLE, [ALL[:3]], False, True),
        (REBALANCING, [[]], False, False),
        (STABLE, [[]], True, False),
    ],
    ids=["one has all", "a third has none", "nobody has any", "one is left", "being given out", "out of sight"],
)
def test_what_nobody_has_is_found(
    state: ConsumerGroupState, shares: list[list[tuple[str, int]]], hidden: bool, expected: bool
) -> None:
    admin, clock = Admin(hidden=hidden), Clock()
    unclaimed = Unclaimed(admin, "g", ["a", "b"], clock)
    clock.now = ASK_EVERY
    assert not unclaimed.found()
    admin.says(state, *shares)
    assert unclaimed.found() is expected
    assert not unclaimed.found()


def test_it_asks_now_and_then_and_waits_for_no_answer() -> None:
    admin, clock = Admin(), Clock()
    unclaimed = Unclaimed(admin, "g", ["a", "b"], clock)
    for seconds, asked in ((0, 0), (14, 0), (15, 1), (300, 1)):
        clock.now = seconds
        assert not unclaimed.found()
        assert admin.asked == asked
    admin.says(STABLE, ALL)
    assert not unclaimed.found()
    clock.now = 314.9
    assert not unclaimed.found()
    clock.now = 315
    assert not unclaimed.found()
    assert admin.asked == 2
