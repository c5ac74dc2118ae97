"""Where the agent's reports go: to Kafka, or to a gateway. Neither ever holds up the agent."""

from __future__ import annotations

import http.client
import json
import threading
import urllib.error
import urllib.request
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol

from confluent_kafka import KafkaError, Message

from tocsin.ingest.core.backlog import Backlog, Waiting
from tocsin.ingest.outlet import NotTakenError, Outlet
from tocsin.shared.clock import Clock
from tocsin.shared.headers import cloud_event
from tocsin.shared.ids import new_id
from tocsin.shared.telemetry.health import Health
from tocsin.shared.telemetry.logs import logger

MAX_WAITING = 10_000
"""Reports; at one a second far more than any sensible age."""
_BATCH = 50
_MAX_BACKOFF_SECONDS = 30.0
_MAX_ANSWER_BYTES = 1 << 16

_log = logger(__name__)


@dataclass(frozen=True, slots=True)
class Status:
    """What has become of the messages so far."""

    sent: int
    waiting: int
    dropped: int


class Sink(Protocol):
    """Takes messages of one system."""

    def put(self, message: bytes, time: int) -> None:
        """Never blocks, never raises; `time` is epoch ms."""
        ...

    def status(self) -> Status: ...

    def close(self, grace_seconds: float) -> None:
        """Send what is waiting, as far as the time allows."""
        ...


class KafkaSink:
    """Straight to the topic. What the broker doesn't take within the outlet's timeout is dropped."""

    def __init__(self, outlet: Outlet, topic: str, system: str) -> None:
        self._outlet = outlet
        self._topic = topic
        self._key = system.encode()
        self._sent = 0
        self._dropped = 0

    def put(self, message: bytes, time: int) -> None:
        headers = cloud_event(new_id(time), "reading.received", "/agent", time)
        try:
            self._outlet.send(self._topic, self._key, message, headers, self._delivered)
        except NotTakenError:
            self._dropped += 1

    def status(self) -> Status:
        return Status(self._sent, self._outlet.waiting(), self._dropped)

    def close(self, grace_seconds: float) -> None:
        self._dropped += self._outlet.close(grace_seconds)

    def _delivered(self, error: KafkaError | None, message: Message) -> None:
        self._outlet.settled(error)
        if error is None:
            self._sent += 1
        else:
            self._dropped += 1


class _Later(Exception):  # noqa: N818  not an error: try again
    """The gateway did not take it now."""

    def __init__(self, why: str, seconds: float | None = None) -> None:
        super().__init__(why)
        self.seconds = seconds


class HttpSink:
    """Through a gateway, in NDJSON, from a thread of its own."""

    def __init__(self, url: str, api_key: str | None, backlog: Backlog, clock: Clock, health: Health) -> None:
        self._url = url.rstrip("/").removesuffix("/v1/readings") + "/v1/readings"
        self._api_key = api_key
        self._backlog = backlog
        self._clock = clock
        self._health = health
        self._lock = threading.Lock()
        self._arrived = threading.Event()
        self._stopping = threading.Event()
        self._sent = 0
        self._refused = 0
        self._reachable = True
        health.ready("broker")
        self._thread = threading.Thread(target=self._run, name="http sink", daemon=True)
        self._thread.start()

    def put(self, message: bytes, time: int) -> None:
        with self._lock:
            self._backlog.put(Waiting(time, message))
        self._arrived.set()

    def status(self) -> Status:
        with self._lock:
            return Status(self._sent, len(self._backlog), self._backlog.dropped + self._refused)

    def close(self, grace_seconds: float) -> None:
        self._stopping.set()
        self._arrived.set()
        self._thread.join(grace_seconds)

    def _run(self) -> None:
        backoff = 0.0
        while True:
            self._arrived.wait()
            self._arrived.clear()
            while batch := self._next():
                try:
                    self._post(batch)
                    backoff = 0.0
                except _Later as later:
                    self._not_reached(str(later))
                    backoff = min(_MAX_BACKOFF_SECONDS, max(1.0, 2 * backoff))
                    if self._stopping.wait(later.seconds or backoff):
                        return
                    continue
                self._reached(batch)
            if self._stopping.is_set():
                return

    def _next(self) -> list[Waiting]:
        with self._lock:
            return self._backlog.first(_BATCH, self._clock.now_ms())

    def _reached(self, batch: list[Waiting]) -> None:
        with self._lock:
            self._backlog.settle(batch)
        if not self._reachable:
            self._reachable = True
            self._health.ready("broker")
            _log.info("gateway takes readings again")

    def _not_reached(self, why: str) -> None:
        if self._reachable:
            self._reachable = False
            self._health.waiting("broker", f"the gateway does not take readings: {why}")
            _log.warning("gateway does not take readings", because=why)

    def _post(self, batch: list[Waiting]) -> None:
        """Returns when these need not be sent again. Raises _Later."""
        headers = {"Content-Type": "application/x-ndjson"}
        if self._api_key:
            headers["Authorization"] = f"Bearer {self._api_key}"
        body = b"\n".join(one.message for one in batch)
        request = urllib.request.Request(self._url, data=body, headers=headers, method="POST")  # noqa: S310  checked
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310
                if answer.status != 202:
                    raise _Later(f"it answered {answer.status}, which is not a gateway's 202")
            self._sent += len(batch)
        except urllib.error.HTTPError as error:
            if error.code != 400:
                raise _Later(_explain(error), _retry_after(error)) from None
            self._some_refused(error, len(batch))
        except OSError as error:
            raise _Later(str(error.reason if isinstance(error, urllib.error.URLError) else error)) from None
        except http.client.HTTPException as error:  # no HTTP at all, or an answer cut off
            raise _Later(f"its answer can't be understood: {error!r}"[:200]) from None

    def _some_refused(self, error: urllib.error.HTTPError, count: int) -> None:
        # The good ones are kept, and the others would be refused again.
        refused = {one.get("index") for one in _answer(error).get("rejected", []) if isinstance(one, dict)}
        self._refused += len(refused)
        self._sent += count - len(refused)
        _log.warning("gateway refused readings", answer=_explain(error))


def _answer(error: urllib.error.HTTPError) -> dict[str, list[object]]:
    with suppress(OSError, ValueError, http.client.HTTPException):
        found = json.loads(error.read(_MAX_ANSWER_BYTES))
        if isinstance(found, dict):
            return found
    return {}


def _explain(error: urllib.error.HTTPError) -> str:
    hint = {401: ": the API key is missing or wrong", 403: ": the API key is missing or wrong"}
    return f"it answered {error.code}{hint.get(error.code, '')}"


def _retry_after(error: urllib.error.HTTPError) -> float | None:
    given = (error.headers.get("Retry-After") or "").strip()
    return min(float(given), 3600.0) if given.isascii() and given.isdigit() else None
