"""`tocsin demo`: sets everything up, makes a real crossing, and shows what becomes of it."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import time
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path
from types import FrameType

import click
from rich.console import Console

from tocsin.deploy.demo.load import CpuLoad
from tocsin.deploy.demo.run import Run
from tocsin.deploy.demo.sources import TopicTail
from tocsin.deploy.fleet import PIPELINE, TOCSIN, Fleet
from tocsin.deploy.processes import Supervisor
from tocsin.deploy.stack.local import Stack
from tocsin.deploy.stack.ports import HOST, free_port
from tocsin.shared.errors import TocsinError
from tocsin.shared.settings import CommonSettings, default_state_dir
from tocsin.shared.topic_admin import apply_topics

READY_SECONDS = 60.0
API_KEY = "demo"
CONSOLE_PORT = 8480


@click.command()
@click.option(
    "--once", is_flag=True, help="Leave when everything has been seen: exit code 0; else 1 and what is missing."
)
def demo(once: bool) -> None:
    """Real readings of this host become a verified webhook, an email, and audit records that prove both."""
    # A fixed width keeps a line one line in a log file; on a terminal rich knows the real one.
    console = Console(highlight=False, soft_wrap=True)
    signal.signal(signal.SIGINT, _interrupt)  # also where a shell started us in the background, with Ctrl-C ignored
    signal.signal(signal.SIGTERM, _interrupt)
    signal.signal(signal.SIGHUP, _interrupt)
    try:
        missing = _demo(console, once)
    except KeyboardInterrupt:
        console.print("stopped.")
        sys.exit(130 if once else 0)
    if missing:
        console.print("\nThe demo is not complete:", style="bold red")
        for part in missing:
            console.print(f"  - {part}")
        sys.exit(1)


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _demo(console: Console, once: bool) -> list[str]:
    started = time.monotonic()
    state_dir = default_state_dir()
    steps = Steps(console)
    with Stack(state_dir, say=steps.detail) as stack, Supervisor() as supervisor:
        settings = CommonSettings.load()
        facts = Facts.load(state_dir)
        environment = facts.environment(settings, state_dir)
        with steps.step("topics"):
            apply_topics(settings)
        fleet = Fleet(supervisor, state_dir / "logs", environment)
        with steps.step("services"):
            _start_services(fleet, facts)
            _apply_configuration(facts, state_dir, environment)
            fleet.wait_ready(READY_SECONDS)
        tail = TopicTail(settings)
        try:
            fleet.start_command("agent", ["agent"])
            console.print(f"  ready after {time.monotonic() - started:.1f} s\n")
            run = Run(console, fleet, CpuLoad(supervisor), tail, state_dir)
            missing = run.until_seen()
            if not missing:
                missing = _prove(console, environment)
            if not missing:
                # After the run: a console that starts beside it would slow it down, and nobody looks at it before.
                pages = "" if once else _start_console(fleet, facts, environment)
                _where_next(console, stack, facts, state_dir, pages)
            if not once:
                run.forever(missing)
        finally:
            tail.close()
    return missing


class Facts:
    """What stays the same from one demo to the next: the receiver's port and secret. And how many there have been."""

    def __init__(self, port: int, gateway_port: int, console_port: int, secret: str, runs: int = 0) -> None:
        self.port, self.gateway_port, self.console_port = port, gateway_port, console_port
        self.secret, self.runs = secret, runs

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.port}/"

    @property
    def console_url(self) -> str:
        return f"http://{HOST}:{self.console_port}"

    @property
    def trigger(self) -> str:
        """Another one than last time: an edited sensor starts over, so each run shows a crossing of its own, even
        where the last one ended in the middle of it, or this host is never idle."""
        return f"> {80 + self.runs % 2}"

    @classmethod
    def load(cls, state_dir: Path) -> Facts:
        path = state_dir / "demo.json"
        try:
            known = json.loads(path.read_text())
            ports = (
                free_port(known["port"]),
                free_port(known["gateway_port"]),
                free_port(known.get("console_port", CONSOLE_PORT)),
            )
            facts = cls(*ports, known["secret"], int(known.get("runs", 0)) + 1)
        except (OSError, ValueError, KeyError, TypeError):
            facts = cls(
                free_port(),
                free_port(),
                free_port(CONSOLE_PORT),
                "whsec_" + b64encode(secrets.token_bytes(32)).decode(),
            )
        path.touch(mode=0o600)
        path.write_text(json.dumps(vars(facts)))
        return facts

    def environment(self, settings: CommonSettings, state_dir: Path) -> dict[str, str]:
        """For the services and the commands the demo runs: the receiver is on this machine and speaks plain http."""
        return {
            "TOCSIN_STATE_DIR": str(state_dir),
            "KAFKA_BOOTSTRAP_SERVERS": settings.kafka.bootstrap_servers,
            "TOCSIN_EGRESS_ALLOW": "127.0.0.0/8",
            "TOCSIN_EGRESS_HTTP": "true",
            "TOCSIN_DEMO_SECRET": self.secret,
            "TOCSIN_CONSOLE_URL": self.console_url,
            "TOCSIN_LOG_FORMAT": "json",
        }


class Steps:
    """What is being set up, and how long it took."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def detail(self, text: str) -> None:
        self._console.print(f"  {text}", style="dim", markup=False)

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        before = time.monotonic()
        yield
        self.detail(f"{name.capitalize()}: in {time.monotonic() - before:.1f} s")


def _start_services(fleet: Fleet, facts: Facts) -> None:
    for service in reversed(PIPELINE):
        fleet.start(service)
    gateway = {"TOCSIN_GATEWAY_PORT": str(facts.gateway_port), "TOCSIN_GATEWAY_API_KEYS": API_KEY}
    fleet.start("gateway", environment=gateway)
    arguments = ["listen", "--json", "--port", str(facts.port)]
    fleet.start_command("receiver", arguments, environment={"TOCSIN_LISTEN_SECRET": facts.secret})


def _start_console(fleet: Fleet, facts: Facts, environment: dict[str, str]) -> str:
    """Where its pages are; while there is no account, the link that makes the first one."""
    fleet.start("console", environment={"TOCSIN_CONSOLE_PORT": str(facts.console_port)})
    fleet.wait_ready(READY_SECONDS, ["console"])
    try:
        return _tocsin(["admin", "link"], environment).strip()
    except TocsinError:
        return f"{facts.console_url}, with the account you have made"


def _apply_configuration(facts: Facts, state_dir: Path, environment: dict[str, str]) -> None:
    template = files("tocsin.deploy.demo").joinpath("demo.yaml").read_text()
    path = state_dir / "demo.yaml"
    path.write_text(template.replace("@URL@", facts.url).replace("@TRIGGER@", facts.trigger))
    _tocsin(["apply", "-f", str(path)], environment)
    # From now on the secret is in Kafka; the file can be changed and applied again by anyone who does not know it.
    path.write_text(path.read_text().replace("{env: TOCSIN_DEMO_SECRET}", "{keep: true}"))


def _tocsin(arguments: list[str], environment: dict[str, str]) -> str:
    """The output of a `tocsin` command. Raises TocsinError with what it wrote when it fails."""
    done = subprocess.run(
        [*TOCSIN, *arguments], capture_output=True, text=True, env={**os.environ, **environment}, check=False
    )
    if done.returncode != 0:
        raise TocsinError(f"tocsin {arguments[0]} failed:\n{(done.stdout + done.stderr).strip()}")
    return done.stdout


def _prove(console: Console, environment: dict[str, str]) -> list[str]:
    """The ledger over everything that was ever routed here."""
    try:
        output = _tocsin(["ledger"], environment)
    except TocsinError as error:
        return [f"the ledger does not balance: {error}"]
    console.print("\nLedger (every delivery has exactly one end):", style="bold")
    for line in output.strip().splitlines():
        console.print(f"  {line}", markup=False)
    return []


def _command() -> str:
    """How to call `tocsin` from where one is: by its name where a shell would find it."""
    ours = Path(sys.executable).with_name("tocsin")
    found = shutil.which("tocsin")
    if found is not None and Path(found).samefile(ours):
        return "tocsin"
    return str(ours.relative_to(Path.cwd()) if ours.is_relative_to(Path.cwd()) else ours)


def _where_next(console: Console, stack: Stack, facts: Facts, state_dir: Path, pages: str) -> None:
    gateway = f"http://{HOST}:{facts.gateway_port}"
    command = _command()
    # The shell puts the present time in: a reading of last week would count for nobody who reports.
    body = '{"system": "PC-042", "metric": "cpu.percent", "value": 93.5, "time": \'$(date +%s)000\'}'
    console.print("\nAll of it has been seen. Where to look next, while the demo runs:", style="bold")
    for line in (
        *([f"the console    {pages}"] if pages else []),
        f"configuration  {state_dir / 'demo.yaml'}; change it, then: {command} apply -f {state_dir / 'demo.yaml'}",
        f"your readings  curl -H 'Authorization: Bearer {API_KEY}' -d '{body}' {gateway}/v1/readings",
        f"any topic      kcat -b {stack.bootstrap_servers} -t delivery-audit -C -e",
        f"mails          {stack.mail_dir}",
        f"logs           {state_dir / 'logs'}",
        f"the proof      {command} ledger",
    ):
        console.print(f"  {line}", markup=False)
