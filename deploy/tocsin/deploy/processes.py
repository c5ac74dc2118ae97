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

GRACE = timedelta(seconds=30)  # what a service may take to drain after SIGTERM: more than its own TOCSIN_SHUTDOWN_GRACE
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
        if self.find() is None:
            return
        _signal_group(self.pid, signal.SIGTERM)
        _signal_group(self.pid, signal.SIGCONT)
        if not self._gone_within(grace):
            _signal_group(self.pid, signal.SIGKILL)
            self._gone_within(timedelta(seconds=1))

    def _gone_within(self, timeout: timedelta) -> bool:
        # Not psutil's wait: a container's process 1 may take its time to collect an orphan that has long ended.
        deadline = time.monotonic() + timeout.total_seconds()
        while self.find() is not None:
            if time.monotonic() > deadline:
                return False
            time.sleep(0.03)
        return True


def _signal_group(group: int, number: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)


@dataclass(frozen=True, slots=True)
class Launch:
    """How a process is started, and started again."""

    name: str
    argv: tuple[str, ...]
    env: Mapping[str, str]  # added to our own environment
    log_path: Path | None  # output is appended there, or dropped
    cwd: Path | None


class Child:
    """One started process, the leader of a session of its own."""

    def __init__(self, launch: Launch, popen: subprocess.Popen[bytes], gone: _Report) -> None:
        self.launch = launch
        self.name = launch.name
        self.pid = popen.pid
        self.log_path = launch.log_path
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

    def let_go(self) -> None:
        """Forget it while it runs on; from here on only a ProcessRef finds it."""
        self._popen.returncode = 0  # or the garbage collector would complain that it is still running

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

    With `lasting=True` its processes stay after it, and `close` leaves them alone.
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
        return self._launch(Launch(name, tuple(os.fspath(part) for part in argv), dict(env or {}), log_path, cwd))

    def start_again(self, child: Child) -> Child:
        """A new process just like one that has ended, or is stopped now."""
        child.stop()
        return self._launch(child.launch)

    def _launch(self, launch: Launch) -> Child:
        program = shutil.which(launch.argv[0])
        if program is None:
            raise ProcessError(f"{launch.name} can't be started: there is no program {launch.argv[0]}")
        command = [program, *launch.argv[1:]]
        pipe = self._reaper_pipe()
        if pipe is not None:
            command = ["/bin/sh", "-c", _REPORT_AND_BECOME, launch.name, *command]
        if launch.log_path is not None:
            launch.log_path.parent.mkdir(parents=True, exist_ok=True)
        with open(launch.log_path or os.devnull, "ab") as log:
            popen = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL if pipe is None else pipe,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, **launch.env},
                cwd=launch.cwd,
                start_new_session=True,
            )
        report = _Report(pipe)
        report(f"+{popen.pid}\n")  # once more from here: it may have been stopped before it came to it
        child = Child(launch, popen, report)
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
        if self.lasting:
            for child in self.children:
                child.let_go()
            self._children.clear()
        else:
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
                [
                    sys.executable,
                    "-I",
                    "-S",
                    reaper.__file__,
                    str(os.getpid()),
                    str(self._orphans_grace.total_seconds()),
                ],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                bufsize=0,
                start_new_session=True,
            )
        return self._reaper.stdin
