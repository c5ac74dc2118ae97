"""Ports on 127.0.0.1, and waiting until something answers on one."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from datetime import timedelta

HOST = "127.0.0.1"
POLL_SECONDS = 0.03


def free_port(preferred: int | None = None) -> int:
    """A port nobody has right now: the preferred one when it is free. It can be lost again before it is used."""
    if preferred is not None and is_free(preferred):
        return preferred
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port


def is_free(port: int) -> bool:
    with socket.socket() as probe:
        # As servers do it: what lingers from connections of the last run doesn't occupy the port.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
        return True


def answers(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1.0)
        return probe.connect_ex((HOST, port)) == 0


def wait_until(condition: Callable[[], bool], timeout: timedelta) -> bool:
    """False when it didn't come true in time."""
    deadline = time.monotonic() + timeout.total_seconds()
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL_SECONDS)
    return True
