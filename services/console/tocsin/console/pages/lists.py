"""Lists that go on: the same cursors as the API's."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar
from urllib.parse import urlencode

from aiohttp import web

from tocsin.console.api.requests import cursor_of, encode_cursor, paged

T = TypeVar("T")


def page_of(
    request: web.Request, items: Iterable[T], key: Callable[[T], str], limit: int
) -> tuple[list[T], list[Any] | None]:
    """One page in ascending order of a text key, and the key to go on after."""
    after = cursor_of(request, str)
    page, last = paged(items, key, after[0] if after else None, limit)
    return page, None if last is None else [last]


def next_url(request: web.Request, key: Sequence[Any] | None) -> str | None:
    """The page after this one, with the same filters."""
    if key is None:
        return None
    query = {**request.query, "cursor": encode_cursor(key)}
    return f"{request.path}?{urlencode(query)}"
