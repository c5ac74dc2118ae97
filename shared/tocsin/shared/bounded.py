"""Client calls that must come back.

librdkafka's transactional calls have been seen to ignore their timeout for ever when the broker restarted in the middle
of one. A call made here is given up when it overruns: its thread stays behind with its producer, and the next
producer of the same transactional id fences both.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import Generic, TypeVar

from confluent_kafka import KafkaError, KafkaException

T = TypeVar("T")


class OverrunError(KafkaException):
    """A call did not come back in time; whether it has taken effect is unknown."""

    def __init__(self, name: str, seconds: float) -> None:
        super().__init__(KafkaError(KafkaError._TIMED_OUT, f"{name} did not come back within {seconds:.0f} s"))  # noqa: SLF001


class _Answer(Generic[T]):
    """The result of a call or what it raised."""

    def __init__(self, call: Callable[[], T]) -> None:
        self._call = call
        self._queue: SimpleQueue[tuple[T | None, BaseException | None]] = SimpleQueue()

    def work(self) -> None:
        try:
            self._queue.put((self._call(), None))
        except BaseException as error:  # noqa: BLE001  raised again in the thread that asked
            self._queue.put((None, error))

    def wait(self, seconds: float) -> T:
        result, error = self._queue.get(timeout=seconds)
        if error is not None:
            raise error
        return result  # type: ignore[return-value]


class BoundedCalls:
    """Makes one call at a time on a thread of its own; takes a new one after an overrun. For one asking thread."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._inbox: SimpleQueue[_Answer[object] | None] | None = None

    def __call__(self, name: str, call: Callable[[], T], seconds: float) -> T:
        """What the call returns or raises. Raises OverrunError."""
        if self._inbox is None:
            self._inbox = SimpleQueue()
            threading.Thread(target=_serve, args=(self._inbox,), name=self._name, daemon=True).start()
        answer = _Answer(call)
        self._inbox.put(answer)  # type: ignore[arg-type]
        try:
            return answer.wait(seconds)
        except Empty:
            self.close()  # the stuck thread ends when its call does, if ever
            raise OverrunError(name, seconds) from None

    def close(self) -> None:
        if self._inbox is not None:
            self._inbox.put(None)
            self._inbox = None


def bounded(name: str, call: Callable[[], T], seconds: float) -> T:
    """One such call, for those who make few: what it returns or raises. Raises OverrunError."""
    calls = BoundedCalls(name)
    try:
        return calls(name, call, seconds)
    finally:
        calls.close()


def _serve(inbox: SimpleQueue[_Answer[object] | None]) -> None:
    while (answer := inbox.get()) is not None:
        answer.work()
