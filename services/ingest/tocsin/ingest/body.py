"""A request's body, read and inflated within bounds."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from aiohttp import StreamReader, web

from tocsin.ingest import answers
from tocsin.ingest.answers import Refusal
from tocsin.ingest.core.admission import Lease
from tocsin.ingest.core.inflate import NotGzip, TooLong, inflate

_JSON = ("application/json", "text/json")
_LINES = ("application/x-ndjson", "application/ndjson", "application/jsonl", "application/x-jsonlines")
_UNSAID = ("application/x-www-form-urlencoded", "application/octet-stream", "text/plain")
"""What clients send when nobody has told them (`curl -d` the first): taken for JSON, the body shows which form."""

_CHUNK = 1 << 16


class _Request(Protocol):
    """What is needed of aiohttp's request."""

    @property
    def headers(self) -> Mapping[str, str]: ...
    @property
    def content_length(self) -> int | None: ...
    @property
    def content(self) -> StreamReader: ...


@dataclass(frozen=True, slots=True)
class Media:
    """How a body is to be understood."""

    lines: bool
    gzip: bool


def media_of(headers: Mapping[str, str]) -> Media | Refusal:
    """From Content-Type and Content-Encoding; no Content-Type counts as JSON."""
    given, _, parameters = headers.get("Content-Type", _JSON[0]).partition(";")
    kind = given.strip().lower()
    if kind not in _JSON + _LINES + _UNSAID:
        return answers.unsupported(f"Content-Type must be {_JSON[0]} or {_LINES[0]}, not {kind[:100]!r}")
    named = (part.partition("=") for part in parameters.lower().split(";"))
    charset = next((value.strip().strip('"') for name, _, value in named if name.strip() == "charset"), "utf-8")
    if charset not in ("utf-8", "utf8", "us-ascii"):
        return answers.unsupported("the charset must be utf-8")
    encoding = headers.get("Content-Encoding", "identity").strip().lower()
    if encoding not in ("identity", "gzip", "x-gzip", ""):
        return answers.unsupported(f"Content-Encoding must be gzip or none, not {encoding[:100]!r}")
    return Media(lines=kind in _LINES, gzip=encoding in ("gzip", "x-gzip"))


async def read_body(
    request: web.Request | _Request, media: Media, lease: Lease, limit: int, timeout_seconds: float
) -> bytes | Refusal:
    """The content, inflated; every byte of it is taken from `lease` before it is held."""
    if request.content_length is not None and request.content_length > limit:
        return answers.too_large(limit)
    try:
        async with asyncio.timeout(timeout_seconds):
            body = await _read(request.content, lease, limit)
    except TimeoutError:
        return answers.slow()
    if isinstance(body, Refusal) or not media.gzip:
        return body
    # What will come out is not known before: room for all that is allowed, and what was too much goes back.
    if not lease.take(limit):
        return answers.busy()
    content = inflate(body, limit)
    match content:
        case TooLong():
            return answers.too_large(limit)
        case NotGzip(detail):
            return answers.bad_gzip(detail)
    lease.put_back(limit + len(body) - len(content))
    return content


async def _read(content: StreamReader, lease: Lease, limit: int) -> bytes | Refusal:
    body = bytearray()
    async for chunk in content.iter_chunked(_CHUNK):
        if len(body) + len(chunk) > limit:
            return answers.too_large(limit)
        if not lease.take(len(chunk)):
            return answers.busy()
        body += chunk
    return bytes(body)
