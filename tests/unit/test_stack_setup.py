"""The set-up script, as far as it can be looked at without setting up."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def setup(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The script, looking at an environment in a folder of this test."""
    spec = importlib.util.spec_from_file_location("tocsin_setup", ROOT / "deploy/setup.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "PYTHON", tmp_path / "bin/python")
    monkeypatch.setattr(module, "VENV", tmp_path)
    monkeypatch.setattr(module, "STAMP", tmp_path / "stamp")
    monkeypatch.setattr(module, "UNFINISHED", tmp_path / "unfinished")
    return module


def finish(setup: ModuleType) -> None:
    """What a set-up that went well leaves."""
    jars = setup.VENV / "jars"
    for folder in (jars, setup.VENV / "bin"):
        folder.mkdir()
    for name in ("python", "tocsin", "java"):
        (setup.VENV / "bin" / name).touch()
    for line in setup.SUMS.read_text().splitlines():
        if not line.startswith("#"):
            (jars / line.split()[1]).touch()
    stamp = {"inputs": setup.fingerprint(), "java": str(setup.VENV / "bin/java"), "jars": str(jars)}
    setup.STAMP.write_text(json.dumps(stamp))


def test_an_empty_folder_is_not_complete(setup: ModuleType) -> None:
    assert not setup.is_complete()


def test_a_finished_set_up_is_complete(setup: ModuleType) -> None:
    finish(setup)
    assert setup.is_complete()


@pytest.mark.parametrize("lost", ["bin/tocsin", "bin/java", "jars/kafka_2.13-4.4.0.jar", "stamp"])
def test_a_set_up_that_lost_something_is_not_complete(setup: ModuleType, lost: str) -> None:
    finish(setup)
    (setup.VENV / lost).unlink()
    assert not setup.is_complete()


def test_a_set_up_that_was_cut_short_is_not_complete(setup: ModuleType) -> None:
    finish(setup)
    setup.UNFINISHED.touch()
    assert not setup.is_complete()


def test_changed_requirements_are_noticed(setup: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    finish(setup)
    changed = tmp_path / "dev.txt"
    changed.write_text("something==2.0\n")
    monkeypatch.setattr(setup, "INPUTS", [*setup.INPUTS, changed])
    assert not setup.is_complete()


def test_an_old_python_is_told_in_one_line(setup: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(setup.sys, "version_info", type("V", (tuple,), {"major": 3, "minor": 9})((3, 9)))
    said = setup.what_python_lacks()
    assert said.startswith("Tocsin needs Python 3.11 or newer;")
    assert "\n" not in said


def test_a_python_without_venv_names_the_package_in_one_line(
    setup: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(setup.sys, "version_info", type("V", (tuple,), {"major": 3, "minor": 12})((3, 12)))
    monkeypatch.setattr(setup.importlib.util, "find_spec", lambda name: None if name == "ensurepip" else object())
    monkeypatch.setattr(setup.shutil, "which", lambda name: f"/usr/bin/{name}")
    said = setup.what_python_lacks()
    assert "apt install python3.12-venv" in said
    assert "\n" not in said


def test_make_alone_prints_each_target_on_one_line() -> None:
    # The suite may itself run under make, whose variables would make this one talk about folders.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    done = subprocess.run(["make"], cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    printed = done.stdout.splitlines()
    named = [line.split()[1] for line in printed]
    usual = ["help", "setup", "demo", "test", "lint", "bench", "faults", "mail", "soak", "reference", "pictures"]
    assert named == [*usual, "lock", "clean"]


@pytest.mark.parametrize(
    ("lines", "counted"),
    [
        (["Collecting uv", "  Downloading uv-1.whl (20 MB)", "Installing collected packages: uv"], 1),
        (["Collecting uv", "  Using cached uv-1.whl (20 MB)", "Installing collected packages: uv"], 0),
        (["Resolved 3 packages in 5ms", "Prepared 3 packages in 2.1s", "Installed 3 packages in 8ms"], 1),
        (["Resolved 3 packages in 5ms", "Installed 3 packages in 8ms"], 0),
    ],
)
def test_time_counts_as_a_download_only_where_something_was_fetched(
    setup: ModuleType, lines: list[str], counted: int
) -> None:
    setup.run(["printf", "\\n".join(lines) + "\\n"], fetches=True)
    assert len(setup.downloads) == counted
