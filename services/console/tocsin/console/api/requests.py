"""What API handlers read of a request, each with its readable refusal."""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Iterable, Sequence
from typing import Any, TypeVar

from aiohttp import web

from tocsin.console.json_nodes import parse_json
from tocsin.console.web.problems import FieldProblem, ProblemError
from tocsin.console.web.routes import Query

T = TypeVar("T")

DEFAULT_LIMIT = 50
MAX_LIMIT = 500
_ETAG = re.compile(r'(?:W/)?"(\d{1,18})"')
_TRUE, _FALSE = ("true", "1", "yes"), ("false", "0", "no")

LIMIT = Query("limit", "How many at most", {"type": "integer", "minimum": 1, "maximum": MAX_LIMIT, "default": 50})
CURSOR = Query("cursor", "`next` of the page before")


async def json_body(request: web.Request) -> dict[str, Any]:
    """One JSON object. Raises ProblemError 400 or 415."""
    if request.content_type != "application/json":
        raise ProblemError(415, "send a JSON object as `Content-Type: application/json`")
    try:
        return parse_json(await request.read())
    except ValueError as error:
        raise ProblemError(
            400, f"the body is {error}" if str(error).startswith("not") else f"the body: {error}"
        ) from None


async def optional_body(request: web.Request) -> dict[str, Any]:
    """No body is an empty object."""
    return await json_body(request) if request.can_read_body else {}


def expected_revision(request: web.Request) -> int | None:
    """Of `If-Match`; None for `*`. Raises ProblemError 428 when it is missing."""
    given = request.headers.get("If-Match", "").strip()
    if given == "*":
        return None
    match = _ETAG.fullmatch(given)
    if match is not None:
        return int(match.group(1))
    if given:
        raise ProblemError(412, 'If-Match must be one ETag, such as "42", as the last answer had it')
    raise ProblemError(428, "send If-Match with the ETag of what you have seen, or * to overwrite whatever is there")


def limit_of(request: web.Request) -> int:
    text = request.query.get("limit", str(DEFAULT_LIMIT))
    if not re.fullmatch(r"\d{1,4}", text, re.ASCII) or not 1 <= int(text) <= MAX_LIMIT:
        raise bad_query("limit", f"must be a number from 1 to {MAX_LIMIT}")
    return int(text)


def flag_of(request: web.Request, name: str) -> bool:
    text = request.query.get(name, "false").lower()
    if text not in _TRUE + _FALSE:
        raise bad_query(name, "must be true or false")
    return text in _TRUE


def choice_of(request: web.Request, name: str, choices: Sequence[str]) -> str | None:
    text = request.query.get(name)
    if text and text not in choices:
        raise bad_query(name, f"must be one of {', '.join(choices)}")
    return text or None


def bad_query(name: str, detail: str) -> ProblemError:
    return ProblemError(400, f"the query parameter {name}: {detail}")


def encode_cursor(key: Sequence[Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(list(key)).encode()).decode().rstrip("=")


def cursor_of(request: web.Request, *kinds: type) -> list[Any] | None:
    """The key after which to go on. Raises ProblemError 400 for what is no cursor of this list."""
    text = request.query.get("cursor")
    if not text:
        return None
    try:
        key = json.loads(base64.urlsafe_b64decode(text.encode("ascii") + b"=" * (-len(text) % 4)))
    except (ValueError, binascii.Error):
        key = None
    fits = isinstance(key, list) and len(key) == len(kinds)
    if not fits or not all(type(part) is kind for part, kind in zip(key, kinds, strict=True)):
        raise bad_query("cursor", "is not one that this list has given")
    assert isinstance(key, list)
    return key


def paged(items: Iterable[T], key: Any, after: Any, limit: int) -> tuple[list[T], Any]:
    """One page of items in ascending order of `key`, and the key to go on after (None at the end)."""
    page: list[T] = []
    for item in items:
        if after is not None and key(item) <= after:
            continue
        if len(page) == limit:
            return page, key(page[-1])
        page.append(item)
    return page, None


def answer(value: Any, status: int = 200, revision: int | None = None, **headers: str) -> web.Response:
    """JSON, with an ETag where the record has a revision."""
    if revision is not None:
        headers["ETag"] = f'"{revision}"'
    return web.Response(
        status=status,
        text=json.dumps(value, ensure_ascii=False, separators=(",", ":")),
        content_type="application/json",
        headers=headers,
    )


def text_field(document: dict[str, Any], name: str, *, required: bool = True, longest: int = 2_000) -> str | None:
    """Raises ProblemError 422 with a pointer."""
    value = document.get(name)
    if value is None and not required:
        return None
    if not isinstance(value, str) or not value.strip():
        raise bad_field(name, "must be text, and not empty")
    if len(value) > longest:
        raise bad_field(name, f"has at most {longest} characters")
    if "\0" in value or any("\ud800" <= letter <= "\udfff" for letter in value):
        raise bad_field(name, "contains a character that is not one")
    return value


def bad_field(name: str, detail: str, hint: str | None = None) -> ProblemError:
    return ProblemError(422, f"{name}: {detail}", [FieldProblem(pointer=f"/{name}", detail=detail, hint=hint)])


def only_fields(document: dict[str, Any], *known: str) -> None:
    """Raises ProblemError 422 naming a field that is not one."""
    for name in document:
        if name not in known:
            raise bad_field(name[:64], "there is no such field", f"fields: {', '.join(known)}")
