"""`docs/faults.md` says which test shows what: each of them has to be there, and each fault test has to be said."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/faults.md").read_text()
ROWS = re.findall(r"\[(test_\w+\.py)\]\(\.\./(tests/[\w/]+\.py)\)([^|]*)\|", PAGE)
RUN_BY_MAKE = re.search(r"^faults:.*\n((?:\t.*\n)+)", (ROOT / "Makefile").read_text(), re.MULTILINE)


def test_there_are_rows() -> None:
    assert len(ROWS) > 30
    assert len(ROWS) == PAGE.count("](../tests/")


@pytest.mark.parametrize(("name", "path", "tests"), ROWS)
def test_what_is_said_to_show_it_is_there(name: str, path: str, tests: str) -> None:
    assert Path(path).name == name
    source = (ROOT / path).read_text()
    for test in re.findall(r"`(\w+)`", tests):
        assert f"def {test}(" in source


def test_every_file_of_make_faults_is_said() -> None:
    assert RUN_BY_MAKE is not None
    files = set(re.findall(r"tests/\w+/test_\w+\.py", RUN_BY_MAKE.group(1)))
    assert len(files) > 5
    assert [path for path in files if path not in PAGE] == []
