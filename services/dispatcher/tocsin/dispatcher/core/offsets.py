"""Which records of one partition are settled, though they finish out of order. Pure.

The committed offset is the lowest record without a durable successor. Beside it, in the same commit, its metadata
names the newest settled offset and those below it that are still open: whoever takes the partition over skips the
settled ones, so each gets exactly one terminal record.

Metadata: `1:<newest>:<base64url of LEB128 gaps>`, the gaps being between neighbouring open offsets, the first one
counted from the committed offset.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Iterable

MAX_OPEN = 2_000
"""Half of it waits or is being sent; as many have ended, and wait for the transaction after the one on its way."""

FIT_ANYWHERE, MAX_GAP_BYTES, SPAN_OF_A_BYTE = 1_000, 2_980, 128
"""A broker takes 4,096 bytes of metadata (`offset.metadata.max.bytes`), and base64 makes four of three. A gap takes one
byte up to 127, two up to 16,383, three up to 2 million: 1,000 open ones fit wherever they stand. More fit where they
stand close together: gaps never take more bytes than there are of them, and one for each 128 offsets they span."""

MAX_METADATA = 4_000
_VERSION = "1"


class Progress:
    """One partition from its assignment on. Offsets are taken in ascending order, each once."""

    def __init__(self, committed: int | None = None, metadata: str = "") -> None:
        """`committed` is None where the group has never committed."""
        self._newest = -1
        self._open: dict[int, None] = {}  # ascending: inherited ones first, then as they are taken
        self._next = committed
        self._last = -1  # the newest one taken or skipped here
        self._low = committed  # nothing below it is open
        self._metadata_bytes = 0
        if committed is not None:
            self._newest, inherited = decode_metadata(committed, metadata)
            self._open = dict.fromkeys(inherited)

    @property
    def open(self) -> int:
        """How many have no durable successor yet."""
        return len(self._open)

    @property
    def nearly_empty(self) -> bool:
        """Below half of what it holds wherever that stands: time to take more."""
        return len(self._open) <= FIT_ANYWHERE // 2 and self._metadata_bytes <= MAX_METADATA // 2

    def settled(self, offset: int) -> bool:
        """Whether this one has its successor already, so that whoever reads it again skips it."""
        if offset in self._open:
            return False
        return offset <= self._newest or (self._next is not None and offset < self._next)

    def seen(self, offset: int) -> bool:
        """Whether it was taken or skipped in this assignment: a record read before a rebalance may come again."""
        return offset <= self._last

    def inherited(self, offset: int) -> bool:
        """Whether a predecessor left this one open: it has its room already."""
        return offset in self._open

    def admits(self, offset: int) -> bool:
        """Whether it may be taken now: inherited ones always, new ones while there is room."""
        return self.inherited(offset) or (self._fits(offset) and self._metadata_bytes < MAX_METADATA - 8)

    def _fits(self, offset: int) -> bool:
        count = len(self._open)
        if count < FIT_ANYWHERE:
            return True
        span = offset - self._low if self._low is not None else 0
        return count < MAX_OPEN and count + 1 + span // SPAN_OF_A_BYTE < MAX_GAP_BYTES

    def take(self, offset: int) -> None:
        """It is being worked on; its successor will come."""
        if self._low is None:
            self._low = offset
        self._open[offset] = None
        self._next = offset + 1
        self._last = offset

    def skip(self, offset: int) -> None:
        """It was settled before."""
        self._next = offset + 1
        self._last = offset

    def settle(self, offset: int) -> None:
        """It has its successor, in the commit that comes next."""
        del self._open[offset]
        self._newest = max(self._newest, offset)

    def judge(self, committed: int, metadata: str) -> Callable[[int | None], bool]:
        """Whether this commit has settled a record, by its offset."""
        found = Progress(committed, metadata)
        return lambda offset: offset is not None and found.settled(offset)

    def commit(self) -> tuple[int, str]:
        """(offset, metadata) to commit now. Only after something was taken or inherited."""
        assert self._next is not None
        position = next(iter(self._open)) if self._open else max(self._next, self._newest + 1)
        self._low = position
        if self._newest < position:
            self._metadata_bytes = 0
            return position, ""
        metadata = encode_metadata(position, self._newest, (offset for offset in self._open if offset < self._newest))
        self._metadata_bytes = len(metadata)
        return position, metadata


class Turns:
    """Of `delivery-parked`: its records are settled in any order, by tombstones, and no offset says which are.

    What is committed for it is a count of transactions. It shows after a failure whether one went through, and
    committing it lets the broker refuse a process that the partition no longer belongs to.
    """

    def __init__(self, committed: int | None = None) -> None:
        self._count = committed or 0

    def take(self, offset: int) -> None: ...

    def settle(self, offset: int) -> None: ...

    def commit(self) -> tuple[int, str]:
        """The next number, each time."""
        self._count += 1
        return self._count, ""

    def judge(self, committed: int, metadata: str) -> Callable[[int | None], bool]:
        """All of the last transaction's records are settled, or none."""
        went_through = committed >= self._count
        return lambda offset: went_through


def encode_metadata(committed: int, newest: int, still_open: Iterable[int]) -> str:
    """`still_open` ascending."""
    gaps = bytearray()
    previous = committed
    for offset in still_open:
        gap = offset - previous
        while gap > 0x7F:
            gaps.append(gap & 0x7F | 0x80)
            gap >>= 7
        gaps.append(gap)
        previous = offset
    return f"{_VERSION}:{newest}:{base64.urlsafe_b64encode(gaps).decode().rstrip('=')}"


def decode_metadata(committed: int, metadata: str) -> tuple[int, list[int]]:
    """(newest settled, open ones below it). What cannot be read counts as nothing settled: a repeat, not a loss."""
    nothing: tuple[int, list[int]] = (committed - 1, [])
    version, _, rest = metadata.partition(":")
    newest, _, encoded = rest.partition(":")
    if version != _VERSION or not (newest.isascii() and newest.isdigit()):
        return nothing
    try:
        gaps = base64.b64decode(encoded + "=" * (-len(encoded) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        return nothing
    still_open: list[int] = []
    offset, gap, shift = committed, 0, 0
    for byte in gaps:
        gap |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            offset += gap
            still_open.append(offset)
            gap = shift = 0
    return (int(newest), still_open) if shift == 0 else nothing
