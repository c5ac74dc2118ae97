"""The operators' commands that show what the console's pages show."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from consoling import console_settings
from delivering import delivery_for, put_deliveries, unsigned_recipient
from tocsin.console.access.keys import token_hash
from tocsin.console.settings import ConsoleSettings
from tocsin.console.store import Store
from tocsin.deploy.fleet import TOCSIN
from tocsin.deploy.stack import Stack
from tocsin.shared.configuration.records import Token, User

pytestmark = pytest.mark.kafka


@pytest.fixture(scope="module")
def settings(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> ConsoleSettings:
    return console_settings(stack, tmp_path_factory.mktemp("cli"))


def environment_of(settings: ConsoleSettings) -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("TOCSIN_")} | {
        "KAFKA_BOOTSTRAP_SERVERS": settings.kafka.bootstrap_servers,
        "TOCSIN_STATE_DIR": str(settings.state_dir),
        "TOCSIN_TOPIC_PREFIX": settings.topic_prefix,
        "TOCSIN_RETRY_TIERS": "200ms,500ms",
    }


def tocsin(settings: ConsoleSettings, *arguments: str, code: int = 0, **more: str) -> str:
    environment = {**environment_of(settings), **more}
    done = subprocess.run(
        [*TOCSIN, *arguments], capture_output=True, text=True, env=environment, timeout=120, check=False
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


ENTER_SCREEN, LEAVE_SCREEN = "\x1b[?1049h", "\x1b[?1049l"


@contextmanager
def on_a_terminal(settings: ConsoleSettings, *arguments: str) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """A command on a terminal of 120 by 40, and this end of it."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
    environment = {**environment_of(settings), "TERM": "xterm-256color"}
    process = subprocess.Popen([*TOCSIN, *arguments], stdin=theirs, stdout=theirs, stderr=theirs, env=environment)
    os.close(theirs)
    try:
        yield process, ours
    finally:
        process.kill()
        process.wait(10)
        os.close(ours)


def read_until(terminal: int, text: str, within: float = 60.0) -> str:
    found, until = b"", time.monotonic() + within
    while text.encode() not in found:
        assert time.monotonic() < until, f"{text!r} is not in {found.decode(errors='replace')!r}"
        if select.select([terminal], [], [], 0.5)[0]:
            try:
                found += os.read(terminal, 65_536)
            except OSError:  # the other end is closed
                break
    return found.decode(errors="replace")


def test_the_first_account_is_made_and_then_the_link_is_worth_nothing(settings: ConsoleSettings) -> None:
    assert "/welcome?code=" in tocsin(settings, "admin", "link")
    tocsin(settings, "admin", "create", "Ada", TOCSIN_PASSWORD="correct horse battery")
    user = Store(settings, "test").read().find(User.kind, "ada")
    assert isinstance(user, User)
    assert (user.role, user.password_hash[:10]) == ("admin", "$argon2id$")
    assert "there is an account already" in tocsin(settings, "admin", "link", code=1)
    weak = tocsin(settings, "admin", "create", "Bob", code=1, TOCSIN_PASSWORD="short")
    assert "at least 10 characters" in weak


def test_a_token_is_printed_once_listed_without_itself_and_revoked(settings: ConsoleSettings) -> None:
    made = tocsin(settings, "tokens", "create", "CI", "--scope", "viewer", "--lasts", "90d").strip()
    token = Store(settings, "test").read().find(Token.kind, "ci")
    assert isinstance(token, Token)
    assert token.token_hash == token_hash(made)
    listed = json.loads(tocsin(settings, "tokens", "list", "-o", "json"))
    assert [(one["name"], one["scope"]) for one in listed] == [("CI", "viewer")]
    assert made not in json.dumps(listed)
    tocsin(settings, "tokens", "revoke", "ci")
    assert json.loads(tocsin(settings, "tokens", "list", "-o", "json")) == []


def test_deliveries_are_listed_shown_and_tailed(settings: ConsoleSettings, tmp_path: Path) -> None:
    delivery = delivery_for(unsigned_recipient("https://example.com", name="Desk"))
    put_deliveries(settings, [delivery])
    listed = json.loads(tocsin(settings, "deliveries", "list", "--state", "waiting", "-o", "json"))
    assert [(one["id"], one["recipient"]) for one in listed] == [(delivery.id, "Desk")]
    assert "Desk" in tocsin(settings, "deliveries", "list")
    shown = json.loads(tocsin(settings, "deliveries", "show", delivery.id))
    assert [step["kind"] for step in shown["steps"]] == ["routed"]
    assert "there is no delivery" in tocsin(settings, "deliveries", "show", "nope", code=1)
    where = ("--where", "recipient.name=Desk", "--from-start", "--count", "1")
    assert "Desk: routed" in tocsin(settings, "tail", "audit", *where)
    assert json.loads(tocsin(settings, "activations", "list", "-o", "json")) == []


def test_the_doctor_says_what_is_wrong(settings: ConsoleSettings) -> None:
    well = tocsin(settings, "doctor")
    assert "WRONG" not in well
    assert "OK     topics" in well
    ill = tocsin(settings, "doctor", code=1, TOCSIN_TOPIC_PREFIX="nothing-here.")
    assert "run: tocsin topics apply" in ill


RULES = """
sensors: [{name: CPU busy, metric: cpu.percent, trigger: "> 90"}]
groups: [{name: Finance, systems: ["FIN-*"]}]
recipients:
  - {name: Desk one, type: system, webhook: {url: "https://example.com/hook", authentication: {type: off}}}
  - {name: On call, type: distribution-list, email: oncall@example.com, paused: true}
notifications: [{name: Finance is slow, sensors: [CPU busy], group: Finance, threshold: 25%, recipients: [On call]}]
"""


@pytest.fixture(scope="module")
def applied(settings: ConsoleSettings, tmp_path_factory: pytest.TempPathFactory) -> ConsoleSettings:
    rules = tmp_path_factory.mktemp("rules") / "rules.yaml"
    rules.write_text(RULES)
    tocsin(settings, "apply", "-f", str(rules))
    return settings


def test_records_are_listed_and_shown(applied: ConsoleSettings) -> None:
    assert tocsin(applied, "sensors", "list").splitlines()[1].split("  ")[0] == "CPU busy"
    listed = json.loads(tocsin(applied, "notifications", "list", "--search", "FINANCE", "-o", "json"))
    assert [(one["name"], one["threshold"]) for one in listed] == [("Finance is slow", "25%")]
    assert "there is no such group" in tocsin(applied, "groups", "list", "--search", "nothing")
    shown = json.loads(tocsin(applied, "groups", "show", "finance", "-o", "json"))
    assert (shown["name"], shown["systems"]) == ("Finance", ["FIN-*"])
    assert json.loads(tocsin(applied, "groups", "show", shown["id"], "-o", "json")) == shown
    assert "did you mean 'CPU busy'" in tocsin(applied, "sensors", "show", "CPU bus", code=1)
    assert "trigger: '> 90'" in tocsin(applied, "sensors", "show", "CPU busy")


def test_recipients_are_listed_with_how_they_stand(applied: ConsoleSettings) -> None:
    table = tocsin(applied, "recipients", "list")
    assert [line.split()[-1] for line in table.splitlines()[1:]] == ["ready", "wait"]
    troubled = json.loads(tocsin(applied, "recipients", "list", "--in-trouble", "-o", "json"))
    assert [(one["name"], one["state"]) for one in troubled] == [("On call", "paused")]
    assert "oncall@example.com" in tocsin(applied, "recipients", "show", "on call")


def test_top_shows_rates_lag_and_recipients_in_trouble_in_plain_lines(applied: ConsoleSettings) -> None:
    first, *rest = tocsin(applied, "top", "--once", "--every", "200ms").splitlines()
    assert re.search(r"Z  readings [\d.,]+/s  changes [\d.,]+/s  events [\d.,]+/s", first)
    services = [line.split()[1] for line in rest if line.startswith("  lag")]
    assert services == ["detector", "activator", "router", "dispatcher", "dispatcher", "dispatcher"]
    assert "  recipient  On call  paused  its deliveries wait" in rest
    assert "at least 100ms" in tocsin(applied, "top", "--every", "1ms", code=2)


def test_top_is_a_live_screen_on_a_terminal_and_leaves_it_as_it_was(applied: ConsoleSettings) -> None:
    with on_a_terminal(applied, "top", "--every", "200ms") as (process, terminal):
        shown = read_until(terminal, "its deliveries wait")
        for text in ("tocsin top · ", "per second", "sensor-readings", "delivery-retry-200ms", "On call", "paused"):
            assert text in shown
        assert ENTER_SCREEN in shown
        read_until(terminal, "tocsin top · ")  # it is drawn again, by itself
        process.send_signal(signal.SIGINT)
        assert LEAVE_SCREEN in read_until(terminal, LEAVE_SCREEN)
        assert process.wait(20) == 130


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("tocsin", "rec"), {"recipients"}),
        (("tocsin", "recipients", ""), {"list", "show", "pause", "resume", "disable", "enable"}),
        (("tocsin", "recipients", "list", "--in"), {"--in-trouble"}),
        (("tocsin", "deliveries", "list", "--state", "dead"), {"dead-lettered"}),
    ],
)
def test_bash_completes_commands_and_options(words: tuple[str, ...], expected: set[str]) -> None:
    script = f"""
    eval "$(tocsin completion bash)"
    COMP_WORDS=({" ".join(word or "''" for word in words)})
    COMP_CWORD={len(words) - 1}
    _tocsin_completion tocsin
    printf '%s\\n' "${{COMPREPLY[@]}}"
    """
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-c", script], capture_output=True, text=True, env={**os.environ, "PATH": path}, timeout=60, check=True
    )
    assert set(done.stdout.split()) == expected, done.stderr


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells_get_their_scripts(settings: ConsoleSettings, shell: str) -> None:
    assert f"_TOCSIN_COMPLETE={shell}_complete" in tocsin(settings, "completion", shell)
