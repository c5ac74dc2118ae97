"""A console as a process of its own, that tests kill."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from pathlib import Path

import killed_console
from consoling import TOKENS, Client
from support import eventually
from tocsin.console.settings import ConsoleSettings
from tocsin.deploy.processes import Child, Supervisor
from tocsin.deploy.stack.ports import free_port


@dataclass
class ConsoleProcess:
    """Started, ended and started again on the same port."""

    settings: ConsoleSettings
    folder: Path
    supervisor: Supervisor
    port: int = field(default_factory=free_port)
    child: Child | None = None

    def start(self, at: str = "", number: int = 1) -> None:
        """Until it answers, or has died: it kills itself at this point of that write (killed_console)."""
        environment = {
            "KAFKA_BOOTSTRAP_SERVERS": self.settings.kafka.bootstrap_servers,
            "TOCSIN_STATE_DIR": str(self.settings.state_dir),
            "TOCSIN_TOPIC_PREFIX": self.settings.topic_prefix,
            "TOCSIN_CONSOLE_PORT": str(self.port),
            "TOCSIN_RETRY_TIERS": "200ms,500ms",
            "TOCSIN_EGRESS_ALLOW": "127.0.0.0/8",
            "TOCSIN_EGRESS_HTTP": "true",
            "KILL_AT": at,
            "KILL_NUMBER": str(number),
        }
        self.child = self.supervisor.start(
            "console",
            [sys.executable, killed_console.__file__],
            env=environment,
            log_path=self.folder / f"console-{self.port}.log",
        )
        eventually(lambda: self._answers() or not self._running.running, 60)

    @property
    def _running(self) -> Child:
        assert self.child is not None
        return self.child

    def _answers(self) -> bool:
        try:
            return Client(self.port).get("/-/healthy").status == 200
        except OSError:
            return False

    def dies(self) -> None:
        """Waits for it."""
        eventually(lambda: not self._running.running, 60)

    def kill(self) -> None:
        self._running.kill()

    def client(self, role: str) -> Client:
        return Client(self.port, {"Authorization": f"Bearer {TOKENS[role]}"})
