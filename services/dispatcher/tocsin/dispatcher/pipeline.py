"""Runs one delivery through the stages."""

from __future__ import annotations

from collections.abc import Callable
from types import CoroutineType
from typing import Any

from tocsin.dispatcher.stages.steps import Settled, Taken

Stage = Callable[[Any], Any]
"""Takes what the stage before made; answers the next step, or Settled, which ends the delivery. One that has to wait
is a coroutine function; most need not, and a coroutine that never waits would cost more than what it does."""


class Pipeline:
    """A literal list of stages, in order; the last one settles."""

    def __init__(self, *stages: Stage) -> None:
        self._stages = stages

    async def __call__(self, taken: Taken) -> Settled:
        step: Any = taken
        for stage in self._stages:
            step = stage(step)
            if type(step) is CoroutineType:
                step = await step
            if type(step) is Settled:
                return step
        raise AssertionError(f"the last stage left {type(step).__name__} unsettled")
