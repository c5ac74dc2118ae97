"""The process that outlives a supervisor by a few seconds, and takes its children along.

A supervisor holds the writing end of this process's stdin. Its children are reported there, by themselves before they
become what they shall be ("+123"), and it takes them off when they have ended ("-123"). The end of the pipe means that
the supervisor is gone, however it went: kill -9 and a closed terminal included. Should somebody else hold the pipe open
(a child stopped before it became anything, a forked copy), then the death of the parent tells the same a second later.

Standard library only, and run by path: it must be there within milliseconds.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import time
from collections.abc import Iterator

POLL_SECONDS = 0.05
PARENT_POLL_SECONDS = 0.5
LAST_WORDS_SECONDS = 1.0  # for a child just being born, to report itself


def follow(line: bytes, groups: set[int]) -> None:
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


def reports(parent: int) -> Iterator[bytes]:
    """Lines from the pipe, until it ends or the parent has."""
    rest = b""
    orphaned_at: float | None = None
    while orphaned_at is None or time.monotonic() < orphaned_at + LAST_WORDS_SECONDS:
        if select.select([0], [], [], PARENT_POLL_SECONDS)[0]:
            chunk = os.read(0, 4096)
            if not chunk:
                return
            *lines, rest = (rest + chunk).split(b"\n")
            yield from lines
        if orphaned_at is None and os.getppid() != parent:
            orphaned_at = time.monotonic()


def main() -> None:
    parent, grace = int(sys.argv[1]), float(sys.argv[2])
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # it goes when the supervisor goes, not with it
    groups: set[int] = set()
    for line in reports(parent):
        follow(line, groups)
    reap(groups, grace)


if __name__ == "__main__":
    main()
