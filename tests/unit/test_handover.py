"""A reader that is woken once for many: never late for what is urgent, and never asleep beside what it waits for."""

from __future__ import annotations

import threading
import time

from tocsin.dispatcher.handover import Handover


def _all(handover: Handover[int]) -> list[int]:
    found = []
    while (item := handover.take()) is not None:
        found.append(item)
    return found


def test_the_reader_waits_for_as_many_as_it_asked_for_and_gets_all_there_are() -> None:
    handover: Handover[int] = Handover()
    woken = threading.Event()

    def read() -> None:
        handover.wait(3)
        woken.set()

    reader = threading.Thread(target=read)
    reader.start()
    handover.put(1)
    handover.put(2)
    assert not woken.wait(0.1)
    handover.put(3)
    assert woken.wait(5)
    reader.join(5)
    handover.put(4)
    assert _all(handover) == [1, 2, 3, 4]


def test_it_waits_no_longer_than_it_said() -> None:
    handover: Handover[int] = Handover()
    handover.put(1)
    started = time.monotonic()
    handover.wait(2, 0.05)
    assert 0.05 <= time.monotonic() - started < 5
    assert _all(handover) == [1]


def test_an_urgent_one_is_not_waited_beside_until_it_is_taken() -> None:
    handover: Handover[int] = Handover()
    handover.put(1)
    handover.put_urgent(2)
    handover.wait(100)  # would wait for ever
    assert handover.take() == 1
    handover.wait(100)
    assert handover.take() == 2
    started = time.monotonic()
    handover.wait(1, 0.05)  # nothing is urgent any more
    assert time.monotonic() - started >= 0.05


def test_an_urgent_one_wakes_a_reader_that_waits() -> None:
    handover: Handover[int] = Handover()
    reader = threading.Thread(target=handover.wait, args=(100,))
    reader.start()
    handover.put_urgent(1)
    reader.join(5)
    assert not reader.is_alive()


def test_no_item_is_missed_however_the_threads_meet() -> None:
    handover: Handover[int] = Handover()
    many, writers = 20_000, 3

    def write() -> None:
        for number in range(many):
            handover.put(number)

    threads = [threading.Thread(target=write) for _ in range(writers)]
    for thread in threads:
        thread.start()
    got = 0
    while got < many * writers:
        handover.wait(1, 10)
        found = _all(handover)
        assert found, "woken by time, beside items or for none"
        got += len(found)
    for thread in threads:
        thread.join(5)
    assert handover.take() is None
