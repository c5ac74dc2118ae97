"""`tests/rules/*.test.yaml`: what other systems test of their alerting, run by `tocsin test`."""

from __future__ import annotations

from pathlib import Path

import pytest

from trying import tocsin

FILES = sorted((Path(__file__).parents[1] / "rules").glob("*.test.yaml"))


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name.partition(".")[0])
def test_rules(file: Path) -> None:
    done = tocsin("test", file)
    assert done.exit_code == 0, done.output


def test_there_are_such_files() -> None:
    assert len(FILES) >= 4
