"""gzip undone, never further than allowed: a small body can hold gigabytes."""

from __future__ import annotations

import zlib
from dataclasses import dataclass

_GZIP = 16 + zlib.MAX_WBITS
_MAX_MEMBERS = 100
"""Each member costs a copy of what follows it, so thousands of empty ones would be a bomb of another kind."""


@dataclass(frozen=True, slots=True)
class TooLong:
    """The content is longer than allowed."""

    limit: int


@dataclass(frozen=True, slots=True)
class NotGzip:
    """The bytes are not gzip, or end too early."""

    detail: str


def inflate(data: bytes, limit: int) -> bytes | TooLong | NotGzip:
    """The content of one or more gzip members; at most `limit` + 1 bytes are ever made."""
    content = bytearray()
    rest = data
    for _ in range(_MAX_MEMBERS):
        member = zlib.decompressobj(_GZIP)
        try:
            content += member.decompress(rest, limit + 1 - len(content))
        except zlib.error as error:
            return NotGzip(str(error))
        if len(content) > limit:
            return TooLong(limit)
        if not member.eof:
            return NotGzip("the gzip stream ends too early")
        rest = member.unused_data
        if not rest:
            return bytes(content)
    return NotGzip(f"more than {_MAX_MEMBERS} gzip members")
