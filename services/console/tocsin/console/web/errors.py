"""Whatever goes wrong becomes one answer: problem details for the API, a page for people."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from tocsin.console.editor import GoneError, StaleError
from tocsin.console.findings import RefusedError
from tocsin.console.repeats import KeyReusedError
from tocsin.console.state import ConflictError
from tocsin.console.web.guard import is_api
from tocsin.console.web.problems import ProblemError, unprocessable
from tocsin.shared.errors import BrokerError, TocsinError, UsageError
from tocsin.shared.telemetry.logs import logger

log = logger(__name__)

_TEXTS = {404: "there is nothing at this address"}

ErrorPage = Callable[[web.Request, ProblemError], web.StreamResponse]


def problem_of(error: Exception) -> ProblemError | None:  # a table, one line a cause
    """None for what is a bug."""
    match error:
        case ProblemError():
            return error
        case RefusedError():
            return unprocessable(error.findings)
        case StaleError():
            return ProblemError(412, str(error), headers={"ETag": f'"{error.revision}"'})
        case GoneError():
            return ProblemError(404, str(error))
        case ConflictError():
            return ProblemError(409, str(error))
        case UsageError():
            return ProblemError(422 if isinstance(error, KeyReusedError) else 400, str(error))
        case BrokerError():
            return ProblemError(503, str(error), headers={"Retry-After": "1"})
        case TocsinError():
            return ProblemError(500, str(error))
        case web.HTTPException() if error.status >= 400:
            kept = {name: value for name, value in error.headers.items() if name in ("Allow", "Retry-After")}
            return ProblemError(error.status, _TEXTS.get(error.status, error.reason), headers=kept)
        case _:
            return None


def catch_errors(page: ErrorPage) -> Middleware:
    """The outermost middleware."""

    @web.middleware
    async def catch(request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            return await handler(request)
        except (asyncio.CancelledError, ConnectionResetError):
            raise
        except web.HTTPException as error:
            if error.status < 400:
                raise  # a redirect
            problem = problem_of(error)
        except Exception as error:
            problem = problem_of(error)
            if problem is None:
                log.exception("a request failed", method=request.method, path=request.path)
                problem = ProblemError(500, "something went wrong here; the log says what")
        assert problem is not None
        return problem.response() if is_api(request) else page(request, problem)

    return catch
