"""A queue between threads that wakes its reader once for many items, and not for each.

Waking a thread costs as much as making a delivery's audit records: the kernel's part, and the interpreter's lock, which
has to be handed over and back.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from typing import Generic, TypeVar

Item = TypeVar("Item")

_NOBODY_WAITS = 1 << 60


class Handover(Generic[Item]):
    """`put` and `put_urgent` are for any thread, the rest for the one that reads."""

    def __init__(self) -> None:
        self._items: deque[tuple[Item, bool]] = deque()  # and whether it is urgent
        self._wake = threading.Event()
        self._wanted = _NOBODY_WAITS  # so many items wake the reader
        self._lock = threading.Lock()
        self._urgent = 0

    def put(self, item: Item) -> None:
        self._items.append((item, False))
        if len(self._items) >= self._wanted:
            self._wanted = _NOBODY_WAITS
            self._wake.set()

    def put_urgent(self, item: Item) -> None:
        """The reader does not wait for more before it has taken this one."""
        with self._lock:
            self._urgent += 1
        self._items.append((item, True))
        self._wake.set()

    def wait(self, count: int, timeout: float | None = None) -> None:
        """Until there are so many items, or an urgent one, or the time is over."""
        until = None if timeout is None else time.monotonic() + timeout
        while True:
            # In this order: whoever puts one after it was counted finds what is wanted.
            self._wake.clear()
            self._wanted = count
            left = None if until is None else until - time.monotonic()
            if self._urgent or len(self._items) >= count or (left is not None and left <= 0):
                break
            self._wake.wait(left)
        self._wanted = _NOBODY_WAITS

    def take(self) -> Item | None:
        """The oldest one; None when there is none now."""
        if not self._items:
            return None
        item, urgent = self._items.popleft()
        if urgent:
            with self._lock:
                self._urgent -= 1
        return item
