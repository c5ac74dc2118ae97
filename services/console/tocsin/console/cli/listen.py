"""`tocsin listen`: a receiver for whoever integrates. It verifies signatures, shows what came, and can misbehave."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import click
from aiohttp import web
from rich.console import Console
from rich.text import Text

from tocsin.console.receiver import NO_SECRET, History, Request, Seen, Verifier, as_json, body_lines, headline
from tocsin.shared.clock import SystemClock
from tocsin.shared.errors import SettingsError

SECRET_VARIABLE = "TOCSIN_LISTEN_SECRET"  # noqa: S105  the name of a variable
MAX_BODY_BYTES = 8 << 20


@dataclass(frozen=True, slots=True)
class Behaviour:
    """How to answer. Without a fail rate a status other than success is given to all."""

    status: int | None = None
    delay: float = 0.0  # seconds before the answer
    fail_rate: float | None = None
    retry_after: str | None = None  # of answers that are no success

    def answer(self, dice: Callable[[], float]) -> int:
        if self.fail_rate is None:
            return self.status or 200
        return (self.status or 500) if dice() < self.fail_rate else 200


@dataclass
class Listener:
    """Takes requests until enough have been verified, or for ever."""

    verifier: Verifier
    behaviour: Behaviour
    show: Callable[[Seen], None]
    once: int | None = None
    done: asyncio.Event = field(default_factory=asyncio.Event)
    history: History = field(default_factory=History)
    dice: Callable[[], float] = random.random
    _counted: int = 0

    async def handle(self, incoming: web.Request) -> web.Response:
        body = await incoming.read()
        headers = {name.lower(): value for name, value in incoming.headers.items()}
        request = Request(incoming.method, incoming.path_qs, headers, body, SystemClock().now_ms())
        why_not = self.verifier.why_not(headers, body)
        status = self.behaviour.answer(self.dice)
        # A forged request must not make the genuine one look like a repeat.
        counts = why_not in (None, NO_SECRET)
        repeat = counts and self.history.is_repeat(headers.get("webhook-id", ""))
        seen = Seen(request, why_not is None, why_not, repeat, status)
        self.show(seen)
        if self.behaviour.delay:
            await asyncio.sleep(self.behaviour.delay)
        if seen.verified and not seen.repeat:
            self._counted += 1
            if self.once is not None and self._counted >= self.once:
                self.done.set()
        failed = not 200 <= status < 300
        answer_headers = {"Retry-After": self.behaviour.retry_after} if failed and self.behaviour.retry_after else None
        return web.Response(status=status, headers=answer_headers)


async def serve(listener: Listener, host: str, port: int, announce: Callable[[str], None]) -> None:
    """Until the listener is done or the process is asked to stop; answers in flight are finished."""
    application = web.Application(client_max_size=MAX_BODY_BYTES)
    application.router.add_route("*", "/{path:.*}", listener.handle)
    runner = web.AppRunner(application, access_log=None, handle_signals=False, shutdown_timeout=5.0)
    await runner.setup()
    try:
        site = web.TCPSite(runner, host, port, backlog=512)
        try:
            await site.start()
        except OSError as error:
            # asyncio wraps the reason in a sentence of its own; a name that does not resolve has no errno.
            reason = os.strerror(error.errno) if error.errno and error.errno > 0 else error.strerror
            raise SettingsError(f"cannot listen on {host} port {port}: {reason}") from None
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, listener.done.set)
        shown = f"[{host}]" if ":" in host else host
        announce(f"http://{shown}:{runner.addresses[0][1]}/")
        await listener.done.wait()
    finally:
        await runner.cleanup()


def read_secrets(given: tuple[str, ...], secret_file: Path | None) -> list[str]:
    """Of the options, else of the environment."""
    secrets = list(given)
    if secret_file is not None:
        try:
            secrets.append(secret_file.read_text(encoding="utf-8").strip())
        except (OSError, UnicodeDecodeError) as error:
            raise click.UsageError(f"--secret-file {secret_file} can't be read as text: {error}") from None
    if not secrets and (from_environment := os.environ.get(SECRET_VARIABLE)):
        secrets.append(from_environment)
    return secrets


def show_plain(seen: Seen) -> None:
    click.echo(headline(seen))
    for line in body_lines(seen.request.body):
        click.echo(f"    {line}")
    sys.stdout.flush()


def show_json(seen: Seen) -> None:
    click.echo(as_json(seen))
    sys.stdout.flush()


def show_on_terminal(console: Console) -> Callable[[Seen], None]:
    def show(seen: Seen) -> None:
        style = "green" if seen.verified else "yellow" if seen.why_not == NO_SECRET else "bold red"
        console.print(Text(headline(seen), style=style))
        for line in body_lines(seen.request.body):
            console.print(Text(f"    {line}", style="dim"))

    return show


@click.command()
@click.option("--port", type=click.IntRange(0, 65535), default=8470, show_default=True, help="0: any free one.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--secret", "given", multiple=True, help="The webhook's secret; may be given again while one is rotated.")
@click.option("--secret-file", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="Holds the secret.")
@click.option("--header", help="The secret itself is in this header (scheme: header).")
@click.option("--status", type=click.IntRange(200, 599), help="Answer this. [default: 200; 500 with --fail-rate]")
@click.option("--delay", type=click.FloatRange(0), default=0.0, help="Seconds before each answer.")
@click.option("--fail-rate", type=click.FloatRange(0, 1), help="Share of requests that get the failing status.")
@click.option("--retry-after", help="Send this Retry-After with each failure: seconds or an HTTP date.")
@click.option("--once", type=click.IntRange(1), help="Leave after so many verified requests, repeats not counted.")
@click.option("--json", "as_lines", is_flag=True, help="One JSON object a line; the first one holds the URL.")
def listen(  # noqa: PLR0913  each is an option of its own
    *,
    port: int,
    host: str,
    given: tuple[str, ...],
    secret_file: Path | None,
    header: str | None,
    status: int | None,
    delay: float,
    fail_rate: float | None,
    retry_after: str | None,
    once: int | None,
    as_lines: bool,
) -> None:
    """Receive webhooks: verify their signatures and show what came.

    The schemes `standard` and `github` are told apart by what comes; for `ed25519` give the public key (whpk_…).
    The secret comes from --secret, --secret-file or the environment variable TOCSIN_LISTEN_SECRET; without one,
    nothing is verified. The URL is printed first.
    """
    secrets = read_secrets(given, secret_file)
    if once is not None and not secrets:
        raise click.UsageError("--once counts verified requests: give the secret too")
    show, announce = _output(as_lines, bool(secrets))
    behaviour = Behaviour(status, delay, fail_rate, retry_after)
    verifier = Verifier(secrets, header)

    async def run() -> None:
        await serve(Listener(verifier, behaviour, show, once), host, port, announce)

    asyncio.run(run())


def _output(as_lines: bool, verifying: bool) -> tuple[Callable[[Seen], None], Callable[[str], None]]:
    def announce_json(url: str) -> None:
        click.echo(json.dumps({"url": url}))
        sys.stdout.flush()

    def announce(url: str) -> None:
        note = "" if verifying else "  (no secret given: signatures are not verified)"
        click.echo(f"listening on {url}{note}")
        sys.stdout.flush()

    if as_lines:
        return show_json, announce_json
    return (show_on_terminal(Console()) if sys.stdout.isatty() else show_plain), announce
