"""Imports go inward only, and the namespace stays one that several folders share."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_import_contracts_hold() -> None:
    # A process of its own: the linter imports by path and keeps a cache in the working directory.
    program = "from importlinter.cli import lint_imports_command as lint; lint()"
    done = subprocess.run(
        [sys.executable, "-c", program, "--no-cache", "--config", str(ROOT / "pyproject.toml")],
        cwd=ROOT,
        env={**os.environ, "COLUMNS": "120"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "3 kept, 0 broken" in done.stdout


def test_no_folder_closes_the_namespace() -> None:
    closed = [
        str(path.relative_to(ROOT))
        for folder in ("shared", "services", "deploy")
        for path in (ROOT / folder).rglob("tocsin/__init__.py")
    ]
    assert closed == []


def passes(program: str) -> None:
    """In an interpreter of its own, which has imported nothing yet."""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr


def test_nothing_connects_or_starts_when_it_is_imported() -> None:
    program = (
        "import socket, subprocess, threading\n"
        "def refuse(*args, **kwargs): raise AssertionError('opened at import')\n"
        "socket.socket.connect = refuse\n"
        "subprocess.Popen.__init__ = refuse\n"
        "threading.Thread.start = refuse\n"
        "import tocsin.console.cli.configuration, tocsin.console.cli.topics, tocsin.console.cli.listen\n"
        "import tocsin.shared.kafka, tocsin.shared.configuration.follower, tocsin.shared.telemetry.health\n"
    )
    passes(program)


def test_no_command_loads_a_compiler_or_an_engine_before_it_is_known_to_need_it() -> None:
    program = (
        "import sys\n"
        "from click import Context\n"
        "from tocsin.console.cli import root\n"
        "heavy = {'numba', 'llvmlite', 'polars', 'faust'}\n"
        "context = Context(root)\n"
        "names = root.list_commands(context)\n"
        "loaded = {name: sorted(heavy & sys.modules.keys()) for name in names if root.get_command(context, name)}\n"
        "assert len(loaded) > 20\n"
        "assert not any(loaded.values()), loaded\n"
    )
    passes(program)


def test_the_list_of_commands_is_shown_without_loading_one() -> None:
    program = (
        "import sys\n"
        "from tocsin.console.cli import root\n"
        "root.main(['--help'], standalone_mode=False)\n"
        "heavy = {'numba', 'polars', 'faust', 'aiohttp', 'pydantic', 'confluent_kafka', 'rich', 'numpy'}\n"
        "assert not heavy & sys.modules.keys(), sorted(heavy & sys.modules.keys())\n"
    )
    passes(program)
