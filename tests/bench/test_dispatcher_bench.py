"""`tocsin bench dispatcher` measures and says what it measured."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from tocsin.deploy.bench.delivering import BODY, BODY_BYTES, event_of
from tocsin.deploy.bench.dispatcher import command
from tocsin.dispatcher.core.templates import render
from tocsin.dispatcher.core.variables import Values


def test_bodies_have_the_size_that_is_said() -> None:
    assert len(render(BODY, "application/json", Values.of(event_of()))) == BODY_BYTES


@pytest.mark.kafka
@pytest.mark.slow
def test_a_short_run_starts_what_it_needs_and_prints_its_figure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KAFKA_BOOTSTRAP_SERVERS", raising=False)
    done = CliRunner().invoke(command, ["-n", "500", "--case", "1", "--json"], catch_exceptions=False)
    figure = json.loads(done.stdout.splitlines()[-1])
    assert figure["case"] == "backlog to one recipient"
    assert figure["rate"] > 0
    assert figure["reference"] > 0
