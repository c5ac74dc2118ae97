"""Children end with their supervisor, however it ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import psutil
import pytest

from support import becomes_true, is_running
from tocsin.deploy.processes import ProcessError, ProcessRef, Supervisor

SLEEP = ["sleep", "60"]
STUBBORN = ["sh", "-c", "trap '' TERM; echo ready; while :; do sleep 0.1; done"]


def test_output_and_exit_code_are_kept(tmp_path: Path) -> None:
    with Supervisor() as supervisor:
        child = supervisor.start(
            "greeter", ["sh", "-c", 'echo "hello $NAME"; exit 7'], env={"NAME": "you"}, log_path=tmp_path / "a" / "log"
        )
        assert child.wait(timedelta(seconds=5)) == 7
        assert child.log_tail() == "hello you"
        assert supervisor.children == ()


def test_a_missing_program_is_named() -> None:
    with Supervisor() as supervisor, pytest.raises(ProcessError, match=r"web can't be started.*no-such-program"):
        supervisor.start("web", ["no-such-program"])


def test_stop_asks_first_and_kills_after_the_grace(tmp_path: Path) -> None:
    with Supervisor() as supervisor:
        polite = supervisor.start("polite", SLEEP)
        stubborn = supervisor.start("stubborn", STUBBORN, log_path=tmp_path / "log")
        assert becomes_true(lambda: stubborn.log_tail() == "ready")
        assert polite.stop() == -signal.SIGTERM
        assert stubborn.stop(timedelta(seconds=0.2)) == -signal.SIGKILL


def test_a_suspended_child_can_be_stopped() -> None:
    with Supervisor() as supervisor:
        child = supervisor.start("sleeper", SLEEP)
        child.suspend()
        assert becomes_true(lambda: psutil.Process(child.pid).status() == psutil.STATUS_STOPPED)
        assert child.stop(timedelta(seconds=5)) == -signal.SIGTERM


def test_a_killed_child_can_be_started_again_as_it_was(tmp_path: Path) -> None:
    with Supervisor() as supervisor:
        first = supervisor.start("service", ["sh", "-c", "echo up; exec sleep 60"], log_path=tmp_path / "log")
        assert becomes_true(lambda: first.log_tail() == "up")
        assert first.kill() == -signal.SIGKILL
        second = supervisor.start_again(first)
        assert becomes_true(lambda: second.log_tail() == "up\nup")
        assert second.pid != first.pid
        assert [child.pid for child in supervisor.children] == [second.pid]


def test_what_a_child_started_goes_with_it(tmp_path: Path) -> None:
    with Supervisor() as supervisor:
        child = supervisor.start("parent", ["sh", "-c", "sleep 60 & echo $!; wait"], log_path=tmp_path / "log")
        assert becomes_true(lambda: child.log_tail().isdigit())
        grandchild = int(child.log_tail())
        child.kill()
        assert becomes_true(lambda: not is_running(grandchild))


PARENT = """
import sys, time
from pathlib import Path
from support import becomes_true, is_running
from tocsin.deploy.processes import Supervisor
supervisor = Supervisor()
log = Path(sys.argv[1])
a = supervisor.start("a", ["sh", "-c", "sleep 60 & echo $!; wait"], log_path=log)
b = supervisor.start("b", ["sleep", "60"])
if sys.argv[2] == "suspended":
    b.suspend()  # so early that it may not have become `sleep` yet
while not log.exists() or not log.read_text().strip():
    time.sleep(0.01)
print(a.pid, b.pid, log.read_text().strip(), flush=True)
time.sleep(60)
"""


@pytest.mark.parametrize(
    ("end", "child"),
    [(signal.SIGKILL, "suspended"), (signal.SIGHUP, ""), (signal.SIGTERM, ""), (signal.SIGINT, "")],
)
def test_nothing_remains_when_the_supervisor_dies(tmp_path: Path, end: signal.Signals, child: str) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", PARENT, str(tmp_path / "log"), child], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as parent:
        assert parent.stdout is not None
        pids = [int(word) for word in parent.stdout.readline().split()]
        family = [*pids, *(child.pid for child in psutil.Process(parent.pid).children())]  # the reaper too
        assert all(is_running(pid) for pid in pids)
        parent.send_signal(end)
    assert becomes_true(lambda: not any(is_running(pid) for pid in family))


def test_a_lasting_supervisor_leaves_its_children() -> None:
    with Supervisor(lasting=True) as supervisor:
        process = ProcessRef.of(supervisor.start("sleeper", SLEEP).pid)
    assert process.find() is not None
    process.stop()
    assert process.find() is None


def test_a_process_id_that_was_used_again_is_not_taken_for_the_old_process() -> None:
    myself = ProcessRef.of(os.getpid())
    assert myself.find() is not None
    assert ProcessRef(myself.pid, myself.started - 3600).find() is None
