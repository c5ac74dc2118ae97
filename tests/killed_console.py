"""A console that kills itself: the nth time that a write comes to a point. Run as a program by tests.

KILL_AT: `fenced` (it has taken over, nothing is sent), `sent` (all is sent, nothing is committed), `committed` (nothing
is answered); KILL_NUMBER: which write. Without them it is a console like any other.
"""

from __future__ import annotations

import os
import signal
import sys
from typing import Any

from tocsin.console.main import run_console
from tocsin.console.store import Store

POINTS = ("fenced", "sent", "committed")


def main() -> int:
    wanted, number = os.environ.get("KILL_AT", ""), int(os.environ.get("KILL_NUMBER", "1"))
    writes = 0
    send = Store._send

    def reached(point: str) -> None:
        if point == wanted and writes == number:
            os.kill(os.getpid(), signal.SIGKILL)

    def killed_send(self: Store, *given: Any) -> None:
        nonlocal writes
        writes += 1
        reached("fenced")
        self._before_commit = lambda change: reached("sent")
        send(self, *given)
        reached("committed")

    Store._send = killed_send  # type: ignore[method-assign]
    return run_console()


if __name__ == "__main__":
    sys.exit(main())
