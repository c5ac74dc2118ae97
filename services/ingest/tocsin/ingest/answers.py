"""What the gateway answers, each with its machine word and what to do about it."""

from __future__ import annotations

from dataclasses import dataclass

from aiohttp import web

RETRY_AFTER_SECONDS = 1


@dataclass(frozen=True, slots=True)
class Refusal:
    """The request as a whole was not taken; nothing in it needs to be looked at."""

    status: int
    error: str
    detail: str

    def response(self) -> web.Response:
        headers = {}
        if self.status == 401:
            headers["WWW-Authenticate"] = "Bearer"
        if self.status in (429, 503):
            headers["Retry-After"] = str(RETRY_AFTER_SECONDS)
        if self.status in (401, 408, 413, 415, 429, 503):
            headers["Connection"] = "close"  # the rest of the body may not have been read
        return web.json_response({"error": self.error, "detail": self.detail}, status=self.status, headers=headers)


def unauthorized() -> Refusal:
    return Refusal(401, "unauthorized", "send an API key as `Authorization: Bearer KEY` or `X-API-Key: KEY`")


def too_large(limit: int) -> Refusal:
    return Refusal(413, "too-large", f"a request may have at most {limit} bytes, also once inflated; send several")


def too_many(limit: int) -> Refusal:
    return Refusal(
        413, "too-large", f"these readings need more than the {limit} bytes there are; send several requests"
    )


def unsupported(detail: str) -> Refusal:
    return Refusal(415, "unsupported-media-type", detail)


def busy() -> Refusal:
    return Refusal(429, "busy", "too much is waiting to be acknowledged; send it again")


def not_acknowledged() -> Refusal:
    return Refusal(503, "not-acknowledged", "Kafka has not acknowledged these readings in time; send them again")


def stopping() -> Refusal:
    return Refusal(503, "stopping", "this gateway is being stopped; send it again")


def bad_gzip(detail: str) -> Refusal:
    return Refusal(400, "bad-gzip", detail)


def slow() -> Refusal:
    return Refusal(408, "too-slow", "the request did not come in time")
