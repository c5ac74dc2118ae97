"""What services on an event loop share: the fastest loop there is, the wish to stop, a port to listen on."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING

from tocsin.shared.errors import SettingsError
from tocsin.shared.lifecycle import Lifecycle

if TYPE_CHECKING:
    from aiohttp import web


def new_event_loop() -> asyncio.AbstractEventLoop:
    if sys.platform == "win32":
        return asyncio.new_event_loop()
    import uvloop  # noqa: PLC0415  not on Windows

    return uvloop.new_event_loop()


def stop_event(life: Lifecycle) -> asyncio.Event:
    """Set, on the running loop, when the process is asked to stop."""
    event = asyncio.Event()
    loop = asyncio.get_running_loop()

    def stop() -> None:
        loop.call_soon_threadsafe(event.set)

    life.on_stop(stop)
    if life.stopping.is_set():
        event.set()
    return event


async def listen(runner: web.AppRunner, host: str, port: int, setting: str) -> int:
    """The port it listens on. Raises SettingsError naming the port's setting, the runner cleaned up."""
    from aiohttp import web  # noqa: PLC0415  most of the commands never listen

    await runner.setup()
    try:
        await web.TCPSite(runner, host, port, reuse_address=True).start()
    except OSError as error:
        await runner.cleanup()
        raise SettingsError(f"cannot listen: {error}; choose another {setting}") from None
    return int(runner.addresses[0][1])
