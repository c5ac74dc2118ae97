"""`/-/healthy`, `/-/ready` and `/metrics` on a thread of their own, so that a busy loop does not look dead.

Healthy: the process can make progress; not so → restart it. Ready: it does its work now; not so → wait.
"""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from tocsin.shared.errors import SettingsError


class Health:
    """What stands in the way, by name. Nothing in the way: ready."""

    def __init__(self, *waiting_for: str) -> None:
        self._lock = threading.Lock()
        self._not_ready: dict[str, str] = dict.fromkeys(waiting_for, "starting")
        self._not_healthy: dict[str, str] = {}

    def waiting(self, name: str, why: str) -> None:
        with self._lock:
            self._not_ready[name] = why

    def ready(self, name: str) -> None:
        with self._lock:
            self._not_ready.pop(name, None)

    def failed(self, name: str, why: str) -> None:
        with self._lock:
            self._not_healthy[name] = why

    def recovered(self, name: str) -> None:
        with self._lock:
            self._not_healthy.pop(name, None)

    def report(self, path: str) -> tuple[int, str, bytes] | None:
        """Status, content type and body of one of the three pages; None for any other path."""
        if path == "/metrics":
            return 200, CONTENT_TYPE_LATEST, generate_latest()
        with self._lock:
            if path == "/-/healthy":
                problems = dict(self._not_healthy)
            elif path == "/-/ready":
                problems = {**self._not_healthy, **self._not_ready}
            else:
                return None
        body = {"status": "ok"} if not problems else {"status": "not ok", "because": problems}
        return (503 if problems else 200), "application/json", json.dumps(body).encode()


class HealthServer:
    """Serves a Health until closed. Raises SettingsError when the address can't be had."""

    def __init__(self, health: Health, host: str, port: int) -> None:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                status, content_type, body = health.report(self.path.partition("?")[0]) or (404, "text/plain", b"")
                self.send_response(status)
                self.send_header("Content-Type", content_type)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002  the base class's name
                pass

        try:
            self._server = ThreadingHTTPServer((host, port), Handler)
        except OSError as error:
            raise SettingsError(
                f"cannot listen on {host}:{port}: {error.strerror}; choose another TOCSIN_HTTP_HOST or TOCSIN_HTTP_PORT"
            ) from None
        self._server.daemon_threads = True
        self.port: int = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, name="health", daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
