"""A consumer whose name is another's now goes on delivering: the detector has to see that nothing of it counts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
from confluent_kafka import KafkaError, Message

from tocsin.evaluator.detector.intake import PlainIntake
from tocsin.evaluator.detector.membership import taken
from tocsin.shared.errors import FencedError


class Fenced:
    def consume(self, most: int, timeout: float) -> list[Message]:
        return [Message(error=KafkaError(KafkaError._FATAL, "fenced by another"))]


def test_a_fatal_error_of_the_client_ends_the_intake_and_says_the_way_out() -> None:
    client: Any = Fenced()
    with pytest.raises(FencedError, match=r"share one TOCSIN_INSTANCE .*fenced by another"):
        PlainIntake(client).take(10, 0)


@dataclass(frozen=True)
class OfGroup:
    member_id: str
    group_instance_id: str | None


def test_only_another_member_of_our_name_has_taken_our_place() -> None:
    members = [OfGroup("a-1", "a"), OfGroup("b-1", "b"), OfGroup("x", None)]
    assert not taken(members, "a", "a-1")
    assert taken(members, "a", "a-0")
    assert taken(members, "a", None)
    assert not taken(members, "c", "c-1")
