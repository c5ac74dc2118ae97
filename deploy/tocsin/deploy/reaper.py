"""The process that outlives a supervisor by a few seconds, and takes its children along.

A supervisor holds the writing end of this process's stdin; children report themselves there before they become what
they are ("+123"), and the supervisor takes them off when they have ended ("-123"). The end of the pipe means that the
supervisor is gone, however it went: kill -9 and a closed terminal included.

Standard library only, and run by path: it must be there within milliseconds.
"""

from __future__ import annotations

import os
import signal
import sys
import time

POLL_SECONDS = 0.05


def follow(lines: list[bytes], groups: set[int]) -> None:
    for line in lines:
        if line[:1] == b"+":
            groups.add(int(line[1:]))
        elif line[:1] == b"-":
            groups.discard(int(line[1:]))


def tell(groups: set[int], number: int) -> None:
    for group in sorted(groups):
        try:
            os.killpg(group, number)
        except ProcessLookupError:
            groups.discard(group)
        except PermissionError:  # macOS says this of a group that has only zombies left
            groups.discard(group)


def reap(groups: set[int], grace: float) -> None:
    tell(groups, signal.SIGTERM)
    tell(groups, signal.SIGCONT)  # a stopped process can't hear SIGTERM
    deadline = time.monotonic() + grace
    while groups and time.monotonic() < deadline:
        time.sleep(POLL_SECONDS)
        tell(groups, 0)
    tell(groups, signal.SIGKILL)


def main() -> None:
    grace = float(sys.argv[1])
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # it goes when the supervisor goes, not with it
    groups: set[int] = set()
    rest = b""
    while chunk := os.read(0, 4096):
        *lines, rest = (rest + chunk).split(b"\n")
        follow(lines, groups)
    reap(groups, grace)


if __name__ == "__main__":
    main()
