"""A receiver of webhooks as a customer would build it: verifies with the third-party `standardwebhooks` package."""

from __future__ import annotations

import threading
import time
from collections import Counter
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType

from standardwebhooks import Webhook, WebhookVerificationError


@dataclass(frozen=True)
class Received:
    """One request, as it came."""

    id: str
    body: bytes
    verified: bool
    method: str
    headers: dict[str, str]
    at: float  # monotonic seconds


class Receiver:
    """Answers 204 on 127.0.0.1 and keeps every request."""

    def __init__(self, secret: str, status: int = 204, delay: float = 0.0) -> None:
        self.requests: list[Received] = []
        self.status = status
        self.delay = delay
        webhook = Webhook(secret)
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _take(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                headers = {name.lower(): value for name, value in self.headers.items()}
                try:
                    webhook.verify(body, headers)
                    verified = True
                except WebhookVerificationError:
                    verified = False
                receiver.requests.append(
                    Received(headers.get("webhook-id", ""), body, verified, self.command, headers, time.monotonic())
                )
                if receiver.delay:
                    time.sleep(receiver.delay)  # part of what it simulates: a slow receiver
                self.send_response(receiver.status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            do_POST = _take
            do_PUT = _take

            def log_message(self, format: str, *args: object) -> None:
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 256

            def handle_error(self, request: object, client_address: object) -> None:
                pass  # senders get killed in the middle of requests here

        self._server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/hook"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def repeats(self) -> dict[str, int]:
        """Ids that came more than once, and how often."""
        return {id_: count for id_, count in Counter(one.id for one in self.requests).items() if count > 1}

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def __enter__(self) -> Receiver:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
