"""What a demo remembers of the one before."""

from __future__ import annotations

from pathlib import Path

from tocsin.deploy.demo.facts import Facts


def test_the_next_demo_edits_its_sensor_so_that_it_starts_over_whatever_the_last_one_left(tmp_path: Path) -> None:
    first, second, third = (Facts.load(tmp_path) for _ in range(3))
    assert (first.trigger, second.trigger, third.trigger) == ("> 80", "> 81", "> 80")
    assert first.secret == second.secret == third.secret


def test_facts_of_an_older_demo_are_understood(tmp_path: Path) -> None:
    (tmp_path / "demo.json").write_text('{"port": 1, "gateway_port": 2, "secret": "whsec_x"}')
    assert Facts.load(tmp_path).trigger == "> 81"
