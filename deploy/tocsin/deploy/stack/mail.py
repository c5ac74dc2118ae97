"""A mail server for development: it takes every message, keeps it as a file, and delivers none.

As a process: `python -m tocsin.deploy.stack.mail --directory DIR --port PORT`. In tests: `MailSink(directory)`.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import signal
import threading
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default as modern
from pathlib import Path
from types import TracebackType
from typing import Any

from aiosmtpd.smtp import SMTP, Envelope, Session

from tocsin.deploy.stack.ports import HOST
from tocsin.shared.clock import Clock, SystemClock

INDEX = "index.jsonl"
LARGEST_MESSAGE_BYTES = 32 * 1024 * 1024

Verdict = Callable[[str, Sequence[str]], str | None]
"""(sender, recipients) → None to take the message, or the SMTP reply to refuse it with: "450 4.7.1 come back later"."""


def take_all(_sender: str, _recipients: Sequence[str]) -> str | None:
    return None


@dataclass(frozen=True, slots=True)
class Mail:
    """One kept message, as its line in the index has it."""

    number: int
    file: str
    time_ms: int
    sender: str
    recipients: tuple[str, ...]
    subject: str
    message_id: str


def read_index(directory: Path) -> list[Mail]:
    """What came so far, oldest first. A line still being written is left for the next time."""
    index = directory / INDEX
    if not index.exists():
        return []
    lines = index.read_text(encoding="utf-8").split("\n")[:-1]
    records = [json.loads(line) for line in lines]
    return [Mail(**{**record, "recipients": tuple(record["recipients"])}) for record in records]


def read_message(directory: Path, mail: Mail) -> EmailMessage:
    message = message_from_bytes((directory / mail.file).read_bytes(), policy=modern)
    assert isinstance(message, EmailMessage)
    return message


class _Store:
    """The folder: the message's file is complete before its line is in the index."""

    def __init__(self, directory: Path, clock: Clock) -> None:
        self._directory = directory
        self._clock = clock
        directory.mkdir(parents=True, exist_ok=True)
        kept = [int(path.stem) for path in directory.glob("*.eml") if re.fullmatch(r"\d+", path.stem)]
        self._last = max(kept, default=0)

    def keep(self, sender: str, recipients: Sequence[str], content: bytes) -> Mail:
        self._last += 1
        name = f"{self._last:04d}.eml"
        unfinished = self._directory / f"{name}.part"
        unfinished.write_bytes(content)
        os.replace(unfinished, self._directory / name)
        message = message_from_bytes(content, policy=modern)
        mail = Mail(
            number=self._last,
            file=name,
            time_ms=self._clock.now_ms(),
            sender=sender,
            recipients=tuple(recipients),
            subject=str(message["subject"] or ""),
            message_id=str(message["message-id"] or ""),
        )
        with open(self._directory / INDEX, "a", encoding="utf-8") as index:
            index.write(json.dumps(asdict(mail), ensure_ascii=False) + "\n")
        return mail


class _Handler:
    def __init__(self, store: _Store, verdict: Verdict, show: Callable[[Mail], None]) -> None:
        self._store = store
        self._verdict = verdict
        self._show = show

    async def handle_DATA(self, _server: SMTP, _session: Session, envelope: Envelope) -> str:  # noqa: N802 - its name
        sender, recipients = envelope.mail_from or "", envelope.rcpt_tos
        refusal = self._verdict(sender, recipients)
        if refusal is not None:
            return refusal
        content = envelope.original_content or b""
        self._show(self._store.keep(sender, recipients, content))
        return "250 2.0.0 kept"


class MailSink:
    """The server on a thread of its own. `port` is known once it has started."""

    def __init__(
        self,
        directory: Path,
        *,
        port: int = 0,
        verdict: Verdict = take_all,
        show: Callable[[Mail], None] = lambda _: None,
        clock: Clock | None = None,
    ) -> None:
        self.directory = directory
        self.port = port
        self._handler = _Handler(_Store(directory, clock or SystemClock()), verdict, show)
        self._loop = asyncio.new_event_loop()
        self._server: asyncio.Server | None = None
        self._thread = threading.Thread(target=self._loop.run_forever, name="mail-sink", daemon=True)

    def start(self) -> MailSink:
        self._thread.start()
        try:
            self._server = asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result()
        except OSError:
            self._end_loop()
            raise
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    def stop(self) -> None:
        if self._server is not None:
            asyncio.run_coroutine_threadsafe(self._hang_up(self._server), self._loop).result()
            self._server = None
            self._end_loop()

    def mails(self) -> list[Mail]:
        return read_index(self.directory)

    def __enter__(self) -> MailSink:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    async def _listen(self) -> asyncio.Server:
        def session() -> Any:
            return SMTP(
                self._handler,
                hostname="tocsin-mail-sink",
                ident="development only",
                enable_SMTPUTF8=True,
                data_size_limit=LARGEST_MESSAGE_BYTES,
            )

        return await self._loop.create_server(session, HOST, self.port)

    async def _hang_up(self, server: asyncio.Server) -> None:
        server.close()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    def _end_loop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


def main() -> None:
    parser = argparse.ArgumentParser(prog="tocsin-mail-sink", description="Takes every message and keeps it as a file.")
    parser.add_argument("--directory", type=Path, required=True)
    parser.add_argument("--port", type=int, default=0)
    options = parser.parse_args()
    # Taken by sigwait below, so that no other thread may get them first.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})

    def show(mail: Mail) -> None:
        print(f"{mail.file}: {mail.sender} to {', '.join(mail.recipients)}: {mail.subject}", flush=True)

    with MailSink(options.directory, port=options.port, show=show) as sink:
        print(f"listening on {HOST}:{sink.port}", flush=True)
        signal.sigwait({signal.SIGTERM, signal.SIGINT})


if __name__ == "__main__":
    main()
