"""`tocsin bench backtest` measures the command and says what it measured."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from tocsin.deploy.bench.backtest import CASES, backtest


@pytest.mark.slow
def test_a_short_run_prints_a_figure_a_case() -> None:
    done = CliRunner().invoke(backtest, ["--readings", "20000", "--json", "--case", "1", "--case", "4"])
    assert done.exit_code == 0, done.output
    figures = [json.loads(line) for line in done.stdout.splitlines()]
    assert [one["case"] for one in figures] == [CASES[0].name, CASES[3].name]
    assert all(one["rate"] > 0 and one["reference"] > 0 for one in figures)
