"""Recorded files: looked through once, then played in order of time, streamed where they are already sorted."""

from __future__ import annotations

import gzip
import heapq
import zlib
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from io import TextIOWrapper
from pathlib import Path
from typing import IO, cast

from tocsin.ingest.core.recordings import Columns, Flaw, Recorded, parse_csv, parse_ndjson
from tocsin.shared.errors import UsageError

_SNIFF = 4096

UNREADABLE = (OSError, EOFError, zlib.error)
"""What reading a file raises when it cannot be opened, or is packed and has been cut or damaged."""

OnFlaw = Callable[[Path, Flaw], None]


@dataclass
class Scan:
    """What one look through a file has shown."""

    path: Path
    messages: int = 0
    readings: int = 0
    flaws: int = 0
    is_sorted: bool = True
    oldest: int | None = None  # epoch ms
    newest: int | None = None  # of any reading, also inside reports
    last: int | None = field(default=None, repr=False)

    def add(self, recorded: Recorded) -> None:
        self.messages += 1
        self.readings += len(recorded.good)
        self.is_sorted = self.is_sorted and (self.last is None or self.last <= recorded.time)
        self.last = recorded.time
        times = [one.time for one in recorded.good]
        self.oldest = min(times) if self.oldest is None else min(self.oldest, *times)
        self.newest = max(times) if self.newest is None else max(self.newest, *times)


def scan(path: Path, columns: Columns, on_flaw: OnFlaw) -> Scan:
    """Every line is checked; `on_flaw` may raise to stop. Raises UsageError naming the file."""
    found = Scan(path)
    for one in read(path, columns):
        if isinstance(one, Flaw):
            found.flaws += 1
            on_flaw(path, one)
        else:
            found.add(one)
    return found


def merged(scans: list[Scan], columns: Columns) -> Iterator[Recorded]:
    """All files by time; equal times in the order of the files, and of their lines."""
    return heapq.merge(*(_in_order(one, columns) for one in scans), key=lambda recorded: recorded.time)


def _in_order(one: Scan, columns: Columns) -> Iterator[Recorded]:
    good = (recorded for recorded in read(one.path, columns) if isinstance(recorded, Recorded))
    if one.is_sorted:
        return good
    return iter(sorted(good, key=lambda recorded: recorded.time))  # in memory: there is no other way


def read(path: Path, columns: Columns) -> Iterator[Recorded | Flaw]:
    """NDJSON where the first thing is a brace, else CSV; `.gz` is unpacked. Raises UsageError naming the file."""
    try:
        with closing(open_file(path)) as file:
            if is_ndjson(path):
                yield from parse_ndjson(file)
            else:
                # Bytes that are not UTF-8 are refused where they stand, not with the whole file.
                text = TextIOWrapper(file, encoding="utf-8-sig", errors="surrogateescape", newline="")
                yield from parse_csv(text, columns.of_file(stem_of(path)))
    except UsageError as error:
        raise UsageError(f"{path}: {error}") from None
    except UNREADABLE as error:
        raise UsageError(f"{path}: cannot be read: {error}") from None


def stem_of(path: Path) -> str:
    """What `{file}` stands for."""
    return path.name.removesuffix(".gz").rpartition(".")[0] or path.name


def open_file(path: Path) -> IO[bytes]:
    """Its bytes, unpacked."""
    return cast("IO[bytes]", gzip.open(path)) if path.suffix == ".gz" else path.open("rb")


def is_ndjson(path: Path) -> bool:
    """Whether the first thing in it is a brace."""
    with closing(open_file(path)) as file:
        return file.read(_SNIFF).removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"{")
