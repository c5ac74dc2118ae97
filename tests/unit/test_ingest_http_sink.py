"""The agent's way through a gateway, when what answers is no gateway."""

from __future__ import annotations

import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from support import becomes_true
from tocsin.ingest.core.backlog import Backlog
from tocsin.ingest.sinks import HttpSink
from tocsin.shared.clock import SystemClock
from tocsin.shared.telemetry.health import Health

NO_HTTP = b"220 mail.example.com ESMTP\r\n"
CUT_OFF = b'HTTP/1.1 400 Bad Request\r\nContent-Length: 500\r\n\r\n{"rej'
GOOD = b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


@contextmanager
def answering(*answers: bytes) -> Iterator[str]:
    """Gives these answers in turn, then the last one for ever."""
    left = list(answers)

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            self.request.recv(65536)
            self.wfile.write(left.pop(0) if len(left) > 1 else left[0])

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


def sink_to(url: str) -> HttpSink:
    return HttpSink(url, None, Backlog(60_000, 100), SystemClock(), Health())


def test_an_answer_that_is_no_http_is_tried_again_later() -> None:
    with answering(NO_HTTP, GOOD) as url:
        sink = sink_to(url)
        sink.put(b"{}", SystemClock().now_ms())
        assert becomes_true(lambda: sink.status().sent == 1, 10)
        sink.close(2)


def test_a_refusal_that_is_cut_off_ends_no_thread() -> None:
    with answering(CUT_OFF, GOOD) as url:
        sink = sink_to(url)
        sink.put(b"{}", SystemClock().now_ms())
        assert becomes_true(lambda: sink.status().waiting == 0, 10)
        sink.put(b"{}", SystemClock().now_ms())
        assert becomes_true(lambda: sink.status().sent == 2, 10)
        sink.close(2)
