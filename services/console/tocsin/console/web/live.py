"""`/live`: what has changed, as server-sent events. A stream that was cut off resumes where it was.

`?topics=deliveries systems` says what the page is about; without it, everything is told.
"""

from __future__ import annotations

import json
from contextlib import aclosing, suppress

from aiohttp import web

from tocsin.console.models.hub import RELOAD, Notice
from tocsin.console.web.context import console

MOST_WANTED = 50


async def live(request: web.Request) -> web.StreamResponse:
    """Ends when the browser goes, or the console stops."""
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "X-Accel-Buffering": "no"})
    with suppress(ConnectionResetError):  # the browser has gone
        await response.prepare(request)
        await response.write(b"retry: 2000\n\n")
        wanted = frozenset(request.query.get("topics", "").split()[:MOST_WANTED])
        watching = console(request).hub.watch(request.headers.get("Last-Event-ID", ""), wanted)
        async with aclosing(watching):
            async for notice in watching:
                await response.write(_line(notice))
    return response


def _line(notice: Notice | None) -> bytes:
    if notice is None:
        return b": still here\n\n"
    event = "reload" if notice.topics is None or RELOAD in notice.topics else "changed"
    return f"id: {notice.id}\nevent: {event}\ndata: {json.dumps(notice.topics or [])}\n\n".encode()
