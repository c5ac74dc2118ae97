"""The ends of partitions are asked for again and again, by another client when one gets no answer any more."""

from __future__ import annotations

from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException

from support import becomes_true
from tocsin.evaluator.detector import ends
from tocsin.evaluator.detector.ends import Ends
from tocsin.shared.clock import SystemClock
from tocsin.shared.settings import CommonSettings, KafkaSettings


class Offset:
    offset = 42


class Client:
    """Answers every question in the same way; with nothing: never."""

    def __init__(self, answer: object) -> None:
        self._answer = answer

    def list_offsets(self, wanted: dict[Any, Any], **options: Any) -> dict[Any, Future[Any]]:
        future: Future[Any] = Future()
        if isinstance(self._answer, Exception):
            future.set_exception(self._answer)
        elif self._answer is not None:
            future.set_result(self._answer)
        return dict.fromkeys(wanted, future)


@pytest.mark.parametrize("first", [None, KafkaException(KafkaError(KafkaError._TIMED_OUT))], ids=["silent", "failing"])
def test_a_client_that_gets_no_answer_is_replaced(
    first: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ends, "ASKED_EVERY", 0.01)
    monkeypatch.setattr(ends, "ANSWERED_WITHIN", 0.05)
    clients = [Client(Offset()), Client(first)]
    kafka = KafkaSettings({"bootstrap.servers": "127.0.0.1:1"})
    settings = CommonSettings.load({}, state_dir=tmp_path, kafka=kafka)
    asked = Ends(settings, SystemClock(), lambda kafka: clients.pop())
    asked.watch([0, 3])
    asked.start()
    try:
        assert becomes_true(lambda: {at: end for at, (end, _) in asked.newest.items()} == {0: 42, 3: 42}, within=10)
    finally:
        asked.close()
