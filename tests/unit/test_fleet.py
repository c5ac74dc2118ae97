"""A fleet supervises as every deployment has to: who asks to be started anew is started anew."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from tocsin.deploy.fleet import Fleet, FleetError
from tocsin.deploy.processes import Supervisor
from tocsin.shared.lifecycle import EXIT_RESTART


def started(monkeypatch: pytest.MonkeyPatch, supervisor: Supervisor, folder: Path, first_code: int) -> Fleet:
    """One member that ends at once the first time, and stays the second time."""
    script = f"test -e {folder}/again && exec sleep 60; touch {folder}/again; echo why; exit {first_code}"
    monkeypatch.setattr("tocsin.deploy.fleet.TOCSIN", ("sh", "-c", script))
    fleet = Fleet(supervisor, folder, {})
    assert fleet.start_command("one", ()).child.wait(timedelta(seconds=10)) == first_code
    return fleet


def test_who_asks_for_it_is_started_anew_while_all_wait_for_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with Supervisor() as supervisor:
        fleet = started(monkeypatch, supervisor, tmp_path, EXIT_RESTART)
        fleet.wait_ready(10)
        assert fleet.members["one"].child.running


def test_who_cannot_start_is_named_with_its_last_words(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with Supervisor() as supervisor:
        fleet = started(monkeypatch, supervisor, tmp_path, 2)
        with pytest.raises(FleetError, match=r"one is not ready: it ended with exit code 2\nwhy"):
            fleet.wait_ready(10)
        assert fleet.restart_ended({EXIT_RESTART}) == []
        assert fleet.restart_ended() == [("one", 2)]


def test_who_was_started_too_early_is_started_anew(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with Supervisor() as supervisor:
        fleet = started(monkeypatch, supervisor, tmp_path, 2)
        fleet.wait_ready(10, too_early=["one"])
        assert fleet.members["one"].child.running


def test_a_later_end_is_not_forgiven_to_who_was_started_too_early(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with Supervisor() as supervisor:
        fleet = started(monkeypatch, supervisor, tmp_path, 2)
        fleet.wait_ready(10, too_early=["one"])
        fleet.members["one"].child.kill()
        with pytest.raises(FleetError, match="one is not ready: it ended with exit code -9"):
            fleet.wait_ready(10)
