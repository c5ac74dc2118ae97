"""`tocsin bench pipeline` follows each crossing from its reading to its webhook."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from tocsin.deploy.bench import pipeline
from tocsin.deploy.bench.pipeline import STAGES, SWINGING, Load, command


def test_every_system_crosses_as_often_and_what_is_counted_comes_after_the_warm_up() -> None:
    load = Load(rate=2_000, seconds=30)
    assert load.crossings % len(SWINGING) == 0
    assert load.crossings - load.warm_up >= 30 * pipeline.WEBHOOKS_A_SECOND


@pytest.mark.kafka
@pytest.mark.slow
def test_a_short_run_says_how_long_the_whole_takes_and_each_of_its_stages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KAFKA_BOOTSTRAP_SERVERS", raising=False)
    monkeypatch.setattr(pipeline, "WARM_UP_SECONDS", 1.0)
    done = CliRunner().invoke(command, ["--rate", "500", "--seconds", "3", "--json"], catch_exceptions=False)
    half, most, *stages = (json.loads(line) for line in done.stdout.splitlines())
    assert most["rate"] >= half["rate"] > half["reference"] > 0
    assert len(stages) == len(STAGES)
    assert all(0 <= one["rate"] <= one["reference"] for one in stages)
    assert sum(one["rate"] for one in stages) <= 2 * half["rate"]
