"""Calls that must come back."""

from __future__ import annotations

import threading

import pytest

from tocsin.shared.bounded import BoundedCalls, OverrunError


def test_a_call_that_comes_back_gives_what_it_returned() -> None:
    calls = BoundedCalls("test")
    assert calls("adding", lambda: 1 + 1, 5) == 2
    calls.close()


def test_what_a_call_raises_is_raised_where_it_was_asked_for() -> None:
    calls = BoundedCalls("test")
    with pytest.raises(ZeroDivisionError):
        calls("dividing", lambda: 1 / 0, 5)
    calls.close()


def test_a_stuck_call_is_given_up_and_the_next_one_is_made_on_another_thread() -> None:
    calls, release, first = BoundedCalls("test"), threading.Event(), threading.get_ident()
    with pytest.raises(OverrunError, match="sending did not come back within 0 s"):
        calls("sending", release.wait, 0.05)
    assert calls("asking", threading.get_ident, 5) != first
    release.set()
    calls.close()
