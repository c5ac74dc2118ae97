"""The same line over and over: logged once, then once in a while with how often it came."""

from __future__ import annotations

import logging
import re
import threading
import time
from collections.abc import Callable

_NUMBERS = re.compile(r"\d+")
_MAX_KINDS = 256

EVERY_SECONDS = 30.0


class RepeatFilter(logging.Filter):
    """Lines that differ in numbers only count as the same."""

    def __init__(self, every_seconds: float = EVERY_SECONDS, monotonic: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._every = every_seconds
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._seen: dict[str, tuple[float, int]] = {}  # when it was shown last, how many have been held back since

    def filter(self, record: logging.LogRecord) -> bool:
        text = record.getMessage()
        kind = _NUMBERS.sub("#", text)
        with self._lock:
            now = self._monotonic()
            shown, held = self._seen.get(kind, (now - self._every, 0))
            if now - shown < self._every:
                self._seen[kind] = (shown, held + 1)
                return False
            if len(self._seen) >= _MAX_KINDS:
                self._seen.clear()
            self._seen[kind] = (now, 0)
        if held:
            record.msg, record.args = f"{text} (and {held} more like it)", ()
        return True
