"""`tocsin demo`: sets everything up, makes a real crossing, and shows what becomes of it."""

from __future__ import annotations

import shutil
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from types import FrameType

import click
from rich.console import Console

from tocsin.deploy.demo.facts import Facts
from tocsin.deploy.demo.load import CpuLoad
from tocsin.deploy.demo.run import Run
from tocsin.deploy.demo.services import API_KEY, Services
from tocsin.deploy.demo.sources import TopicTail
from tocsin.deploy.stack.local import Stack
from tocsin.deploy.stack.ports import HOST
from tocsin.shared.errors import TocsinError
from tocsin.shared.settings import CommonSettings, default_state_dir
from tocsin.shared.topic_admin import apply_topics


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
    with _everything(state_dir, Steps(console)) as (stack, services):
        tail = TopicTail(CommonSettings.load())
        try:
            services.fleet.start_command("agent", ["agent"])
            console.print(f"  ready after {time.monotonic() - started:.1f} s\n")
            run = Run(console, services.fleet, CpuLoad(services.supervisor), tail, state_dir)
            missing = run.until_seen()
            if not missing:
                missing = _prove(console, services)
            if not missing:
                # The console after the run: it would slow it down, and nobody looks at it before.
                if once:
                    console.print(
                        "\nAll of it has been seen. `make demo` stays, and says where to look next.", style="bold"
                    )
                else:
                    _where_next(console, stack, services.facts, state_dir, services.start_console())
            if not once:
                run.forever(missing)
        finally:
            tail.close()
    return missing


@contextmanager
def _everything(state_dir: Path, steps: Steps) -> Iterator[tuple[Stack, Services]]:
    """The stack and the services, ready."""
    stack = Stack(state_dir, say=steps.detail)
    with closing(Services(state_dir)) as services:
        stack.up(meanwhile=services.start_early)
        try:
            with steps.step("topics"):
                apply_topics(CommonSettings.load())
            with steps.step("services"):
                services.make_ready()
            yield stack, services
        finally:
            services.close()  # first: they take leave of the broker
            stack.down()


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


def _prove(console: Console, services: Services) -> list[str]:
    """The ledger over everything that was ever routed here."""
    try:
        output = services.command("ledger")
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
        f"the console    {pages}",
        f"configuration  {state_dir / 'demo.yaml'}; change it, then: {command} apply -f {state_dir / 'demo.yaml'}",
        f"your readings  curl -H 'Authorization: Bearer {API_KEY}' -d '{body}' {gateway}/v1/readings",
        f"any topic      kcat -b {stack.bootstrap_servers} -t delivery-audit -C -e",
        f"mails          {stack.mail_dir}",
        f"logs           {state_dir / 'logs'}",
        f"the proof      {command} ledger",
    ):
        console.print(f"  {line}", markup=False)
