"""Memory that is free goes back to the system.

librdkafka takes and frees a piece a message on threads of its own. While a backlog is read at full speed that is some
hundred megabytes, and glibc keeps what was freed for ever, because a few of the pieces are still in use.
"""

from __future__ import annotations

import ctypes
from contextlib import suppress
from typing import Any

_trim: Any = None
with suppress(AttributeError, OSError, TypeError):  # another C library has none
    _trim = ctypes.CDLL(None).malloc_trim


def free_memory() -> None:
    """Takes some milliseconds; other threads go on meanwhile."""
    if _trim is not None:
        _trim(ctypes.c_size_t(0))
