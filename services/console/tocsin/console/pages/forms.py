"""What pages read of forms, and how findings come back to their fields."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from aiohttp import web
from multidict import MultiDictProxy

from tocsin.console.findings import Finding
from tocsin.console.web.problems import ProblemError, pointer_of

Form = Mapping[str, str]


async def form_of(request: web.Request) -> MultiDictProxy[str]:
    """Its text fields. Raises ProblemError 400 for files."""
    data = await request.post()
    if any(not isinstance(value, str) for value in data.values()):
        raise ProblemError(400, "a form here has no files")
    return data  # type: ignore[return-value]


def text(form: Form, name: str) -> str:
    """Without blanks around it; line ends as they are meant."""
    return form.get(name, "").replace("\r\n", "\n").strip()


def by_pointer(findings: Iterable[Finding]) -> dict[str, list[str]]:
    """Messages by JSON pointer."""
    found: dict[str, list[str]] = {}
    for finding in dict.fromkeys(findings):
        message = finding.problem + (f"; {finding.way_out}" if finding.way_out else "")
        found.setdefault(pointer_of(finding.field), []).append(message)
    return found


def see_other(path: str) -> web.Response:
    """To another page, after a form."""
    return web.Response(status=303, headers={"Location": path})
