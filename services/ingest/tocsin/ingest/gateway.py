"""`POST /v1/readings`: checked, normalised, and answered 202 only when the broker has acknowledged every message."""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from aiohttp import web

from tocsin.ingest import answers
from tocsin.ingest.answers import Refusal
from tocsin.ingest.body import Media, media_of, read_body
from tocsin.ingest.core.access import is_allowed, presented_key
from tocsin.ingest.core.admission import MESSAGE_BYTES, Admission, Lease
from tocsin.ingest.core.items import split_items
from tocsin.ingest.core.wire import encode_reading, encode_report
from tocsin.ingest.outlet import NotTakenError, Outlet, Receipt
from tocsin.ingest.tokens import IngestTokens
from tocsin.shared.clock import Clock
from tocsin.shared.headers import Headers, cloud_event
from tocsin.shared.ids import new_id
from tocsin.shared.readings import Checked, Rejection, check, rejection_headers
from tocsin.shared.telemetry import metrics
from tocsin.shared.telemetry.health import Health
from tocsin.shared.topics import MAX_RECORD_BYTES

_TRACEPARENT = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")
_AT_ONCE = 500
"""Items handled before other requests get their turn: some milliseconds."""
_MAX_LISTED = 1000
"""Of what was wrong with one request; the rest is only counted."""
_MAX_KEPT_BYTES = MAX_RECORD_BYTES - (64 << 10)
"""Of something refused: a record's limit, less room for its headers."""
_LAST_ANSWER_SECONDS = 0.05
"""For it to be written to its socket."""
_SETTLE_MARGIN_SECONDS = 5.0
"""The producer settles every message within its delivery timeout; this much later something is broken."""


@dataclass(frozen=True, slots=True)
class GatewayPolicy:
    """What the gateway allows, and where readings go."""

    keys: tuple[bytes, ...]  # none, and no tokens: anyone may send
    max_body_bytes: int
    read_timeout_seconds: float
    delivery_timeout_seconds: float
    readings_topic: str
    rejected_topic: str


@dataclass(frozen=True, slots=True)
class _Sent:
    """What became of a body's items."""

    accepted: int
    rejected: list[dict[str, object]]  # the first of them
    reasons: Counter[str]  # of all of them


class Gateway:
    """Handles requests of one event loop."""

    def __init__(
        self,
        policy: GatewayPolicy,
        admission: Admission,
        outlet: Outlet,
        clock: Clock,
        tokens: IngestTokens | None = None,
    ) -> None:
        self._policy = policy
        self._tokens = tokens
        self._admission = admission
        self._outlet = outlet
        self._clock = clock
        self._nobody_waits = asyncio.Event()
        self.stopping = False

    async def idle(self, within_seconds: float) -> None:
        """Returns when every request that was let in has been answered, or the time is over."""
        with suppress(TimeoutError):
            async with asyncio.timeout(within_seconds):
                if self._admission.requests:
                    self._nobody_waits.clear()
                    await self._nobody_waits.wait()
                await asyncio.sleep(_LAST_ANSWER_SECONDS)

    async def post_readings(self, request: web.Request) -> web.Response:
        response = await self._answer(request)
        metrics.GATEWAY_REQUESTS.labels(response.status).inc()
        return response

    async def _answer(self, request: web.Request) -> web.Response:
        presented = presented_key(request.headers.get("Authorization"), request.headers.get("X-API-Key"))
        if not self._may_send(presented):
            return answers.unauthorized().response()
        media = media_of(request.headers)
        if isinstance(media, Refusal):
            return media.response()
        if self.stopping:
            return answers.stopping().response()
        lease = self._admission.enter()
        if lease is None:
            return self._no_room().response()
        try:
            return await self._admitted(request, media, lease)
        finally:
            lease.give_back()
            if not self._admission.requests:
                self._nobody_waits.set()
            metrics.GATEWAY_IN_FLIGHT.set(self._admission.size)

    def _may_send(self, presented: bytes | None) -> bool:
        keys, tokens = self._policy.keys, self._tokens
        if not keys and tokens is None:
            return True
        return is_allowed(keys, presented) or (tokens is not None and tokens.allow(presented))

    async def _admitted(self, request: web.Request, media: Media, lease: Lease) -> web.Response:
        limit = self._policy.max_body_bytes
        body = await read_body(request, media, lease, limit, self._policy.read_timeout_seconds)
        if isinstance(body, Refusal):
            return (self._no_room() if body.status == 429 else body).response()
        split = split_items(body, lines=media.lines)
        # What cannot be taken apart is kept as it came, so that what a broken client sent can be looked at.
        items, flaw = ([body], split) if isinstance(split, Rejection) else (split, None)
        need = len(body) + MESSAGE_BYTES * len(items)
        if lease.size + need > self._admission.limits.size:
            return answers.too_many(self._admission.limits.size).response()
        if not lease.take(need):
            return self._no_room().response()
        metrics.GATEWAY_IN_FLIGHT.set(self._admission.size)
        return await self._publish(items, flaw, request)

    def _no_room(self) -> Refusal:
        # Full because nothing drains is the broker's fault, not that of too many clients.
        return answers.busy() if self._outlet.acknowledging else answers.not_acknowledged()

    async def _publish(self, items: list[bytes], flaw: Rejection | None, request: web.Request) -> web.Response:
        receipt = Receipt(self._outlet)
        sent = await self._send_all(items, flaw, _Sender(self._policy, self._outlet, receipt, self._context(request)))
        try:
            async with asyncio.timeout(self._policy.delivery_timeout_seconds + _SETTLE_MARGIN_SECONDS):
                settled = await receipt.wait()
        except TimeoutError:
            return answers.not_acknowledged().response()
        if settled.failed:
            return answers.not_acknowledged().response()
        metrics.READINGS_ACCEPTED.labels("gateway").inc(sent.accepted)
        for reason, count in sent.reasons.items():
            metrics.READINGS_REFUSED.labels(reason).inc(count)
        if sent.rejected:
            answer = {"accepted": sent.accepted, "rejected": sent.rejected, "rejected_count": sent.reasons.total()}
            return web.json_response(answer, status=400)
        return web.json_response({"accepted": sent.accepted}, status=202)

    def _context(self, request: web.Request) -> _Context:
        given = request.headers.get("traceparent", "")
        traceparent = given if _TRACEPARENT.fullmatch(given) else None
        return _Context(new_id(self._clock.now_ms()), traceparent)

    @staticmethod
    async def _send_all(items: list[bytes], flaw: Rejection | None, sender: _Sender) -> _Sent:
        accepted = 0
        rejected: list[dict[str, object]] = []
        reasons: Counter[str] = Counter()
        for index, item in enumerate(items):
            checked = check(item) if flaw is None else Checked([], [flaw])
            sender.send(index, item, checked)
            accepted += len(checked.good)
            rejected += [_listed(index, one) for one in checked.rejected[: _MAX_LISTED - len(rejected)]]
            reasons.update(str(one.reason) for one in checked.rejected)
            if index % _AT_ONCE == _AT_ONCE - 1:
                await asyncio.sleep(0)
        return _Sent(accepted, rejected, reasons)


def _listed(index: int, one: Rejection) -> dict[str, object]:
    place: dict[str, object] = {"index": index}
    if one.index is not None:
        place["reading"] = one.index
    return {**place, "field": one.field, "reason": one.reason, "detail": one.detail}


@dataclass(frozen=True, slots=True)
class _Context:
    """Of one request."""

    request_id: str
    traceparent: str | None


@dataclass(frozen=True, slots=True)
class _Sender:
    """Puts what was found in an item on the topics."""

    policy: GatewayPolicy
    outlet: Outlet
    receipt: Receipt
    context: _Context

    def send(self, index: int, item: bytes, checked: Checked) -> None:
        if checked.good:
            self._send_good(index, checked)
        if checked.rejected:
            headers = rejection_headers(checked.rejected, "gateway", self.context.traceparent)
            if len(item) > _MAX_KEPT_BYTES:
                headers.append(("truncated", str(len(item)).encode()))
            key = checked.good[0].system.encode() if checked.good else None
            self._send(self.policy.rejected_topic, key, item[:_MAX_KEPT_BYTES], headers)

    def _send_good(self, index: int, checked: Checked) -> None:
        first = checked.good[0]
        if checked.report_time is None:
            messages, time = [encode_reading(first)], first.time
        else:
            messages, time = encode_report(checked.good, checked.report_time), checked.report_time
        for part, message in enumerate(messages):
            event_id = f"{self.context.request_id}-{index}" + (f"-{part}" if part else "")
            headers = cloud_event(event_id, "reading.received", "/gateway", time, self.context.traceparent)
            self._send(self.policy.readings_topic, first.system.encode(), message, headers)

    def _send(self, topic: str, key: bytes | None, value: bytes, headers: Headers) -> None:
        self.receipt.expect()
        try:
            self.outlet.send(topic, key, value, headers, self.receipt.delivered)
        except NotTakenError as error:
            self.receipt.withdraw(str(error))


def application(gateway: Gateway, health: Health) -> web.Application:
    """The gateway's routes, and the health pages beside them."""

    def page(path: str) -> Callable[[web.Request], object]:
        async def show(request: web.Request) -> web.Response:
            status, content_type, body = health.report(path) or (404, "text/plain", b"")
            return web.Response(status=status, body=body, headers={"Content-Type": content_type})

        return show

    app = web.Application()
    app.router.add_post("/v1/readings", gateway.post_readings)
    for path in ("/-/healthy", "/-/ready", "/metrics"):
        app.router.add_get(path, page(path))  # type: ignore[arg-type]
    return app
