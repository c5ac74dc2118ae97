"""What is wrong with a request, as RFC 9457 problem details; pages show the same texts.

ProblemError
├── a status, a title, a detail
└── errors: a JSON pointer into the request, what is wrong there, and the way out
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from http import HTTPStatus

from aiohttp import web
from pydantic import BaseModel, ConfigDict

from tocsin.console.findings import Finding
from tocsin.shared.errors import TocsinError

CONTENT_TYPE = "application/problem+json"
_PART = re.compile(r"[^.\[\]]+|\[(\d+)\]")


class FieldProblem(BaseModel):
    """One thing that is wrong with one field."""

    model_config = ConfigDict(frozen=True)

    pointer: str  # RFC 6901, into the request's body
    detail: str
    hint: str | None = None


class Problem(BaseModel):
    """RFC 9457."""

    model_config = ConfigDict(frozen=True)

    type: str = "about:blank"
    title: str
    status: int
    detail: str = ""
    errors: list[FieldProblem] = []


class ProblemError(TocsinError):
    """The request cannot be answered as it is."""

    def __init__(
        self, status: int, detail: str, errors: Iterable[FieldProblem] = (), headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.errors = tuple(errors)
        self.headers = dict(headers or {})

    def problem(self) -> Problem:
        return Problem(
            title=HTTPStatus(self.status).phrase, status=self.status, detail=self.detail, errors=list(self.errors)
        )

    def response(self) -> web.Response:
        return web.Response(
            status=self.status,
            text=json.dumps(self.problem().model_dump(exclude_none=True), ensure_ascii=False),
            content_type=CONTENT_TYPE,
            headers=self.headers,
        )


def not_found(what: str) -> ProblemError:
    return ProblemError(404, f"there is no {what}")


def pointer_of(field: str) -> str:
    """`webhook.headers[0].name` → `/webhook/headers/0/name`."""
    parts = [match.group(1) or match.group(0) for match in _PART.finditer(field)]
    return "".join("/" + part.replace("~", "~0").replace("/", "~1") for part in parts)


def unprocessable(findings: Iterable[Finding]) -> ProblemError:
    """422 with a pointer to each bad field."""
    errors = [
        FieldProblem(pointer=pointer_of(finding.field), detail=finding.problem, hint=finding.way_out or None)
        for finding in dict.fromkeys(findings)
    ]
    count = len(errors)
    return ProblemError(422, f"{count} problem{'' if count == 1 else 's'}: nothing was changed", errors)
