"""A consumer whose name is another's now goes on delivering: the detector has to see that nothing of it counts."""

from __future__ import annotations

from typing import Any

import pytest
from confluent_kafka import KafkaError, Message

from tocsin.evaluator.detector.intake import PlainIntake
from tocsin.shared.errors import FencedError


class Fenced:
    def consume(self, most: int, timeout: float) -> list[Message]:
        return [Message(error=KafkaError(KafkaError._FATAL, "fenced by another"))]


def test_a_fatal_error_of_the_client_ends_the_intake_and_says_the_way_out() -> None:
    client: Any = Fenced()
    with pytest.raises(FencedError, match=r"share one TOCSIN_INSTANCE .*fenced by another"):
        PlainIntake(client).take(10, 0)
