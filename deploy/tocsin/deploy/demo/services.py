"""The services of the demo, as processes: loaded while the broker boots, ready soon after it."""

from __future__ import annotations

import os
import subprocess
from importlib.resources import files
from pathlib import Path

from tocsin.deploy.demo.facts import Facts
from tocsin.deploy.fleet import PIPELINE, TOCSIN, Fleet
from tocsin.deploy.processes import Supervisor
from tocsin.shared.errors import TocsinError
from tocsin.shared.settings import CommonSettings

READY_SECONDS = 60.0
API_KEY = "demo"


class Services:
    """Everything between a reading and a delivery, and the receiver."""

    def __init__(self, state_dir: Path) -> None:
        self.supervisor = Supervisor()
        self._state_dir = state_dir
        self._facts: Facts | None = None
        self._environment: dict[str, str] = {}
        self.fleet = self._new_fleet()

    def _new_fleet(self) -> Fleet:
        return Fleet(self.supervisor, self._state_dir / "logs", self._environment)

    @property
    def facts(self) -> Facts:
        if self._facts is None:  # not earlier: the folder may be another demo's
            self._facts = Facts.load(self._state_dir)
        return self._facts

    def start_early(self) -> None:
        """While the broker boots: they load meanwhile, and wait for it."""
        self.supervisor.stop_all()  # those of a broker that has lost its port
        self._environment = self.facts.environment(CommonSettings.load(), self._state_dir)
        self.fleet = self._new_fleet()
        if self.facts.runs:  # the first time their topics are not there yet
            self._start()

    def make_ready(self) -> None:
        """With a broker that has all topics."""
        early = set(self.fleet.members)
        if not early:
            self._start()
        self._apply_configuration()
        self.fleet.wait_ready(READY_SECONDS, too_early=early)

    def _start(self) -> None:
        for service in reversed(PIPELINE):
            self.fleet.start(service)
        gateway = {"TOCSIN_GATEWAY_PORT": str(self.facts.gateway_port), "TOCSIN_GATEWAY_API_KEYS": API_KEY}
        self.fleet.start("gateway", environment=gateway)
        arguments = ["listen", "--json", "--port", str(self.facts.port)]
        self.fleet.start_command("receiver", arguments, environment={"TOCSIN_LISTEN_SECRET": self.facts.secret})

    def start_console(self) -> str:
        """Where its pages are; while there is no account, the link that makes the first one."""
        self.fleet.start("console", environment={"TOCSIN_CONSOLE_PORT": str(self.facts.console_port)})
        self.fleet.wait_ready(READY_SECONDS, ["console"])
        try:
            return self.command("admin", "link").strip()
        except TocsinError:
            return f"{self.facts.console_url}, with the account you have made"

    def _apply_configuration(self) -> None:
        template = files("tocsin.deploy.demo").joinpath("demo.yaml").read_text()
        path = self._state_dir / "demo.yaml"
        path.write_text(template.replace("@URL@", self.facts.url).replace("@TRIGGER@", self.facts.trigger))
        self.command("apply", "-f", str(path))
        # From now on the secret is in Kafka; the file can be changed and applied again by anyone who does not know it.
        path.write_text(path.read_text().replace("{env: TOCSIN_DEMO_SECRET}", "{keep: true}"))

    def command(self, *arguments: str) -> str:
        """The output of a `tocsin` command. Raises TocsinError with what it wrote when it fails."""
        done = subprocess.run(
            [*TOCSIN, *arguments],
            capture_output=True,
            text=True,
            env={**os.environ, **self._environment},
            check=False,
        )
        if done.returncode != 0:
            raise TocsinError(f"tocsin {arguments[0]} failed:\n{(done.stdout + done.stderr).strip()}")
        return done.stdout

    def close(self) -> None:
        self.supervisor.close()
