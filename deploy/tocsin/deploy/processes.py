"""Child processes that cannot outlive the one who started them, unless that is what was asked for."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import IO

import psutil

from tocsin.deploy import reaper
from tocsin.shared.errors import TocsinError

GRACE = timedelta(seconds=10)  # what a service may take to drain after SIGTERM
ORPHANS_GRACE = timedelta(seconds=5)  # nobody waits for these any more

# The child reports its own id to the reaper, then becomes what it shall be: nobody can die in between unnoticed.
_REPORT_AND_BECOME = 'echo "+$$" >&0 && exec "$@" </dev/null'


class ProcessError(TocsinError):
    """A process could not be started."""


@dataclass(frozen=True, slots=True)
class ProcessRef:
    """A process as it is remembered in a file: ids are used again, ids with a birth time are not."""

    pid: int
    started: float

    @classmethod
    def of(cls, pid: int) -> ProcessRef:
        return cls(pid, psutil.Process(pid).create_time())

    def find(self) -> psutil.Process | None:
        """The process, if this very one is still there and not just waiting to be collected."""
        try:
            process = psutil.Process(self.pid)
            # The birth time is counted in ticks since boot: a clock that was set moves it a little.
            same = abs(process.create_time() - self.started) < 1.0
            return process if same and process.status() != psutil.STATUS_ZOMBIE else None
        except psutil.NoSuchProcess:
            return None

    def stop(self, grace: timedelta = GRACE) -> None:
        """End a process that another process started, with everything in its group."""
        process = self.find()
        if process is None:
            return
        _signal_group(self.pid, signal.SIGTERM)
        _signal_group(self.pid, signal.SIGCONT)
        try:
            process.wait(grace.total_seconds())
        except psutil.TimeoutExpired:
            _signal_group(self.pid, signal.SIGKILL)
            with suppress(psutil.TimeoutExpired):
                process.wait(1.0)


def _signal_group(group: int, number: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)


class Child:
    """One started process, the leader of a session of its own."""

    def __init__(self, name: str, popen: subprocess.Popen[bytes], log_path: Path | None, gone: _Report) -> None:
        self.name = name
        self.pid = popen.pid
        self.log_path = log_path
        self._popen = popen
        self._gone = gone
        self._collected = False

    @property
    def exit_code(self) -> int | None:
        """None while it runs; negative: the signal that ended it."""
        code = self._popen.poll()
        if code is not None and not self._collected:
            self._collected = True
            _signal_group(self.pid, signal.SIGKILL)  # whatever it started itself
            self._gone(f"-{self.pid}\n")
        return code

    @property
    def running(self) -> bool:
        return self.exit_code is None

    def wait(self, timeout: timedelta | None = None) -> int:
        """Its exit code; TimeoutError when it is still there after the timeout."""
        try:
            self._popen.wait(None if timeout is None else timeout.total_seconds())
        except subprocess.TimeoutExpired:
            raise TimeoutError(f"{self.name} (process {self.pid}) is still running") from None
        code = self.exit_code
        assert code is not None
        return code

    def stop(self, grace: timedelta = GRACE) -> int:
        """SIGTERM; SIGKILL after the grace. Its exit code."""
        self.ask_to_stop()
        try:
            return self.wait(grace)
        except TimeoutError:
            return self.kill()

    def ask_to_stop(self) -> None:
        if self.running:
            _signal_group(self.pid, signal.SIGTERM)
            _signal_group(self.pid, signal.SIGCONT)

    def kill(self) -> int:
        """SIGKILL, at once, for it and all it started."""
        if self.running:
            _signal_group(self.pid, signal.SIGKILL)
        return self.wait()

    def suspend(self) -> None:
        """SIGSTOP: it hangs, as under a debugger or a frozen virtual machine."""
        if self.running:
            _signal_group(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        if self.running:
            _signal_group(self.pid, signal.SIGCONT)

    def log_tail(self, lines: int = 20) -> str:
        """The last lines it wrote."""
        if self.log_path is None or not self.log_path.exists():
            return ""
        text = self.log_path.read_text(encoding="utf-8", errors="replace")
        return "\n".join(text.splitlines()[-lines:])


class _Report:
    """The way to the reaper; without a reaper it goes nowhere."""

    def __init__(self, pipe: IO[bytes] | None) -> None:
        self.pipe = pipe

    def __call__(self, line: str) -> None:
        if self.pipe is not None and not self.pipe.closed:
            with suppress(BrokenPipeError):
                os.write(self.pipe.fileno(), line.encode())


class Supervisor:
    """Starts processes and ends them: on `close`, and when this process dies in whatever way.

    With `lasting=True` its processes stay after it, and `close` leaves them alone. Not for use after a bare os.fork():
    the forked copy would hold the pipe open that tells the reaper of our end.
    """

    def __init__(self, *, lasting: bool = False, orphans_grace: timedelta = ORPHANS_GRACE) -> None:
        self.lasting = lasting
        self._orphans_grace = orphans_grace
        self._children: list[Child] = []
        self._reaper: subprocess.Popen[bytes] | None = None

    @property
    def children(self) -> Sequence[Child]:
        """Everything started and not yet known to have ended, oldest first."""
        self._children = [child for child in self._children if child.running]
        return tuple(self._children)

    def start(
        self,
        name: str,
        argv: Sequence[str | os.PathLike[str]],
        *,
        env: Mapping[str, str] | None = None,
        log_path: Path | None = None,
        cwd: Path | None = None,
    ) -> Child:
        """Start a process. `env` is added to our own environment; output is appended to `log_path`, or dropped."""
        command = [os.fspath(part) for part in argv]
        program = shutil.which(command[0])
        if program is None:
            raise ProcessError(f"{name} can't be started: there is no program {command[0]}")
        command[0] = program
        pipe = self._reaper_pipe()
        if pipe is not None:
            command = ["/bin/sh", "-c", _REPORT_AND_BECOME, name, *command]
        if log_path is not None:
            log_path.parent.mkdir(parents=True, exist_ok=True)
        with open(log_path or os.devnull, "ab") as log:
            popen = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL if pipe is None else pipe,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, **(env or {})},
                cwd=cwd,
                start_new_session=True,
            )
        child = Child(name, popen, log_path, _Report(pipe))
        self._children.append(child)
        return child

    def stop_all(self, grace: timedelta = GRACE) -> None:
        """Stop what runs, all at the same time."""
        running = self.children
        for child in running:
            child.ask_to_stop()
        deadline = time.monotonic() + grace.total_seconds()
        for child in running:
            child.stop(timedelta(seconds=max(0.0, deadline - time.monotonic())))

    def close(self, grace: timedelta = GRACE) -> None:
        """Stop everything (unless it shall last) and let the reaper go."""
        if not self.lasting:
            self.stop_all(grace)
        if self._reaper is not None and self._reaper.stdin is not None:
            self._reaper.stdin.close()
            self._reaper.wait()
            self._reaper = None

    def __enter__(self) -> Supervisor:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _reaper_pipe(self) -> IO[bytes] | None:
        if self.lasting:
            return None
        if self._reaper is None:
            # -I -S: no site-packages, no environment; it is up in 20 ms. Unbuffered: every report is one write.
            self._reaper = subprocess.Popen(
                [sys.executable, "-I", "-S", reaper.__file__, str(self._orphans_grace.total_seconds())],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                bufsize=0,
                start_new_session=True,
            )
        return self._reaper.stdin
