"""`tocsin bench detector` measures and says what it measured."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from tocsin.deploy.bench import many_series
from tocsin.deploy.bench.common import Figure, show
from tocsin.deploy.bench.detector import CASES, PER_REPORT, detector, report, single
from tocsin.shared.readings import check_message


def test_figures_are_one_object_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    show([Figure("a", 50.0, 200.0, "readings/s"), Figure("b", 1.0, 0.0, "x")], "", as_json=True)
    first, second = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    assert first == {"case": "a", "rate": 50.0, "reference": 200.0, "ratio": 0.25, "unit": "readings/s"}
    assert second["ratio"] == 0.0


def test_the_messages_are_readings_and_one_percent_change_something() -> None:
    good, rejected = check_message(single("SYSTEM-00001", 1, 1_764_064_800_000).encode())
    assert len(good) == 1
    assert not rejected
    assert len(check_message(report("SYSTEM-00001", 1, PER_REPORT, 1_764_064_800_000).encode())[0]) == PER_REPORT
    above: dict[str, bool] = {}
    changes = 0
    for number in range(200_000):
        (one,) = check_message(single(f"SYSTEM-{number % 10_000:05d}", number, 0).encode())[0]
        series = one.system + one.metric
        changes += above.get(series, False) != (one.value > 90)
        above[series] = one.value > 90
    assert changes / 200_000 == pytest.approx(0.01, rel=0.2)


@pytest.mark.kafka
@pytest.mark.slow
def test_a_short_run_starts_what_it_needs_and_prints_its_figure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KAFKA_BOOTSTRAP_SERVERS", raising=False)
    done = CliRunner().invoke(detector, ["--readings", "500000", "--case", "1", "--json"], catch_exceptions=False)
    figure = json.loads(done.stdout.splitlines()[-1])
    assert figure["case"] == CASES[0].name
    assert figure["rate"] > 0
    assert figure["reference"] > 0


@pytest.mark.kafka
@pytest.mark.slow
def test_many_series_are_weighed_and_restored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KAFKA_BOOTSTRAP_SERVERS", raising=False)
    monkeypatch.setattr(many_series, "QUIET_SECONDS", 1.0)
    done = CliRunner().invoke(many_series.command, ["--series", "20000", "--json"], catch_exceptions=False)
    memory, most, start = (json.loads(line) for line in done.stdout.splitlines())
    assert (memory["unit"], start["unit"]) == ("MB", "s")
    assert most["rate"] >= memory["rate"] > memory["reference"] > 0
    assert start["rate"] > 0
