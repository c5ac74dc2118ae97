"""The services as real processes: started, watched until ready, killed, started again."""

from __future__ import annotations

import json
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tocsin.deploy.processes import Child, Supervisor
from tocsin.deploy.stack.ports import HOST, free_port
from tocsin.shared.errors import TocsinError
from tocsin.shared.lifecycle import EXIT_RESTART

TOCSIN = (sys.executable, "-m", "tocsin.console.cli")
"""The command `tocsin` of this very installation."""

PIPELINE = ("detector", "activator", "router", "dispatcher")
"""The services between a reading and a delivery, in the order data flows."""


class FleetError(TocsinError):
    """A service did not become ready."""


@dataclass
class Member:
    """One service process and where it answers."""

    name: str
    child: Child
    http_port: int | None  # none: it has no health endpoints

    def readiness(self) -> str | None:
        """None when ready; otherwise why not."""
        if not self.child.running:
            return f"it ended with exit code {self.child.exit_code}"
        if self.http_port is None:
            return None
        try:
            with urllib.request.urlopen(f"http://{HOST}:{self.http_port}/-/ready", timeout=2):
                return None
        except urllib.error.HTTPError as error:
            try:
                return str(json.loads(error.read())["because"])
            except (ValueError, KeyError):
                return f"it answers {error.code}"
        except OSError:
            return "it does not answer yet"


class Fleet:
    """Service processes that share an environment, a folder for their logs, and the command that starts them."""

    def __init__(
        self,
        supervisor: Supervisor,
        log_dir: Path,
        environment: Mapping[str, str],
        command: Sequence[str] | None = None,
    ) -> None:
        self._supervisor = supervisor
        self._log_dir = log_dir
        self._environment = dict(environment)
        self._command = tuple(command or TOCSIN)
        self.members: dict[str, Member] = {}

    def start(self, service: str, *, name: str | None = None, environment: Mapping[str, str] | None = None) -> Member:
        """`tocsin run SERVICE`, with health endpoints on a free port."""
        port = free_port()
        more = {"TOCSIN_HTTP_HOST": HOST, "TOCSIN_HTTP_PORT": str(port), **(environment or {})}
        return self.start_command(name or service, ("run", service), environment=more, http_port=port)

    def start_command(
        self,
        name: str,
        arguments: Iterable[str],
        *,
        environment: Mapping[str, str] | None = None,
        http_port: int | None = None,
    ) -> Member:
        """Any `tocsin` command that stays."""
        child = self._supervisor.start(
            name,
            [*self._command, *arguments],
            env={**self._environment, **(environment or {})},
            log_path=self._log_dir / f"{name}.log",
        )
        self.members[name] = Member(name, child, http_port)
        return self.members[name]

    def wait_ready(
        self, within_seconds: float, names: Iterable[str] | None = None, *, too_early: Iterable[str] = ()
    ) -> None:
        """Until these (or all) are ready. Raises FleetError, naming who is not, why, and what it wrote last.

        Who ends meanwhile with EXIT_RESTART is started again; once also who ends in another way, but was started
        `too_early`, before what it needs was there.
        """
        waiting, forgiven = set(names if names is not None else self.members), set(too_early)
        until = time.monotonic() + within_seconds
        while waiting:
            self.restart_ended({EXIT_RESTART}, waiting)
            forgiven -= {name for name, _ in self.restart_ended(names=forgiven)}
            reasons = {name: self.members[name].readiness() for name in waiting}
            waiting = {name for name, reason in reasons.items() if reason is not None}
            ended = [name for name in waiting if not self.members[name].child.running]
            if ended or (waiting and time.monotonic() > until):
                name = min(ended or waiting)
                tail = self.members[name].child.log_tail(8)
                raise FleetError(f"{name} is not ready: {reasons[name]}\n{tail}")
            time.sleep(0.05)

    def restart(self, name: str) -> Member:
        """A new process in place of one that ended or is killed now."""
        member = self.members[name]
        self.members[name] = Member(name, self._supervisor.start_again(member.child), member.http_port)
        return self.members[name]

    def restart_ended(
        self, codes: Container[int] | None = None, names: Iterable[str] | None = None
    ) -> list[tuple[str, int]]:
        """Start again whatever (of these) has ended by itself (with one of these codes); names and exit codes."""
        restarted = []
        for name in list(names if names is not None else self.members):
            code = self.members[name].child.exit_code
            if code is not None and (codes is None or code in codes):
                self.restart(name)
                restarted.append((name, code))
        return restarted
