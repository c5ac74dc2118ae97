"""Sends readings through the gateway as a careful client does: the same batch again until it has been answered 202."""

from __future__ import annotations

import json
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from typing import Any


class Feeder:
    """One thread, batches in order, at a steady pace."""

    def __init__(self, url: str, api_key: str, batches: Sequence[Sequence[dict[str, Any]]], seconds: float) -> None:
        self._url = url
        self._key = api_key
        self._batches = batches
        self._pause = seconds / len(batches)
        self.sent = 0
        self.tries = 0
        self.failure: str | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def join(self, timeout: float) -> None:
        self._thread.join(timeout)
        assert not self._thread.is_alive(), f"only {self.sent} of {len(self._batches)} batches were taken"
        assert self.failure is None, self.failure

    def _run(self) -> None:
        for batch in self._batches:
            due = time.monotonic() + self._pause
            body = json.dumps(batch).encode()
            until = time.monotonic() + 60
            while not self._post(body):
                if time.monotonic() > until or self.failure:
                    self.failure = self.failure or "a batch was not taken within 60 s"
                    return
                time.sleep(0.1)
            self.sent += 1
            time.sleep(max(0.0, due - time.monotonic()))

    def _post(self, body: bytes) -> bool:
        self.tries += 1
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {self._key}"}
        request = urllib.request.Request(self._url, data=body, headers=headers, method="POST")
        try:
            with urllib.request.urlopen(request, timeout=20) as answer:
                return bool(answer.status == 202)
        except urllib.error.HTTPError as error:
            if error.code not in (429, 503):
                self.failure = f"the gateway answered {error.code}: {error.read()[:500]!r}"
            return False
        except OSError:
            return False  # it is being killed
