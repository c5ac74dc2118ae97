"""Structured logs: JSON lines, or readable ones on a terminal. One event, its fields beside it."""

from __future__ import annotations

import logging
import sys

import structlog

_CHATTY = ("numba",)
"""At debug they print their own workings: forty thousand lines for one start of a detector."""


def configure(service: str, level: str = "info", form: str = "auto") -> None:
    """For the whole process; the standard library's loggers go the same way."""
    as_json = form == "json" or (form == "auto" and not sys.stderr.isatty())
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.EventRenamer("event") if as_json else _unchanged,
    ]
    renderer: structlog.typing.Processor = (
        structlog.processors.JSONRenderer()
        if as_json
        # Its own traceback would print local variables, and secrets with them.
        else structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, structlog.stdlib.ExtraAdder()],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.format_exc_info if as_json else _unchanged,
                renderer,
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for name in _CHATTY:
        logging.getLogger(name).setLevel(logging.INFO)
    structlog.configure(
        # First of all, or an event nobody wants would be built in full before it is dropped.
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    structlog.contextvars.bind_contextvars(service=service)


def _unchanged(logger: object, name: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    return event


def logger(name: str) -> structlog.stdlib.BoundLogger:
    """`log = logger(__name__)`; then `log.info("event happened", field=value)`."""
    bound: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(name)
    return bound
