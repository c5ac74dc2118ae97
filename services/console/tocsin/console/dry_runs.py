"""Dry runs in a process of their own: whatever a rule costs to judge, the console goes on answering.

1. One runs at a time, by one worker; a few may wait, more are refused.
2. A run ends itself when its time is up and says what it left out. One that does not is ended by force.
3. What a run may allocate is bounded: beyond it the worker dies, not the console.
4. A worker that has nothing to do for a while ends, and with it the memory it holds.
"""

from __future__ import annotations

import asyncio
import contextlib
import multiprocessing
import multiprocessing.connection
import multiprocessing.context
import os
import resource
import signal
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from tocsin.console.trial.dry_run_job import Failed, Job, Outcome
from tocsin.shared.configuration.snapshot import Configuration
from tocsin.shared.errors import BrokerError
from tocsin.shared.settings import CommonSettings, KafkaSettings

GRACE_SECONDS = 5.0
"""What a run may take beyond its time before it is ended."""
LOADING_SECONDS = 60.0
"""What a worker may take to load its libraries; a new installation compiles them first."""
IDLE_SECONDS = 300.0
MAX_WAITING = 4
MEMORY_BYTES = 1 << 30
"""What a worker may allocate once it has loaded: several times what the most readings take up."""
NICE = 10
"""Below the console itself, where both want the same processor."""

Pipe = multiprocessing.connection.Connection
Target = Callable[..., None]


@dataclass(frozen=True, slots=True)
class DryRunPolicy:
    """Bounds of one run."""

    readings: int
    seconds: float


@dataclass(frozen=True, slots=True)
class _Worker:
    process: multiprocessing.context.SpawnProcess
    pipe: Pipe


class DryRuns:
    """Used from one event loop. Nothing is started before the first run."""

    def __init__(self, settings: CommonSettings, policy: DryRunPolicy, target: Target | None = None) -> None:
        self._settings = settings
        self.policy = policy
        self._target = target or work
        self._worker: _Worker | None = None
        self._executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="dry-run")
        self._waiting = 0

    async def run(self, configuration: Configuration, since: int, now: int) -> Outcome:
        """Raises BrokerError when it cannot be done now."""
        if self._waiting >= MAX_WAITING:
            raise BrokerError("other rules are being tried; try again in some seconds")
        job = Job(configuration, since, now, self.policy.readings, self.policy.seconds)
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._executor, self._ask, job)
        finally:
            self._waiting -= 1

    def close(self) -> None:
        self._executor.shutdown(wait=False, cancel_futures=True)
        self._end()

    def _ask(self, job: Job) -> Outcome:
        try:
            worker = self._given(job)
            if not worker.pipe.poll(job.seconds + GRACE_SECONDS):
                raise BrokerError(f"it took longer than {job.seconds:g} s and was ended; try a shorter time")
            found = worker.pipe.recv()
        except (OSError, EOFError):
            self._end()
            raise BrokerError(
                "the run ended early: it needed more memory than it may have; try a shorter time"
            ) from None
        except BrokerError:
            self._end()
            raise
        if isinstance(found, Failed):
            raise BrokerError(found.why)
        assert isinstance(found, Outcome)
        return found

    def _given(self, job: Job) -> _Worker:
        """The worker that has taken the job; a new one where the last has just ended itself."""
        worker = self._started()
        try:
            worker.pipe.send(job)
        except OSError:
            self._end()
            worker = self._started()
            worker.pipe.send(job)
        return worker

    def _started(self) -> _Worker:
        if self._worker is None or not self._worker.process.is_alive():
            self._end()
            context = multiprocessing.get_context("spawn")  # threads and connections are not to be inherited
            ours, theirs = context.Pipe()
            process = context.Process(
                target=self._target, args=(theirs, self._settings.kafka, self._settings.topic_prefix), daemon=True
            )
            process.start()
            theirs.close()
            self._worker = _Worker(process, ours)
            if not ours.poll(LOADING_SECONDS):
                raise BrokerError("the worker for dry runs has not started in time")
            ours.recv()
        return self._worker

    def _end(self) -> None:
        worker, self._worker = self._worker, None
        if worker is not None:
            worker.pipe.close()
            worker.process.kill()
            worker.process.join(5)


def work(pipe: Pipe, kafka: KafkaSettings, topic_prefix: str) -> None:
    """The worker: jobs in, outcomes out, until the console closes the pipe or nothing comes for a while."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the console closes the pipe
    do = _loaded(kafka, topic_prefix)
    with contextlib.suppress(OSError):
        os.nice(NICE)
    bound_memory()
    pipe.send(None)  # ready
    with contextlib.suppress(EOFError, BrokenPipeError):
        while pipe.poll(IDLE_SECONDS):
            pipe.send(do(pipe.recv()))


def _loaded(kafka: KafkaSettings, topic_prefix: str) -> Callable[[Job], Outcome | Failed]:
    """The libraries of the evaluator are in the worker only."""
    from tocsin.console.cli.quiet import quiet_logs  # noqa: PLC0415
    from tocsin.console.trial.dry_run import dry_run  # noqa: PLC0415
    from tocsin.evaluator.detector.settings import DetectorSettings  # noqa: PLC0415
    from tocsin.evaluator.detector.warm import warm  # noqa: PLC0415
    from tocsin.shared.errors import TocsinError  # noqa: PLC0415

    quiet_logs()
    warm()
    settings = DetectorSettings.load(kafka=kafka, topic_prefix=topic_prefix)

    def do(job: Job) -> Outcome | Failed:
        try:
            return dry_run(settings, job)
        except TocsinError as error:
            return Failed(str(error))

    return do


def bound_memory(more: int = MEMORY_BYTES, status: Path = Path("/proc/self/status")) -> None:
    """From here on this process may allocate so much more. Where Linux's figures are missing, nothing is bounded."""
    with contextlib.suppress(OSError, StopIteration, ValueError):
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmData:"))
        limit = int(line.split()[1]) * 1024 + more
        resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
